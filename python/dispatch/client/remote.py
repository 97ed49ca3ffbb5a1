"""A client of a sidecar somewhere, over aiohttp: speed is not the point here, comfort is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from dispatch.client.told import from_answer
from dispatch.errors import BadRequest, DeadlineExceeded, Failure, UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from openai import AsyncOpenAI

    from dispatch.client.backend import Pieces, Whole

__all__ = ["RemoteBackend"]

PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings", "responses": "/v1/responses"}
CONNECT_S = 10.0
GRACE_S = 2.0
"""The sidecar tells that a deadline has passed; it is waited for so much longer, and then not any more."""
IDLE_S = 30.0
"""Connections are dropped before the sidecar does it (`server.idle_s`, 75): a POST on a connection that is just being closed is lost."""


class RemoteBackend:
    """See the module."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._base = base_url.rstrip("/").removesuffix("/v1")
        self._key = api_key
        self._session: aiohttp.ClientSession | None = None
        self._sdks: list[AsyncOpenAI] = []

    async def open(self) -> None:
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        # No cap on connections: the caller's concurrency is the caller's business.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        self._session = aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        sdks, self._sdks = self._sdks, []
        for sdk in sdks:
            await sdk.close()

    async def whole(self, door: str, body: bytes, deadline_s: float | None) -> Whole:
        session = self._open_session
        try:
            async with session.post(self._base + PATHS[door], **_options(body, deadline_s)) as reply:
                raw = await reply.read()
                if reply.status >= 400:
                    raise from_answer(reply.status, reply.headers, raw)
                return raw, reply.headers.get("x-dispatch-endpoint", ""), _attempts(reply), reply.headers.get("x-dispatch-decision", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._lost(error, deadline_s) from error

    async def feedback(self, decision: str, score: float) -> None:
        body = msgspec.json.encode({"id": decision, "score": score})
        try:
            async with self._open_session.post(self._base + "/v1/feedback", **_options(body, None)) as reply:
                if reply.status >= 400:
                    raise from_answer(reply.status, reply.headers, await reply.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._lost(error, None) from error

    def stream(self, door: str, body: bytes, deadline_s: float | None) -> Pieces:
        return self._pieces(door, body, deadline_s)

    async def _pieces(self, door: str, body: bytes, deadline_s: float | None) -> AsyncGenerator[bytes, None]:
        session = self._open_session
        try:
            async with session.post(self._base + PATHS[door], **_options(body, deadline_s)) as reply:
                if reply.status >= 400:
                    raise from_answer(reply.status, reply.headers, await reply.read())
                async for piece in reply.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._lost(error, deadline_s) from error

    @property
    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is not open: use 'async with'")
        return self._session

    async def models(self) -> list[str]:
        try:
            async with self._open_session.get(self._base + "/v1/models") as reply:
                raw = await reply.read()
                if reply.status >= 400:
                    raise from_answer(reply.status, reply.headers, raw)
                return [row["id"] for row in msgspec.json.decode(raw)["data"]]
        except (aiohttp.ClientError, TimeoutError, LookupError, ValueError, TypeError) as error:
            raise self._lost(error, None) from error

    def openai(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI  # noqa: PLC0415  # an extra

        sdk = AsyncOpenAI(base_url=self._base + "/v1", api_key=self._key or "none")
        self._sdks.append(sdk)
        return sdk

    def _lost(self, error: Exception, deadline_s: float | None) -> DeadlineExceeded | UpstreamError:
        """What it means that there is no answer of the sidecar at all."""
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            return UpstreamError(f"no connection to the sidecar at {self._base}: {error}", failure=Failure.CONNECT, endpoint="")
        if isinstance(error, TimeoutError):
            return DeadlineExceeded(f"no whole answer of the sidecar at {self._base} within {deadline_s} s")
        known = isinstance(error, aiohttp.ServerDisconnectedError)
        failure = Failure.UNKNOWN_EXECUTION if known else Failure.BROKEN
        return UpstreamError(f"the sidecar at {self._base} gave no whole answer: {error}", failure=failure, endpoint="")


def _options(body: bytes, deadline_s: float | None) -> dict[str, Any]:
    headers = {"content-type": "application/json"}
    options: dict[str, Any] = {"data": body, "headers": headers}
    if deadline_s is not None:
        if not deadline_s > 0:
            raise BadRequest(f"deadline_s must be above 0, found {deadline_s}", param="deadline_s")
        headers["x-dispatch-deadline-ms"] = str(max(1, int(deadline_s * 1000)))
        options["timeout"] = aiohttp.ClientTimeout(total=deadline_s + GRACE_S, sock_connect=CONNECT_S)
    return options


def _attempts(reply: aiohttp.ClientResponse) -> int:
    told = reply.headers.get("x-dispatch-attempts", "")
    return int(told) if told.isdigit() else 1
