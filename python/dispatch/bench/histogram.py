"""A histogram of durations with a bounded relative error, in the manner of HdrHistogram (https://hdrhistogram.org).

A value in nanoseconds keeps its 8 leading bits: 128 buckets in each power of two, so that a quantile is at most 0.8 % off,
whatever the range, and two histograms of different processes add up. Recording costs one shift and one increment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Histogram"]

_BITS: Final = 7
_BUCKETS: Final = (64 - _BITS) << _BITS


class Histogram:
    """Counts of durations.

    Attributes:
        count: how many were recorded.
        max_s: the largest, exact.
        sum_s: of all, exact.
    """

    __slots__ = ("_counts", "count", "max_s", "min_s", "sum_s")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.max_s = 0.0
        self.min_s = float("inf")
        self.sum_s = 0.0

    def record(self, duration_s: float, times: int = 1) -> None:
        """Count a duration; a negative one counts as zero."""
        value = int(duration_s * 1e9)
        if value <= 0:
            value, duration_s = 0, 0.0
        shift = value.bit_length() - _BITS - 1
        self._counts[value if shift <= 0 else (shift << _BITS) + (value >> shift)] += times
        self.count += times
        self.sum_s += duration_s * times
        self.max_s = max(self.max_s, duration_s)
        self.min_s = min(self.min_s, duration_s)

    def add(self, other: Histogram) -> None:
        """Count everything that the other one has counted."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self.count += other.count
        self.sum_s += other.sum_s
        self.max_s = max(self.max_s, other.max_s)
        self.min_s = min(self.min_s, other.min_s)

    def quantile(self, share: float) -> float:
        """Give the duration that `share` of the recorded ones do not exceed, in seconds; 0 if there are none."""
        if not self.count:
            return 0.0
        rank, seen = share * self.count, 0
        for upper_s, count in self.buckets():
            seen += count
            if seen >= rank:
                return min(upper_s, self.max_s)
        return self.max_s

    @property
    def mean_s(self) -> float:
        """The exact mean; 0 if there are none."""
        return self.sum_s / self.count if self.count else 0.0

    def buckets(self) -> Iterator[tuple[float, int]]:
        """Give the upper bound in seconds and the count of every bucket in use, ascending."""
        for index, count in enumerate(self._counts):
            if count:
                yield _upper(index) / 1e9, count


def _upper(index: int) -> int:
    shift = (index >> _BITS) - 1
    if shift <= 0:
        return index
    return (((index & ((1 << _BITS) - 1)) + (1 << _BITS) + 1) << shift) - 1
