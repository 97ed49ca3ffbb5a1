"""What a way to choose between models is worth.

- **PGR**: the part of the gap between the weak and the strong model that a router closes, (quality - weak) / (strong - weak).
- **APGR**: the area under PGR over the share of calls to the strong model; 0.5 for calls drawn at random.
- **CPT(x)**: the smallest share of strong calls that reaches a PGR of x (RouteLLM, arXiv 2406.18665).
- **AIQ**: the area under the convex hull, never falling, of quality over cost, from the cheapest to the dearest model, divided by that
  width (RouterBench, arXiv 2403.12031).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SWEEP", "Curve", "Point", "aiq", "apgr", "cpt", "curve", "hull", "interval"]

Point = tuple[float, float]

SWEEP = [0.0, *(10.0 ** (-4 + 6 * step / 60) for step in range(61)), math.inf]
"""Prices of one unit of cost in quality, from "quality alone" to "cost alone": relative to the dearest model."""


class Curve(Struct, frozen=True):
    """Quality as the share of strong calls grows, prompt by prompt."""

    weak: list[float]
    """Score of the weak model, prompts in the order in which they would go to the strong one."""
    strong: list[float]


def curve(gains: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> Curve:
    """Sort prompts by the gain that a router expects; ties keep the table's order."""
    order = sorted(range(len(gains)), key=lambda at: -gains[at])
    return Curve([weak[at] for at in order], [strong[at] for at in order])


def shares(found: Curve) -> list[float]:
    """PGR after 0, 1, 2, ... strong calls; nan where both models are equally good."""
    gap = sum(found.strong) - sum(found.weak)
    gained, values = 0.0, [0.0]
    for weak, strong in zip(found.weak, found.strong, strict=True):
        gained += strong - weak
        values.append(gained / gap if gap else math.nan)
    return values


def apgr(found: Curve) -> float:
    """Area under PGR, by trapezes."""
    values = shares(found)
    return (sum(values) - (values[0] + values[-1]) / 2) / (len(values) - 1)


def cpt(found: Curve, reach: float) -> float:
    """Smallest share of strong calls with a PGR of `reach`; nan if none has it."""
    values = shares(found)
    return next((at / (len(values) - 1) for at, value in enumerate(values) if value >= reach), math.nan)


def hull(points: Sequence[Point]) -> list[Point]:
    """The points that no mixture of others beats, from the cheapest to the best."""
    kept: list[Point] = []
    for point in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if kept and point[1] <= kept[-1][1]:
            continue
        while len(kept) > 1 and _rises(kept[-2], kept[-1]) <= _rises(kept[-2], point):
            kept.pop()
        kept.append(point)
    return kept


def aiq(points: Sequence[Point], low: float, high: float) -> float:
    """Area under the hull from cost `low` to `high`, divided by the width."""
    line = hull(points)
    if high <= low:
        return line[-1][1]
    area, cost, quality = 0.0, low, line[0][1]
    for next_cost, next_quality in line:
        if next_cost > low:
            area += (min(next_cost, high) - cost) * (quality + next_quality) / 2
            cost = min(next_cost, high)
        quality = next_quality
    return (area + max(0.0, high - cost) * quality) / (high - low)


def interval(values: list[float]) -> tuple[float, float]:
    """The middle 95 % of resampled values; nan where there are none."""
    kept = sorted(value for value in values if not math.isnan(value))
    if not kept:
        return math.nan, math.nan
    return kept[int(0.025 * (len(kept) - 1))], kept[math.ceil(0.975 * (len(kept) - 1))]


def _rises(one: Point, other: Point) -> float:
    return (other[1] - one[1]) / (other[0] - one[0]) if other[0] > one[0] else math.inf
