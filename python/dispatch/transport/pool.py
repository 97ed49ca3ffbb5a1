"""Keep-alive connections to one origin.

The connection used last is used first, so that those which are not needed fall idle and are dropped. Requests wait in
order while connections are being made; one that becomes free meanwhile serves the first of them.

Some servers close a connection right after an answer without having said so. A request written at that very moment may have been
executed or not, so it can neither be repeated nor answered. Such an origin is found out by what happens to idle connections, and
from then on its connections *rest* after an answer, and show that they stay, before they are used again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

from dispatch.errors import Failure
from dispatch.transport.connection import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dispatch.transport.connection import Receiver
    from dispatch.wire.rope import InPieces

__all__ = ["IDLE_S", "MAX_HANDSHAKES", "SWEEP_S", "NoCredential", "Origin", "Waiting"]

IDLE_S = 4
"""Below uvicorn's and Node's five seconds: the side that closes first must be ours."""

SWEEP_S = 0.5
"""How often the owner of the clock calls `sweep`."""

MAX_HANDSHAKES = 64
"""Connections being made at once to one origin; further requests wait for those."""

CLOSING_ROUNDS = 20
"""Rounds of the loop that the end of aborted connections is waited for; a socket takes one, TLS a few."""

TAIL_NS = 2_000_000_000
"""How long a finished stream's connection may take to end its message, to be of use again."""

REST_S = 0.05
"""How long a connection shows that it stays, where that is in doubt. The closes that were seen came within 2 ms of the answer."""

DOUBT_NS = 60_000_000_000
"""How long an origin is doubted after a connection ended that should have stayed."""

SOON_NS = 1_000_000_000
"""A server that closes an idle connection sooner than this does not do it for its age."""

_NS = 1_000_000_000


class Waiting:
    """A request that waits for a connection."""

    __slots__ = ("origin", "receiver", "request", "since_ns")

    def __init__(self, origin: Origin, request: bytes, receiver: Receiver) -> None:
        self.origin = origin
        self.request = request
        self.receiver: Receiver | None = receiver
        self.since_ns = monotonic_ns()

    def cancel(self) -> None:
        self.receiver = None


class NoCredential(OSError):
    """There is no credential to show on a connection."""


