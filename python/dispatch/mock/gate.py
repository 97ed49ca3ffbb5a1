"""The listening socket, and what befalls connections before there is a request: refused, reset, or slow in their handshake.

Accepting is done here and not by `create_server`, because each of these must happen before TLS or a request begins.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Final

from dispatch.mock.http1 import RESET, Connection
from dispatch.transport.handover import hand_over

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from dispatch.mock.provider import Provider
    from dispatch.mock.scenario import Trouble

__all__ = ["Gate"]

_BACKLOG: Final = 4096
_AT_ONCE: Final = 128
"""Connections accepted in one turn of the loop."""


class Gate:
    """Listens while it is open.

    Args:
        listen: makes the listening socket, again after each time that connections were refused.
        tls: speak TLS.
    """

    def __init__(
        self, provider: Provider, listen: Callable[[], socket.socket], tls: ssl.SSLContext | None, *, is_safe: bool = False
    ) -> None:
        """Take what is shared; `is_safe`: no trouble happens here, for the door of the mock's own controls."""
        self._provider = provider
        self._listen = listen
        self._tls = tls
        self._is_safe = is_safe
        self._rng = Random(provider.scenario.seed)
        self._socket: socket.socket | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Listen, unless the scenario says otherwise. Raises `OSError`."""
        self._update(first=True)
        self.follow()

    def follow(self) -> None:
        """Take the scenario's times anew: when to refuse, and when no longer."""
        for timer in self._timers:
            timer.cancel()
        loop, since_s = asyncio.get_running_loop(), self._provider.since_s()
        times = [time_s for trouble in self._refusals() for time_s in (trouble.from_s, trouble.to_s)]
        self._timers = [loop.call_later(time_s - since_s, self._update) for time_s in times if since_s < time_s < float("inf")]
        self._update()

    def close(self) -> None:
        """Stop listening."""
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._shut()

    def _refusals(self) -> list[Trouble]:
        return [] if self._is_safe else [one for one in self._provider.scenario.connections if one.fault == "refuse"]

    def _update(self, *, first: bool = False) -> None:
        # A timer may be early by the loop's grain; a window must not stay open for that.
        since_s = self._provider.since_s() + 0.001
        refuses = any(one.from_s <= since_s < one.to_s for one in self._refusals())
        if self._socket is None and (first or not refuses):
            # Once in any case: a port that the system chooses has to be known.
            self._socket = self._listen()
            self._socket.listen(_BACKLOG)
            self._socket.setblocking(False)
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._accept)
        if refuses:
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if self._socket is None:
                return
            try:
                sock, _ = self._socket.accept()
            except OSError:
                # Nothing waits any more, or the client is gone again, or there is no descriptor left.
                return
            self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        trouble = self._trouble()
        if trouble is not None and trouble.fault == "reset":
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
            return
        task = asyncio.get_running_loop().create_task(self._hand_on(sock, 0.0 if trouble is None else trouble.delay_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hand_on(self, sock: socket.socket, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            if delay_s:
                await asyncio.sleep(delay_s)
            with suppress(OSError):  # gone, or no TLS
                transport, _ = await loop.connect_accepted_socket(lambda: Connection(self._provider), sock, ssl=self._tls)
                hand_over(transport, sock)
        except asyncio.CancelledError:
            sock.close()
            raise

    def _trouble(self) -> Trouble | None:
        if self._is_safe or not self._provider.scenario.connections:
            return None
        since_s = self._provider.since_s()
        for one in self._provider.scenario.connections:
            if one.fault != "refuse" and one.from_s <= since_s < one.to_s and self._rng.random() < one.rate:
                return one
        return None
