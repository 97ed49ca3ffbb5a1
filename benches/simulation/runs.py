"""Runs of shipped scenarios, made once however many goals look at them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

from dispatch.simulate.compile import compiled, rate_per_s, shipped
from dispatch.simulate.outcome import Outcome, run
from dispatch.simulate.policy import Policy
from dispatch.simulate.scenario import Replica, Scenario
from msgspec.structs import replace

__all__ = ["p99_ratio", "p99_s", "runs", "scenario", "stretched"]

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


def p99_ratio(name: str, policy: str, against: str, seeds: tuple[int, ...]) -> tuple[float, list[float]]:
    """Compare two policies: the ratio of the means over seeds, and the ratio of each seed."""
    ours, theirs = p99_s(name, policy, seeds), p99_s(name, against, seeds)
    return sum(ours) / sum(theirs), [a / b for a, b in zip(ours, theirs, strict=True)]
