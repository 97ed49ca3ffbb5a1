"""What a run has found. `Outcome` mirrors the core's report; `Figures` are the numbers that people compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from dispatch._core import SIMULATED_GROWTH, SIMULATED_LEAST_S, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["FIGURES", "Figures", "Histogram", "Outcome", "Second", "figures", "mean", "run"]


class Histogram(Struct, frozen=True):
    """Counts of durations by bucket, half a percent wide."""

    counts: dict[int, int]
    sum_s: float

    @property
    def count(self) -> int:
        """Of all."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float:
        """Give the duration that `share` of all do not exceed; 0 if there are none."""
        due, seen = share * self.count, 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= due:
                return _middle_s(bucket)
        return 0.0

    def points(self) -> list[tuple[float, float]]:
        """Give the cumulative distribution: duration, share of all that do not exceed it."""
        total, seen, points = self.count, 0, []
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            points.append((_middle_s(bucket), seen / total))
        return points

    @classmethod
    def joined(cls, parts: Iterable[Histogram]) -> Histogram:
        """Add histograms up."""
        counts: dict[int, int] = {}
        sum_s = 0.0
        for part in parts:
            sum_s += part.sum_s
            for bucket, count in part.counts.items():
                counts[bucket] = counts.get(bucket, 0) + count
        return cls(counts, sum_s)


def _middle_s(bucket: int) -> float:
    return float(SIMULATED_LEAST_S * SIMULATED_GROWTH ** (bucket + 0.5))


class Second(Struct, frozen=True):
    """What became of the requests that arrived in one second."""

    arrived: int
    whole: int
    good: int
    p50_s: float
    p99_s: float
    retries: int
    sent: list[int]


class Endpoint(Struct, frozen=True):
    """One endpoint."""

    attempts: int
    whole: int
    refused: int
    tokens: int
    worst_minute: int
    worst_minute_requests: int
    largest: int
    minutes: list[int]


class Tenant(Struct, frozen=True):
    """One tenant."""

    arrived: int
    whole: int
    first_token: Histogram


class Outcome(Struct, frozen=True):
    """A run; `rust/src/simulate/record.rs` documents the fields."""

    arrived: int
    whole: int
    good: int
    ended: dict[str, int]
    saw_429: int
    lost_with_quota: int
    attempts: int
    retries: int
    retry_rate: float
    first_token: Histogram
    waits: list[float]
    per_token: Histogram
    whole_s: Histogram
    knowable_tokens: int
    known_tokens: int
    endpoints: list[Endpoint]
    tenants: list[Tenant]
    seconds: list[Second]
    held: int
    events: int


class Figures(Struct, frozen=True):
    """The numbers of a run, or their means over runs. Durations in seconds, shares of 1."""

    p50_s: float
    p99_s: float
    p999_s: float
    per_token_p99_s: float
    whole_p99_s: float
    good: float
    """Whole answers with a first token within 1 s and 50 ms for each further one, of all requests."""
    failed: float
    """Requests without a whole answer, of all."""
    refused_upstream: float
    """429s of providers, per request."""
    retries: float
    """Per whole answer."""
    known: float
    """Prompt tokens found in a cache, of those that earlier requests had."""
    fairness: float
    """Jain's index over the tenants' shares of whole answers: 1 is even."""
    use: float
    """Tokens in the worst minute of an endpoint, of its limit; 0 without one."""


FIGURES: dict[str, tuple[str, str]] = {
    "p50_s": ("TTFT p50", "s"),
    "p99_s": ("TTFT p99", "s"),
    "p999_s": ("TTFT p99.9", "s"),
    "per_token_p99_s": ("TPOT p99", "s"),
    "whole_p99_s": ("E2E p99", "s"),
    "good": ("good", "%"),
    "failed": ("failed", "%"),
    "refused_upstream": ("429", "%"),
    "retries": ("retries", "%"),
    "known": ("cached", "%"),
    "fairness": ("Jain", ""),
    "use": ("worst minute", "%"),
}
"""Title and unit of each figure."""


def run(scenario: bytes) -> Outcome:
    """Let the core simulate a compiled scenario."""
    return msgspec.json.decode(simulate(scenario.decode()), type=Outcome)


def figures(outcome: Outcome, limits: Sequence[int]) -> Figures:
    """Compute the figures of a run; `limits` are the endpoints' tokens per minute."""
    arrived = max(1, outcome.arrived)
    shares = [tenant.whole / max(1, tenant.arrived) for tenant in outcome.tenants]
    squares = sum(share * share for share in shares)
    use = [endpoint.worst_minute / limit for endpoint, limit in zip(outcome.endpoints, limits, strict=True) if limit]
    return Figures(
        p50_s=outcome.first_token.quantile(0.5),
        p99_s=outcome.first_token.quantile(0.99),
        p999_s=outcome.first_token.quantile(0.999),
        per_token_p99_s=outcome.per_token.quantile(0.99),
        whole_p99_s=outcome.whole_s.quantile(0.99),
        good=outcome.good / arrived,
        failed=1 - outcome.whole / arrived,
        refused_upstream=sum(endpoint.refused for endpoint in outcome.endpoints) / arrived,
        retries=outcome.retries / max(1, outcome.whole),
        known=outcome.known_tokens / max(1, outcome.knowable_tokens),
        fairness=sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0,
        use=max(use, default=0.0),
    )


def mean(rows: Sequence[Figures]) -> Figures:
    """Average figures over runs."""
    columns = {name: [getattr(row, name) for row in rows] for name in Figures.__struct_fields__}
    return Figures(**{name: sum(values) / len(values) for name, values in columns.items()})
