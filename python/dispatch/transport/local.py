"""An origin without a socket: a provider that answers inside this process, read like any other.

What it says are the bytes of an HTTP answer, cut where it likes. They pass the same reader as everything else, so that the
first request on a machine with nothing set up takes the way that all requests take.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dispatch.transport.connection import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dispatch.transport.connection import Receiver
    from dispatch.wire.rope import InPieces

__all__ = ["LocalOrigin"]


class LocalOrigin:
    """Answers by a function of the request's bytes.

    Args:
        respond: from a whole HTTP request to the pieces of a whole HTTP answer. Pure and fast: it runs in the event loop.
    """

    def __init__(self, name: str, respond: Callable[[bytes], Iterable[bytes]]) -> None:
        self.name = name
        self._respond = respond

    def __repr__(self) -> str:
        return f"<LocalOrigin {self.name}>"

    def send(self, request: bytes, receiver: Receiver) -> None:
        """Answer in the loop's next round, never inside this call, as a socket would."""
        connection = UpstreamConnection(self)
        connection.transport = _Pipe(connection, self._respond)
        connection.start(request, receiver)

    def send_pieces(self, request: InPieces, receiver: Receiver) -> None:
        """The same for a request that is not in one piece."""
        self.send(request.whole(), receiver)

    def on_connected(self, connection: UpstreamConnection) -> None:
        """There is nothing to connect."""

    def release(self, connection: UpstreamConnection) -> None:
        """Nothing to keep."""

    def await_end(self, connection: UpstreamConnection) -> None:
        """Nothing follows that was not sent."""

    def on_lost(self, connection: UpstreamConnection) -> None:
        """Nothing to forget."""

    def on_refused(self) -> None:
        """Nobody is asked for a credential."""

    def sweep(self, now_ns: int) -> None:
        """Nothing falls idle."""

    def close(self) -> None:
        """Nothing is open."""

    async def wait_closed(self) -> None:
        """Nothing was open."""


class _Pipe:
    """The transport of such a connection: pieces are handed over one per round of the loop."""

    __slots__ = ("_closed", "_connection", "_paused", "_pieces", "_respond")

    def __init__(self, connection: UpstreamConnection, respond: Callable[[bytes], Iterable[bytes]]) -> None:
        self._connection = connection
        self._respond = respond
        self._pieces: Any = None
        self._closed = False
        self._paused = False

    def write(self, data: bytes) -> None:
        self._pieces = iter(self._respond(data))
        asyncio.get_running_loop().call_soon(self._push)

    def _push(self) -> None:
        if self._closed or self._paused:
            return
        piece = next(self._pieces, None)
        if piece is None:
            self.close()
            return
        asyncio.get_running_loop().call_soon(self._push)
        self._connection.data_received(piece)

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            asyncio.get_running_loop().call_soon(self._push)

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    abort = close
