"""One timer for all answers: tasks are kept in buckets of one millisecond, and only the earliest bucket has a timer.

A task per stream, or one `call_later` per event, would cost a heap operation and a handle each. Here the tasks of one
millisecond share both; a heap holds one number for each bucket in use.
"""

from __future__ import annotations

import heapq
import math
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["Due", "Wheel"]

_TICK_S: Final = 0.001
"""uvloop's own timers have this resolution."""


class Due(Protocol):
    """Something that wants to be called at a time."""

    def due(self, now_s: float, /) -> None:
        """Act; the time asked for has come. A task that is over ignores the call: nothing is ever taken out of the wheel."""


class Wheel:
    """Calls tasks at their time, never early."""

    __slots__ = ("_armed", "_buckets", "_handle", "_loop", "_ticks")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, list[Due]] = {}
        self._ticks: list[int] = []
        self._armed = 0
        self._handle: asyncio.TimerHandle | None = None

    @staticmethod
    def now_s() -> float:
        """The wheel's clock: monotonic, seconds."""
        return time.monotonic()

    def at(self, when_s: float, task: Due) -> None:
        """Call `task.due` at `when_s` of this clock, or up to a tick later."""
        tick = math.ceil(when_s / _TICK_S)
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket.append(task)
            return
        self._buckets[tick] = [task]
        heapq.heappush(self._ticks, tick)
        if self._handle is None or tick < self._armed:
            self._arm(tick)

    def stop(self) -> None:
        """Forget everything."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._buckets.clear()
        self._ticks.clear()

    def _arm(self, tick: int) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed = tick
        self._handle = self._loop.call_later(max(0.0, tick * _TICK_S - time.monotonic()), self._run)

    def _run(self) -> None:
        # While buckets run, `at` must not arm: the loop below sees new buckets itself.
        self._armed = 0
        now_s = time.monotonic()
        last = math.floor(now_s / _TICK_S)
        while self._ticks and self._ticks[0] <= last:
            for task in self._buckets.pop(heapq.heappop(self._ticks)):
                task.due(now_s)
        self._handle = None
        if self._ticks:
            self._arm(self._ticks[0])
