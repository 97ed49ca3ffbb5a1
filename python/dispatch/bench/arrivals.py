"""When requests are meant to be sent. The times do not depend on the answers: that is what makes a load open-loop."""

from __future__ import annotations

from random import Random
from typing import Literal

__all__ = ["Arrivals"]


class Arrivals:
    """Intended send times at a mean rate.

    `poisson`: independent users, gaps are exponential. `constant`: even gaps.
    """

    __slots__ = ("_gap_s", "_is_poisson", "_rng", "next_s")

    def __init__(self, rate: float, kind: Literal["poisson", "constant"], seed: int, start_s: float) -> None:
        self._gap_s = 1 / rate
        self._is_poisson = kind == "poisson"
        self._rng = Random(seed)
        self.next_s = start_s
        """The next intended time."""
        if self._is_poisson:
            self.advance()

    def advance(self) -> None:
        """Go on to the time after."""
        self.next_s += self._rng.expovariate(1.0) * self._gap_s if self._is_poisson else self._gap_s
