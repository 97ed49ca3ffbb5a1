"""Runs of shipped scenarios, made once however many goals look at them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from statistics import quantiles

from dispatch.simulate.compile import compiled, rate_per_s, shipped
from dispatch.simulate.outcome import Outcome, run
from dispatch.simulate.policy import Policy
from dispatch.simulate.scenario import Replica, Scenario
from msgspec.structs import replace

__all__ = ["Ratio", "p99_of_as_many", "p99_of_both", "p99_ratio", "p99_s", "runs", "scenario", "stretched"]

_SCENARIOS = shipped()
CONSTANTS = ("step_ms", "prefill_ms", "decode_ms")


def scenario(name: str) -> Scenario:
    """Give a shipped scenario; `NAME/CONSTANT*FACTOR` has that constant of its replicas changed."""
    name, _, change = name.partition("/")
    if not change:
        return _SCENARIOS[name]
    constant, _, factor = change.partition("*")
    return stretched(_SCENARIOS[name], constant, float(factor))


def stretched(given: Scenario, constant: str, factor: float) -> Scenario:
    """Change one constant of all replicas, and the rate with it, so that the share of capacity stays what it was."""
    endpoints = tuple(
        replace(endpoint, server=replace(endpoint.server, **{constant: getattr(endpoint.server, constant) * factor}))
        if isinstance(endpoint.server, Replica)
        else endpoint
        for endpoint in given.endpoints
    )
    load = rate_per_s(given) / _capacity(given)
    return replace(given, endpoints=endpoints, arrivals=replace(given.arrivals, rate_per_s=0.0, load=load))


def _capacity(given: Scenario) -> float:
    return rate_per_s(replace(given, arrivals=replace(given.arrivals, rate_per_s=0.0, load=1.0)))


@cache
def runs(name: str, policy: str, seeds: tuple[int, ...], workers: int = 1, view: str = "shared") -> list[Outcome]:
    """Run a scenario under a policy, once for each seed."""
    given, parsed = scenario(name), Policy.parse(policy)

    def one(seed: int) -> Outcome:
        return run(compiled(given, parsed, seed=seed, workers=workers, shared=view == "shared"))

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(one, seeds))


def p99_s(name: str, policy: str, seeds: tuple[int, ...], workers: int = 1, view: str = "shared") -> list[float]:
    """Give the 99th percentile of the time to first token for each seed."""
    return [outcome.first_token.quantile(0.99) for outcome in runs(name, policy, seeds, workers, view)]


Ratio = tuple[float, list[float]]
"""Of the means over seeds, and of each seed."""


def p99_ratio(name: str, policy: str, against: str, seeds: tuple[int, ...]) -> Ratio:
    """Compare p99 of the time to first token of two policies, over the requests that had one."""
    return _ratio(p99_s(name, policy, seeds), p99_s(name, against, seeds))


def p99_of_as_many(name: str, policy: str, against: str, seeds: tuple[int, ...]) -> Ratio:
    """Compare by when 99 of a hundred had a first token, of as many requests as had one under the policy that leaves more without.

    So one without counts as later than all others, and no policy looks faster for what it leaves. Where all have one, it is p99.
    """
    pairs = [(a.first_token, b.first_token) for a, b in zip(runs(name, policy, seeds), runs(name, against, seeds), strict=True)]
    ranks = [0.99 * min(a.count, b.count) for a, b in pairs]
    ours, theirs = ([pair[at].quantile(rank / pair[at].count) for pair, rank in zip(pairs, ranks, strict=True)] for at in (0, 1))
    return _ratio(ours, theirs)


def p99_of_both(name: str, policy: str, against: str, seeds: tuple[int, ...]) -> Ratio:
    """Compare p99 over the requests that had a first token under either policy."""

    def waits(which: str, seed: int) -> list[float]:
        return run(compiled(scenario(name), Policy.parse(which), seed=seed, each=True)).waits

    pairs = [
        [pair for pair in zip(waits(policy, seed), waits(against, seed), strict=True) if min(pair) >= 0] or [(0.0, 1.0)] for seed in seeds
    ]
    ours, theirs = ([quantiles([pair[at] for pair in rows], n=100)[-1] for rows in pairs] for at in (0, 1))
    return _ratio(ours, theirs)


def _ratio(ours: list[float], theirs: list[float]) -> Ratio:
    return sum(ours) / sum(theirs), [a / b for a, b in zip(ours, theirs, strict=True)]
