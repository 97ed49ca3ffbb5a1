"""When a request is late enough to be sent a second time: a percentile of the latest answers, read from histograms that only grow.

Why a percentile and not a number: what is late differs between models by a hundred, and for one model between noon and night. Why the
95th: one request in twenty is looked at, and of those a capped few are sent again (Dean and Barroso, "The Tail at Scale", CACM 2013, hedge
there). A hedged request whose first answer is cancelled leaves no sample, so the learned time is a little short; the cap bounds what
that can cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LATE_SHARE", "MIN_SAMPLES", "WINDOW_NS", "Lateness", "percentile"]

LATE_SHARE = 0.95
MIN_SAMPLES = 100
"""Below this, the 95th percentile is decided by a handful of answers."""
WINDOW_NS = 60_000_000_000
"""What is learned is between one and two of these old, or as old as it takes to have `MIN_SAMPLES`."""


def percentile(counts: Sequence[int], bounds_s: Sequence[float], share: float) -> float | None:
    """Return the value below which `share` of a histogram lies, s, taking each bucket's values as spread evenly.

    Args:
        counts: per bucket, not added up; the last has no upper bound.
        bounds_s: upper bounds of the others.
        share: above 0, below 1.

    Returns:
        None if it lies beyond the last bound, or nothing was counted.
    """
    target = share * sum(counts)
    below, low = 0, 0.0
    for bound, count in zip(bounds_s, counts, strict=False):
        if count and below + count >= target:
            return low + (bound - low) * (target - below) / count
        below += count
        low = bound
    return None


class Lateness:
    """The `LATE_SHARE` percentile of what a histogram counted lately.

    Args:
        bounds_s: the histogram's.
    """

    __slots__ = ("_bounds_s", "_later", "_later_ns", "_since")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self._since: Sequence[int] = ()
        self._later: Sequence[int] = ()
        self._later_ns = 0

    def learn(self, counts: Sequence[int], now_ns: int) -> float | None:
        """Look at the histogram as it stands now; return the percentile, s, or None while there is too little to tell."""
        if not self._later_ns:
            self._since = self._later = [0] * len(counts)
            self._later_ns = now_ns
        latest = _less(counts, self._since)
        if now_ns - self._later_ns >= WINDOW_NS and sum(_less(counts, self._later)) >= MIN_SAMPLES:
            self._since, self._later, self._later_ns = self._later, counts, now_ns
        return percentile(latest, self._bounds_s, LATE_SHARE) if sum(latest) >= MIN_SAMPLES else None


def _less(counts: Sequence[int], before: Sequence[int]) -> list[int]:
    return [now - then for now, then in zip(counts, before, strict=True)]
