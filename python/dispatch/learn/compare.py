"""The router and its baselines, measured on the same prompts and the same resamples."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.learn.measures import SWEEP, Curve, Point, aiq, apgr, cpt, curve, interval, shares
from dispatch.learn.nearest import Nearest
from dispatch.routing import priced_points, resampled_gaps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dispatch.learn.table import Table
    from dispatch.routing import LearnedRouter

__all__ = ["Row", "Study", "Value"]

_SEED = 20_240_626


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
        expected = self._expected(router)
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

    def unknown(self, router: LearnedRouter) -> list[str]:
        """Models that the router never saw."""
        return [name for name in self.table.models if name not in router.models]

    def _expected(self, router: LearnedRouter) -> list[list[float]]:
        """What the router expects of each model.

        Of a pair that it does not know both of, it still knows how hard a prompt is: the strong model is expected to be right, the others
        as often as those that it knows are in the mean. So a strong call gains the more, the harder the prompt.
        """
        places = [router.models.index(name) if name in router.models else -1 for name in self.table.models]
        by_hardness = bool({self.weak, self.strong} & {*self.unknown(router)})
        rows = []
        for scores in map(router.scores, self.table.prompts):
            mean = sum(scores) / len(scores)
            row = [scores[at] if at >= 0 and not by_hardness else mean for at in places]
            if by_hardness:
                row[self._dear] = 1.0
            rows.append(row)
        return rows

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
            Value(measure(found), *interval(sample)) for measure, sample in zip(_MEASURES, self._resample(found), strict=True)
        )
        points, quality = self._quality(expected)
        return Row(name, area, half, most, quality, shares(found), points)

    def _resample(self, found: Curve) -> list[list[float]]:
        """APGR, CPT50 and CPT80 of each resample, in a list for each of the three."""
        gaps = resampled_gaps(found.weak, found.strong, self._resamples, _SEED)
        return [[gap[at] for gap in gaps] for at in range(len(_MEASURES))]

    def _quality(self, expected: Sequence[Sequence[float]]) -> tuple[list[Point], Value]:
        """Cost and quality at each price of the sweep, and the area under them."""
        low, high = min(self.costs), max(self.costs)
        whole, *drawn = priced_points(expected, self.table.scores, self.costs, SWEEP, self._resamples, _SEED)
        return whole, Value(aiq(whole, low, high), *interval([aiq(points, low, high) for points in drawn]))
