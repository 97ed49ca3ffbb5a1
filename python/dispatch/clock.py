"""Time and chance, the only place that asks for either: everything below the loop takes both as arguments.

A test or the simulator hands in its own `Clock`; decisions made from the same times and draws are then the same decisions.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol

__all__ = ["NS_PER_MS", "NS_PER_S", "Clock", "SystemClock"]

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(Protocol):
    """What the path needs to know of the world."""

    def now_ns(self) -> int:
        """Return monotonic time, nanoseconds; comparable between processes of one machine."""

    def wall_s(self) -> float:
        """Return seconds since 1970, for logs, budgets and schedules only."""

    def draw(self) -> float:
        """Return a uniform draw from [0, 1)."""

    def draw_bits(self) -> int:
        """Return 64 uniform bits."""

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` seconds."""


class SystemClock:
    """The machine's clock and a generator seeded by the system."""

    __slots__ = ("_random", "draw", "draw_bits", "now_ns", "wall_s")

    def __init__(self, seed: int | None = None) -> None:
        # Bound once: on the hot path each is a single call into C.
        self._random = random.Random(seed)
        self.now_ns = time.monotonic_ns
        self.wall_s = time.time
        self.draw = self._random.random

        bits = self._random.getrandbits
        self.draw_bits = lambda: bits(64)

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` seconds."""
        await asyncio.sleep(delay_s)
