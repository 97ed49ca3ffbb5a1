"""One worker: an event loop, a dispatcher, and the client connections of one listening socket.

A worker imports only what the path needs; it is started fresh by the supervisor and told what to do over a pipe.
"""

from __future__ import annotations

import asyncio
import gc
from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.dispatcher import Dispatcher
from dispatch.generation import build
from dispatch.routing.bell import Bell
from dispatch.server.front import Front
from dispatch.server.http1 import ClientConnection
from dispatch.telemetry.metrics import exposition, mishaps, taught

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dispatch.config import Config, Secrets
    from dispatch.dispatcher import Report
    from dispatch.routing import Board, Slots
    from dispatch.server.accept import Listeners

__all__ = ["Worker"]

FRESH_S = 1.0
"""At the end of a drain, how long a connection that was just accepted is waited for to say what it wants."""

DRAIN_POLL_S = 0.02

GC_THRESHOLD = 50_000
"""Requests leave next to no cycles; a collection every 700 allocations, Python's default, would cost more than it finds."""


class Worker:
    """See the module.

    Args:
        index: its column on the board.
        bell: by which other workers wake it; left out: it is the only one.
    """

    def __init__(self, index: int, board: Board, report: Report | None = None, bell: Bell | None = None) -> None:
        self.index = index
        self.board = board
        self.dispatcher = Dispatcher(report, index)
        self.front = Front(self.dispatcher, self._scrape)
        self._bell = bell
        self._listener: Listeners | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self.front.connections)

    def accepted(self) -> ClientConnection:
        """Make the protocol of a new connection."""
        return ClientConnection(self.front)

    def send_away(self, sample: Callable[[Sequence[ClientConnection], int], list[ClientConnection]], count: int) -> None:
        """Close so many connections after the answer each waits for: their clients connect anew, perhaps to another worker."""
        busy = [client for client in self.front.connections if client.call is not None]
        for client in sample(busy, min(count, len(busy))):
            client.end_after_answer()

    def apply(self, config: Config, secrets: Secrets, slots: Slots) -> None:
        """Take a validated configuration for all requests from here on. Requests under way finish on the one before."""
        self.dispatcher.use(build(config, secrets, slots, self.board, self.index, self.dispatcher))
        self.front.configure()
        # The tables before the last ones hold each other, and the collector's own full round is hours away.
        gc.collect()

    async def listen(self, listener: Listeners) -> None:
        """Serve the connections that `listener` accepts."""
        self.dispatcher.start(self._bell or Bell.alone(self.board))
        self.front.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        self._listener = listener
        await listener.start()

    async def drain(self, accept_s: float, timeout_s: float) -> bool:
        """Accept and serve for `accept_s` more, closing each connection after its answer, then stop. True: everything was answered."""
        self.dispatcher.draining = True
        self.front.end_after_answers()
        await asyncio.sleep(accept_s)
        if self._listener is not None:
            await self._listener.close()
        whole = await self._emptied(timeout_s)
        self.dispatcher.close()
        return whole

    async def _emptied(self, timeout_s: float) -> bool:
        """Wait until the last connection is closed, which is after its answer has left."""
        now = asyncio.get_running_loop().time
        began = now()
        while self.front.connections:
            if now() - began > timeout_s:
                return False
            self.front.close_idle(fresh=now() - began > FRESH_S)
            await asyncio.sleep(DRAIN_POLL_S)
        return True

    def _scrape(self) -> bytes:
        generation = self.dispatcher.generation
        assert generation is not None
        beside = taught(generation.routes) + mishaps(generation.mishaps)
        return exposition(generation.routing.snapshot(monotonic_ns())) + beside
