"""What the kernel and the board say about the workers, every other second."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from tests.crash.fleet import Fleet

__all__ = ["EVERY_S", "Sample", "Watch", "slope"]

EVERY_S: Final = 2.0


class Sample(Struct, kw_only=True):
    """One look at one worker."""

    at_s: float
    pid: int
    rss_kib: int
    fds: int
    threads: int
    under_way: float
    """Attempts under way in all workers, by the board."""


class Watch:
    """Takes samples until it is cancelled."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.samples: list[Sample] = []

    async def run(self) -> None:
        """See the class."""
        began = monotonic()
        while True:
            under_way = -1.0
            with suppress(OSError, ValueError):
                metrics = await self._fleet.metrics()
                under_way = sum(value for name, value in metrics.items() if name.startswith("dispatch_in_flight"))
            for pid in self._fleet.worker_pids():
                # A worker that was just killed has no memory any more, though its number still stands there.
                with suppress(OSError, ValueError, IndexError, KeyError):
                    self.samples.append(_look(pid, monotonic() - began, under_way))
            await asyncio.sleep(EVERY_S)


def _look(pid: int, at_s: float, under_way: float) -> Sample:
    folder = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    rss_kib, threads = int(status["VmRSS"].split()[0]), int(status["Threads"])
    return Sample(at_s=at_s, pid=pid, rss_kib=rss_kib, fds=len(list((folder / "fd").iterdir())), threads=threads, under_way=under_way)


def slope(points: list[tuple[float, float]]) -> float:
    """The slope of the line of least squares through points; 0 for fewer than three."""
    count = len(points)
    if count < 3:
        return 0.0
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
