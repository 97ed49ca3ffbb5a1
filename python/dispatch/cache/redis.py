"""Answers kept in a Redis that several sidecars share (the extra `dispatch-llm[redis]`).

A help, never a need: a look takes `LOOK_S` at most, and after a failure Redis is left alone for `REST_S`. What is written is written
beside the path, and dropped when too much of it waits.
"""

from __future__ import annotations

import asyncio
import importlib
from time import monotonic
from typing import Any

import msgspec

from dispatch.cache import Kept
from dispatch.errors import ConfigError

__all__ = ["LOOK_S", "REST_S", "WRITES", "Redis"]

LOOK_S = 0.05
"""Longest look: some times what Redis takes in one data centre, and far below what a model takes."""
REST_S = 5.0
WRITES = 64
"""Answers that are being written at once; further ones are not kept there."""


class Redis:
    """See the module.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with what is needed to log in.
        prefix: before each key: what the answers depend on beside the request, so that another configuration finds none of them.
        ttl_s: for how long an answer is kept.

    Raises:
        ConfigError: the package is not installed, or the URL is none.
    """

    def __init__(self, url: str, prefix: bytes, ttl_s: float) -> None:
        try:
            package = importlib.import_module("redis.asyncio")
        except ImportError:
            raise ConfigError("cache.redis", "needs the package redis: pip install 'dispatch-llm[redis]'") from None
        try:
            self._client: Any = package.from_url(url, protocol=2, socket_connect_timeout=LOOK_S, socket_timeout=1.0)
        except ValueError:
            # Its text would repeat the URL, and with it the password.
            raise ConfigError("cache.redis", "is no URL of a Redis: redis://HOST:PORT, rediss://... or unix:///PATH") from None
        self._prefix = prefix
        self._ttl_ms = max(1, int(ttl_s * 1000))
        self._rests_until = 0.0
        self._writes: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Redis: {'up' if self.is_up else 'resting'}, {len(self._writes)} writes>"

    @property
    def is_up(self) -> bool:
        """Whether it is worth asking."""
        return monotonic() >= self._rests_until

    def get(self, key: bytes) -> asyncio.Task[Kept | None]:
        """Look a key up. The task never fails: what cannot be read is not there."""
        return asyncio.get_running_loop().create_task(self._get(key))

    def put(self, key: bytes, kept: Kept) -> None:
        """Keep an answer, beside the path."""
        if self.is_up and len(self._writes) < WRITES:
            task = asyncio.get_running_loop().create_task(self._put(key, kept))
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    def close(self) -> None:
        """Ask it no more, and close it beside the path."""
        self._rests_until = float("inf")
        self._closing = asyncio.get_running_loop().create_task(self.wait_closed())

    async def wait_closed(self) -> None:
        """Write what is being written, then close the connections."""
        if self._writes:
            await asyncio.wait(self._writes)
        await self._client.aclose()

    async def _get(self, key: bytes) -> Kept | None:
        try:
            async with asyncio.timeout(LOOK_S):
                text = await self._client.get(self._prefix + key)
            return None if text is None else msgspec.msgpack.decode(text, type=Kept)
        except msgspec.DecodeError:
            return None
        except Exception:  # noqa: BLE001 - the package's own errors, the system's, a timeout: none of them is the client's
            self._rest()
            return None

    async def _put(self, key: bytes, kept: Kept) -> None:
        try:
            await self._client.set(self._prefix + key, msgspec.msgpack.encode(kept), px=self._ttl_ms)
        except Exception:  # noqa: BLE001 - as above
            self._rest()

    def _rest(self) -> None:
        self._rests_until = monotonic() + REST_S
