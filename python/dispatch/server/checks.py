"""The supervisor's prober: a thread with a loop of its own, so that it outlives every worker and disturbs none."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatch.checks import Prober
    from dispatch.routing import Board
    from dispatch.server.channel import Settings
    from dispatch.telemetry.log import Log

__all__ = ["Checks"]

STOP_S = 1.0
"""Longest wait for its end: it holds nothing that would be lost."""


class Checks:
    """Nothing but this object until a configuration wants checks.

    Args:
        log: for the thread alone.
    """

    def __init__(self, board: Board, log: Log) -> None:
        self._board = board
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._prober: Prober | None = None
        self._stopped: asyncio.Event
        self._thread: threading.Thread

    def use(self, settings: Settings) -> None:
        """Check the endpoints of these settings from now on."""
        if self._loop is None and not any(endpoint.check for endpoint in settings.config.endpoints):
            return
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._stopped = asyncio.Event()
            self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), name="checks", daemon=True)
            self._thread.start()
        self._loop.call_soon_threadsafe(self._use, settings)

    def close(self) -> None:
        """End it."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(STOP_S)

    def _use(self, settings: Settings) -> None:
        # 150 ms of every start, for the few that check.
        from dispatch.checks import Prober, questions  # noqa: PLC0415

        if self._prober is None:
            self._prober = Prober(self._board, self._log)
        self._prober.use(questions(settings.config, settings.secrets, settings.slots))

    async def _run(self) -> None:
        await self._stopped.wait()
        if self._prober is not None:
            await self._prober.close()