class Origin:
    """The connections to one scheme, host, port and TLS identity.

    Args:
        connect: makes one connection for this origin; its protocol reports itself by `on_connected`.
        connect_s: how long one connection may take.
    """

    def __init__(
        self, name: str, connect: Callable[[Origin], Awaitable[None]], connect_s: float, max_answer_bytes: int, idle_s: float = IDLE_S
    ) -> None:
        self.name = name
        self.connect_s = connect_s
        self.max_answer_bytes = max_answer_bytes
        self.idle_s = idle_s
        self._connect = connect
        # Ordered: `popitem` takes what came last.
        self._idle: dict[UpstreamConnection, None] = {}
        self._waiting: deque[Waiting] = deque()
        self._making: set[asyncio.Task[None]] = set()
        self._ending: dict[UpstreamConnection, int] = {}
        self._all: set[UpstreamConnection] = set()
        self._resting: set[UpstreamConnection] = set()
        self._doubted_until_ns = 0
        # Called when a connection has given its answer and may give another one. An origin is trusted from the first connection on
        # that has rested; swapped, so that doubt costs nothing where there is none.
        self.release: Callable[[UpstreamConnection], None] = self._rest
        self._closed = False

    def __repr__(self) -> str:
        active = len(self._all) - len(self._idle)
        return (
            f"<Origin {self.name}: {active} active, {len(self._idle)} idle, {len(self._waiting)} waiting, {len(self._making)} connecting>"
        )

    def send(self, request: bytes, receiver: Receiver) -> Waiting | None:
        """Send on an idle connection now, or wait for one; what is returned can be cancelled until it is sent."""
        idle = self._idle
        while idle:
            connection, _ = idle.popitem()
            transport = connection.transport
            if not transport.is_closing():
                connection.receiver = receiver
                receiver.connection = connection
                connection.expect()
                transport.write(request)
                return None
        waiting = Waiting(self, request, receiver)
        self._waiting.append(waiting)
        self._make()
        return waiting

    def send_pieces(self, request: InPieces, receiver: Receiver) -> Waiting:
        """The same for a request that is not in one piece."""
        waiting = Waiting(self, request, receiver)
        self.resume(waiting)
        return waiting

    def resume(self, waiting: Waiting) -> None:
        """Send what has waited for something else until now, or let it wait for a connection."""
        idle = self._idle
        while idle and waiting.receiver is not None:
            connection, _ = idle.popitem()
            if not connection.transport.is_closing():
                connection.start(waiting.request, waiting.receiver)
                return
        self._waiting.append(waiting)
        self._make()

    async def dial(self, protocol: asyncio.Protocol, request: bytes) -> bytes:
        """Make a connection for something else than answers; it belongs to `protocol` alone. Returns what is to be sent on it first.

        Raises:
            OSError: there is none; `NoCredential`: nothing that could be sent on it.
            TimeoutError: there is none in time.
        """
        async with asyncio.timeout(self.connect_s):
            await self._connect(cast("Origin", _Dial(protocol, self.connect_s)))
        return request

    def protocol(self) -> UpstreamConnection:
        """The protocol of a new connection."""
        return UpstreamConnection(self, self.max_answer_bytes)

    def on_connected(self, connection: UpstreamConnection) -> None:
        self._all.add(connection)
        self._offer(connection)

    def _offer(self, connection: UpstreamConnection) -> None:
        """The connection is free: it serves who waits, or falls idle."""
        connection.idle_since_ns = 0
        if self._waiting:
            while self._waiting:
                waiting = self._waiting.popleft()
                if waiting.receiver is not None:
                    connection.start(waiting.request, waiting.receiver)
                    return
        if self._closed:
            connection.close()
            return
        self._idle[connection] = None

    def _rest(self, connection: UpstreamConnection) -> None:
        """The connection is free, if its server does not close it now. Who waits has a connection of its own under way."""
        if self._closed:
            connection.close()
            return
        self._resting.add(connection)
        asyncio.get_running_loop().call_later(REST_S, self._rested, connection)

    def _rested(self, connection: UpstreamConnection) -> None:
        if connection in self._resting:
            self._resting.discard(connection)
            if monotonic_ns() > self._doubted_until_ns:
                self.release = self._offer
            self._offer(connection)

    def _doubt(self) -> None:
        self._doubted_until_ns = monotonic_ns() + DOUBT_NS
        self.release = self._rest

    def await_end(self, connection: UpstreamConnection) -> None:
        """The client has its answer; the message's end is still to come."""
        if self._closed:
            connection.close()
            return
        self._ending[connection] = monotonic_ns() + TAIL_NS

    def on_refused(self) -> None:
        """There is no credential here: it stands in the requests."""

    def on_lost(self, connection: UpstreamConnection) -> None:
        self._all.discard(connection)
        self._ending.pop(connection, None)
        if connection in self._idle:
            del self._idle[connection]
            since_ns = connection.idle_since_ns
            is_doubtful = not since_ns or monotonic_ns() - since_ns < SOON_NS
        elif connection in self._resting:
            self._resting.discard(connection)
            is_doubtful = True
        else:
            is_doubtful = connection.receiver is not None and not connection.reader.has_bytes
        if is_doubtful and not self._closed:
            self._doubt()

    def sweep(self, now_ns: int) -> None:
        """Close what has been idle for too long. Called by the worker's coarse timer."""
        for connection in [connection for connection in self._idle if not self._is_fresh(connection, now_ns)]:
            del self._idle[connection]
            connection.close()
        for connection, until_ns in [*self._ending.items()]:
            if connection.receiver is not None or not connection.streaming:
                self._ending.pop(connection, None)
            elif now_ns > until_ns:
                self._ending.pop(connection, None)
                connection.close()

    def _is_fresh(self, connection: UpstreamConnection, now_ns: int) -> bool:
        if connection.idle_since_ns == 0:
            # The first sweep that sees a connection idle stamps it: no clock is read on the path.
            connection.idle_since_ns = now_ns
        announced = connection.reader.keep_alive_s
        allowed_s = min(self.idle_s, announced - 1) if announced >= 0 else self.idle_s
        # It may have fallen idle a sweep before its stamp, and the next sweep is the first that could close it after this one.
        return now_ns - connection.idle_since_ns + 2 * SWEEP_S * _NS <= allowed_s * _NS

    def _make(self) -> None:
        if len(self._making) >= min(MAX_HANDSHAKES, len(self._waiting)):
            return
        task = asyncio.get_running_loop().create_task(self._connect_one())
        self._making.add(task)
        task.add_done_callback(self._made)

    async def _connect_one(self) -> None:
        try:
            async with asyncio.timeout(self.connect_s):
                await self._connect(self)
        except TimeoutError:
            self._fail_first(f"no connection to {self.name} within {self.connect_s:g} s")
        except OSError as error:
            self._fail_first(f"no connection to {self.name}: {error.strerror or error}")

    def _made(self, task: asyncio.Task[None]) -> None:
        self._making.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail_first(f"no connection to {self.name}: {error}")
        # Who left while waiting needs no connection.
        while self._waiting and self._waiting[0].receiver is None:
            self._waiting.popleft()
        if self._waiting:
            self._make()

    def _fail_first(self, reason: str) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if waiting.receiver is not None:
                waiting.receiver.on_failure(Failure.CONNECT, reason)
                return

    def close(self) -> None:
        """Close what is idle now and what is busy when it is done. Requests that began with this origin may still be sent."""
        self._closed = True
        if not any(waiting.receiver for waiting in self._waiting):
            for task in [*self._making]:
                task.cancel()
        # Those whose client has its answer are swept by nobody from here on.
        free = [*self._idle, *self._ending, *self._resting]
        self._idle.clear()
        self._resting.clear()
        self._ending.clear()
        for connection in free:
            connection.close()

    async def wait_closed(self) -> None:
        """After `close`, with nothing under way any more: wait until no connection is being made or closed."""
        if self._making:
            await asyncio.wait(self._making)
        for _ in range(CLOSING_ROUNDS):
            if not self._all:
                return
            await asyncio.sleep(0)


class _Dial:
    """What a connector needs to know of an origin, for one connection of its own."""

    __slots__ = ("_protocol", "connect_s")

    def __init__(self, protocol: asyncio.Protocol, connect_s: float) -> None:
        self._protocol = protocol
        self.connect_s = connect_s

    def protocol(self) -> asyncio.Protocol:
        """The one that waits."""
        return self._protocol
