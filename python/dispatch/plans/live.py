"""What the board says of the parts of a route, read once a second: how fast they are, how often they fail, whether they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dispatch.pools import Pool
    from dispatch.routing import Snapshot

__all__ = ["Facts", "Live"]

_NS = 1_000_000_000
READ_NS = _NS
"""How old what was read may be."""
KEPT_PART = 0.97
"""Of the counts of attempts that is kept from one reading to the next: about the last half minute counts."""
_NO_FAULT = frozenset(
    (Failure.NONE, Failure.CANCELLED, Failure.BAD_REQUEST, Failure.CONTEXT_LENGTH, Failure.CONTENT_FILTER, Failure.RATE_LIMITED)
)
"""Ends of attempts that say nothing against an endpoint."""


class Facts(Struct, frozen=True):
    """Of one part."""

    latency_s: float | None = None
    """Learned time to first token, the mean of its endpoints; None before the first."""
    errors: float = 0.0
    """Share of failures among recent attempts."""
    is_there: bool = True
    """An endpoint of it has a closed breaker."""


class Live:
    """See the module; one for a generation.

    Args:
        snapshot: reads the board.
    """

    def __init__(self, snapshot: Callable[[int], Snapshot]) -> None:
        self._snapshot = snapshot
        self._read_ns = -READ_NS
        self._now: Snapshot | None = None
        self._before: dict[str, list[int]] = {}
        self._recent: dict[str, tuple[float, float]] = {}
        self._known: dict[int, tuple[Sequence[Sequence[Pool]], list[Facts]]] = {}

    def of(self, parts: Sequence[Sequence[Pool]], now_ns: int) -> list[Facts]:
        """The facts of some parts, each of the pools that it reaches: the same list until the board is read again."""
        now = self._now
        if now is None or now_ns - self._read_ns >= READ_NS:
            self._read_ns = now_ns
            self._now = now = self._snapshot(now_ns)
            for name, state in now.endpoints.items():
                self._count(name, state.attempts)
            self._known = {}
        known = self._known.get(id(parts))
        if known is None or known[0] is not parts:
            facts = [self._facts({link.name for pool in pools for link in pool.links}, now) for pools in parts]
            self._known[id(parts)] = known = (parts, facts)
        return known[1]

    def _count(self, name: str, attempts: list[int]) -> None:
        before = self._before.get(name, [0] * len(attempts))
        self._before[name] = attempts
        bad, total = self._recent.get(name, (0.0, 0.0))
        new = [now - then for now, then in zip(attempts, before, strict=True)]
        failed = sum(count for number, count in enumerate(new) if number not in _NO_FAULT)
        self._recent[name] = bad * KEPT_PART + failed, total * KEPT_PART + sum(new)

    def _facts(self, names: set[str], now: Snapshot) -> Facts:
        gauges = [now.gauges[name] for name in sorted(names)]
        latencies = [gauge.latency_s for gauge in gauges if gauge.latency_s is not None]
        counts = [self._recent[name] for name in sorted(names)]
        total = sum(count for _, count in counts)
        return Facts(
            latency_s=sum(latencies) / len(latencies) if latencies else None,
            errors=sum(bad for bad, _ in counts) / total if total else 0.0,
            is_there=any(gauge.breaker != "open" for gauge in gauges),
        )
