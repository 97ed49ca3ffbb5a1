"""The goals of what narrows a choice: tiers, prices, latencies, warm caches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benches.simulation.runs import p99_ratio, runs, scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatch.simulate.outcome import Outcome

__all__ = ["Measured", "modifiers"]

Measured = tuple[str, float, float, bool, str]
"""What it is, its value, its target, whether that is the most, and a note."""

PLAIN = "least_work"


def modifiers(seeds: tuple[int, ...]) -> Iterator[Measured]:
    """Compare each modifier with the same strategy without it."""
    cheap, plain = (runs("s11-prices", f"{PLAIN}{more}", seeds) for more in ("+lowest_cost", ""))
    spent = _dollars("s11-prices", cheap) / _dollars("s11-prices", plain)
    yield "lowest_cost: dollars by those without it", spent, 0.5, True, f"median TTFT {_median(cheap) / _median(plain):.2f} times"
    yield "lowest_cost: whole answers", _whole(cheap), 0.999, False, ""
    fast, even = (runs("s11-latency", f"p2c{more}", seeds) for more in ("+lowest_latency", ""))
    yield "lowest_latency: median TTFT by that without it, hosted", _median(fast) / _median(even), 0.7, True, ""
    replicas = _median(runs("s11-prices", f"{PLAIN}+lowest_latency", seeds)) / _median(plain)
    yield "lowest_latency: median TTFT by that without it, replicas that fill up", replicas, 1.5, True, "6.7 at a margin of 0"
    tiers = runs("s11-tiers", f"{PLAIN}+priority", seeds)
    calm = [second.sent for outcome in tiers for second in [*outcome.seconds[30:119], *outcome.seconds[180:239]]]
    yield (
        "priority: of the requests in calm times, to the first tier",
        sum(sum(sent[:4]) for sent in calm) / sum(map(sum, calm)),
        0.99,
        False,
        "",
    )
    away = [second for outcome in tiers for second in outcome.seconds[120:150]]
    served = sum(second.whole for second in away) / sum(second.arrived for second in away)
    yield "priority: whole answers while the first tier is away", served, 0.99, False, ""
    for other, target in (("cache_aware", 1.1), (PLAIN, 0.6)):
        ratio, each = p99_ratio("s11-warm", f"{PLAIN}+affinity", other, seeds)
        yield f"affinity: p99 TTFT of conversations by that of {other}", ratio, target, True, f"{min(each):.3f} to {max(each):.3f} by seed"


def _dollars(name: str, outcomes: list[Outcome]) -> float:
    """What all tokens cost, at the price of a prompt's: endpoints of one scenario differ by a factor alone."""
    prices = [one.price.input for one in scenario(name).endpoints for _ in range(one.count)]
    return sum(price * endpoint.tokens for outcome in outcomes for price, endpoint in zip(prices, outcome.endpoints, strict=True))


def _median(outcomes: list[Outcome]) -> float:
    return sum(outcome.first_token.quantile(0.5) for outcome in outcomes) / len(outcomes)


def _whole(outcomes: list[Outcome]) -> float:
    return sum(outcome.whole for outcome in outcomes) / sum(outcome.arrived for outcome in outcomes)
