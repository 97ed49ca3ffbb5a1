"""How long the machine withheld its processors from the sidecar and from this program, so that lateness is laid at the right door.

A processor that has others to run makes everything late. The kernel says for each process how long it was ready to run and did not
(`/proc/PID/schedstat`, second number); this program's own loop shows by its timers how late it was itself.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Strain"]

EVERY_S: Final = 0.05
_NS: Final = 1e9


class Strain:
    """`async with Strain(pids) as strain:`; `pids` are the workers of that moment.

    Attributes:
        worst_lag_s: the longest time that this program's own loop was late by.
    """

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids
        self._times: list[float] = []
        self._waits: list[dict[int, float]] = []
        self._lags: list[float] = []
        self.worst_lag_s = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _watch(self) -> None:
        while True:
            before = monotonic()
            self._times.append(before)
            self._waits.append({pid: waited for pid in self._pids() if (waited := _waited_s(pid)) is not None})
            await asyncio.sleep(EVERY_S)
            lag_s = monotonic() - before - EVERY_S
            self._lags.append(lag_s)
            self.worst_lag_s = max(self.worst_lag_s, lag_s)

    def withheld_s(self, from_s: float, to_s: float) -> float:
        """For how long between two times of the monotonic clock the worst-off worker waited for a processor, and this program was late."""
        first, last = max(0, bisect_right(self._times, from_s) - 1), min(len(self._times), bisect_left(self._times, to_s) + 1)
        seen = self._waits[first:last]
        lag_s = max(self._lags[first:last], default=0.0)
        if not seen:
            return lag_s
        return lag_s + max((after - seen[0].get(pid, after) for pid, after in seen[-1].items()), default=0.0)


def _waited_s(pid: int) -> float | None:
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / _NS
    return None
