"""A scenario under several policies, workers, views and loads, each over several seeds.

Runs go side by side in threads: the core lets go of the interpreter's lock.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from dispatch.simulate.compile import compiled
from dispatch.simulate.outcome import Figures, Histogram, Outcome, figures, mean, run
from dispatch.simulate.policy import Policy
from dispatch.simulate.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


__all__ = ["Case", "Result", "Study", "study"]


class Case(Struct, frozen=True):
    """One row of a study."""

    policy: str
    workers: int
    view: str
    load: float
    """Share of capacity; 0: the scenario's own rate."""

    @property
    def label(self) -> str:
        """The row's name."""
        words = [self.policy]
        if self.workers > 1:
            words.append(f"{self.workers} workers" + ("" if self.view == "shared" else ", private"))
        if self.load:
            words.append(f"load {self.load:g}")
        return ", ".join(words)


class Result(Struct, frozen=True):
    """What a case has shown."""

    case: Case
    figures: Figures
    """Means over seeds."""
    p99_by_seed_s: list[float]
    first_token: Histogram
    """Of all seeds."""
    sample: Outcome
    """The first seed's run."""


class Study(Struct, frozen=True):
    """A scenario and its results."""

    name: str
    scenario: Scenario
    seeds: list[int]
    results: list[Result]


def study(
    name: str,
    scenario: Scenario,
    *,
    seeds: Sequence[int],
    loads: Sequence[float] = (0.0,),
    jobs: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Study:
    """Run all cases of a scenario.

    Args:
        name: of the scenario.
        scenario: with the policies, workers and views to compare.
        seeds: each case is run once for each.
        loads: shares of capacity to run at, 0 for the scenario's own rate.
        jobs: runs side by side; 0: as many as there are processors.
        progress: told each case that is done.
    """
    policies = [Policy.parse(text) for text in scenario.strategies]
    cases = [
        (policy, Case(policy.label, workers, view, load))
        for policy, workers, view, load in product(policies, scenario.workers, scenario.views, loads)
        if workers > 1 or view == scenario.views[0]
    ]
    with ThreadPoolExecutor(jobs or len(os.sched_getaffinity(0))) as threads:
        running = [(case, [threads.submit(_run, scenario, policy, case, seed) for seed in seeds]) for policy, case in cases]
        results = []
        for case, futures in running:
            results.append(_result(scenario, case, [future.result() for future in futures]))
            progress(case.label)
    return Study(name, scenario, list(seeds), results)


def _run(scenario: Scenario, policy: Policy, case: Case, seed: int) -> Outcome:
    if case.load:
        scenario = replace(scenario, arrivals=replace(scenario.arrivals, rate_per_s=0.0, load=case.load))
    return run(compiled(scenario, policy, seed=seed, workers=case.workers, shared=case.view == "shared"))


def _result(scenario: Scenario, case: Case, outcomes: list[Outcome]) -> Result:
    limits = [endpoint.limits.tokens_per_min for endpoint in scenario.endpoints for _ in range(endpoint.count)]
    rows = [figures(outcome, limits) for outcome in outcomes]
    first_token = Histogram.joined(outcome.first_token for outcome in outcomes)
    return Result(case, mean(rows), [row.p99_s for row in rows], first_token, outcomes[0])
