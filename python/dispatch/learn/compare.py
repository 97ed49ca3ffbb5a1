"""The router and its baselines, measured on the same prompts and the same resamples."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.learn.measures import Curve, Point, aiq, apgr, choices, cpt, curve, interval, shares
from dispatch.learn.nearest import Nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dispatch.learn.table import Table
    from dispatch.routing import LearnedRouter

__all__ = ["Row", "Study", "Value"]

_SEED = 20_240_626
_AIQ_RESAMPLES = 60
"""A resample of AIQ sums up every price of the sweep: fewer of them do."""


def _half(found: Curve) -> float:
    return cpt(found, 0.5)


def _most(found: Curve) -> float:
    return cpt(found, 0.8)


_MEASURES: tuple[Callable[[Curve], float], ...] = (apgr, _half, _most)


class Value(Struct, frozen=True):
    """A number and its 95 % interval."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        return f"{self.value:.3f}" if math.isnan(self.low) else f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


class Row(Struct, frozen=True):
    """One way to choose."""

    name: str
    apgr: Value
    cpt50: Value
    cpt80: Value
    aiq: Value
    shares: list[float]
    """PGR by number of strong calls."""
    points: list[Point]
    """Cost and quality at each price."""


class Study:
    """Prompts, costs, and the pair of models that APGR and CPT are about.

    Args:
        table: prompts with the scores of the models that have costs, in the order of `costs`.
        costs: of a call, by model.
        pair: the weak and the strong model.
        resamples: of the bootstrap.
    """

    def __init__(self, table: Table, costs: dict[str, float], pair: tuple[str, str], resamples: int) -> None:
        self.table = table
        self.weak, self.strong = pair
        self.costs = [costs[name] for name in table.models]
        self._weak = [row[table.models.index(self.weak)] for row in table.scores]
        self._strong = [row[table.models.index(self.strong)] for row in table.scores]
        self._resamples = resamples

    def mean(self, model: str) -> float:
        """Mean score of a model."""
        at = self.table.models.index(model)
        return sum(row[at] for row in self.table.scores) / len(self.table.scores)

    def rows(self, router: LearnedRouter, trained: Table | None) -> list[Row]:
        """Measure the router, which comes first, and the baselines."""
        prompts = self.table.prompts
        places = [router.models.index(name) if name in router.models else -1 for name in self.table.models]
        expected = [[scores[at] if at >= 0 else 0.0 for at in places] for scores in map(router.scores, prompts)]
        chance = Random(_SEED)
        coins = [chance.random() for _ in prompts]
        always = self._means(self.table)
        return [
            self._row("router", expected),
            self._row("random", [[mean + 10.0 * coin * (at == self._dear) for at, mean in enumerate(always)] for coin in coins]),
            self._row("prompt length", [self._by_gain(len(prompt)) for prompt in prompts]),
            self._flat("always weak", self.weak),
            self._flat("always strong", self.strong),
            self._row("profile, no prompt", self._learned(self._profile, trained)),
            self._row("nearest prompts", self._learned(lambda table: Nearest(table).scores, trained)),
            self._row("oracle", self.table.scores),
        ]

    @property
    def _dear(self) -> int:
        return self.table.models.index(self.strong)

    def _by_gain(self, gain: float) -> list[float]:
        return [gain * (at == self._dear) for at in range(len(self.costs))]

    def _means(self, table: Table) -> list[float]:
        return [sum(row[at] for row in table.scores) / len(table.scores) for at in range(len(table.models))]

    def _profile(self, table: Table) -> Callable[[str], list[float]]:
        means = self._means(table)
        return lambda _prompt: means

    def _learned(self, fit: Callable[[Table], Callable[[str], list[float]]], trained: Table | None) -> list[list[float]]:
        """What a baseline expects that learns from the training table, or else, for each half of the prompts, from the other half."""
        prompts = self.table.prompts
        if trained is not None:
            scores = fit(trained)
            return [scores(prompt) for prompt in prompts]
        odd = fit(self.table.rows([*range(1, len(prompts), 2)]))
        even = fit(self.table.rows([*range(0, len(prompts), 2)]))
        return [even(prompt) if at % 2 else odd(prompt) for at, prompt in enumerate(prompts)]

    def _flat(self, name: str, model: str) -> Row:
        """A way that never looks: one point, no curve."""
        at, none = self.table.models.index(model), Value(math.nan)
        return Row(name, none, none, none, Value(self.mean(model)), [], [(self.costs[at], self.mean(model))])

    def _row(self, name: str, expected: Sequence[Sequence[float]]) -> Row:
        weak, dear = self.table.models.index(self.weak), self._dear
        gains = [row[dear] - row[weak] for row in expected]
        found = curve(gains, self._weak, self._strong)
        area, half, most = (
            Value(measure(found), *interval(sample)) for measure, sample in zip(_MEASURES, self._resample(gains), strict=True)
        )
        points, quality = self._quality(expected)
        return Row(name, area, half, most, quality, shares(found), points)

    def _resample(self, gains: Sequence[float]) -> list[list[float]]:
        chance = Random(_SEED)
        values: list[list[float]] = [[] for _ in _MEASURES]
        for _ in range(self._resamples):
            drawn = chance.choices(range(len(gains)), k=len(gains))
            one = curve([gains[at] for at in drawn], [self._weak[at] for at in drawn], [self._strong[at] for at in drawn])
            for sample, measure in zip(values, _MEASURES, strict=True):
                sample.append(measure(one))
        return values

    def _quality(self, expected: Sequence[Sequence[float]]) -> tuple[list[Point], Value]:
        """Cost and quality at each price of the sweep, and the area under them."""
        low, high = min(self.costs), max(self.costs)
        picked = choices(expected, self.costs)
        scores = [[row[at] for row, at in zip(self.table.scores, made, strict=True)] for made in picked]
        costs = [[self.costs[at] for at in made] for made in picked]

        def points(drawn: Sequence[int]) -> list[Point]:
            return [
                (sum(cost[at] for at in drawn) / len(drawn), sum(score[at] for at in drawn) / len(drawn))
                for cost, score in zip(costs, scores, strict=True)
            ]

        chance, every = Random(_SEED), range(len(self.table.prompts))
        samples = [aiq(points(chance.choices(every, k=len(every))), low, high) for _ in range(min(_AIQ_RESAMPLES, self._resamples))]
        whole = points(every)
        return whole, Value(aiq(whole, low, high), *interval(samples))
