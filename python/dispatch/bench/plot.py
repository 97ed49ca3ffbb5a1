"""Plots as inline SVG: scales, axes, lines, bars. Colours are classes of the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from msgspec import Struct

__all__ = ["Axis", "Series", "linear", "logarithmic", "nines", "plot"]

_WIDTH: Final = 640
_HEIGHT: Final = 260
_LEFT: Final = 62
_RIGHT: Final = 14
_TOP: Final = 14
_BOTTOM: Final = 40
_MOST_NINES: Final = 4.0


class Axis(Struct, frozen=True):
    """A scale from 0 to 1, with labelled ticks."""

    title: str
    place: Callable[[float], float]
    """Value to share of the axis."""
    ticks: list[tuple[float, str]]


class Series(Struct, frozen=True):
    """One named row of points; `style` is `line` or `bar`, `colour` a class of the page."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    style: str = "line"
    base: Sequence[float] = ()
    """Where bars begin, for stacked ones."""


def linear(title: str, most: float, label: Callable[[float], str] = "{:g}".format, least: float = 0.0) -> Axis:
    """Make a scale from `least` to about `most` with round ticks."""
    span = max(most - least, 1e-12)
    step = 10.0 ** math.floor(math.log10(span))
    step *= next(factor for factor in (0.1, 0.2, 0.5, 1.0, 2.0) if span / (step * factor) <= 6)
    top = least + math.ceil(span / step - 1e-9) * step
    ticks = [(least + index * step, label(least + index * step)) for index in range(round((top - least) / step) + 1)]
    return Axis(title, lambda value: (value - least) / (top - least), ticks)


def logarithmic(title: str, least: float, most: float, label: Callable[[float], str]) -> Axis:
    """Make a logarithmic scale with ticks at 1, 2, 5 of each decade, fewer over many decades."""
    low, high = math.log10(max(least, 1e-9)), math.log10(max(most, least * 1.1, 2e-9))
    low, high = math.floor(low * 3) / 3, math.ceil(high * 3) / 3
    steps = (1, 2, 5) if high - low <= 2.5 else (1,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    values = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [(value, label(value)) for value in values if low - 1e-9 <= math.log10(value) <= high + 1e-9]
    return Axis(title, lambda value: (math.log10(max(value, 1e-9)) - low) / (high - low), ticks)


def nines(title: str) -> Axis:
    """Make a scale of shares on which 90 %, 99 %, 99.9 % are equally far apart."""
    shares = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)

    def place(share: float) -> float:
        return min(-math.log10(max(1.0 - share, 1e-9)), _MOST_NINES) / _MOST_NINES

    return Axis(title, place, [(share, f"{share * 100:g} %") for share in shares])


def plot(title: str, across: Axis, up: Axis, series: Sequence[Series]) -> str:
    """Draw a figure."""
    parts = [
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_grid(across, up),
    ]
    parts += [_bars(one, across, up) if one.style == "bar" else _line(one, across, up) for one in series]
    parts.append("</svg>")
    if len(series) > 1:
        keys = "".join(f'<span><i class="{one.colour}"></i>{escape(one.name)}</span>' for one in series)
        parts.append(f'<div class="legend">{keys}</div>')
    return "".join(parts) + "</figure>"


def _x(share: float) -> float:
    return round(_LEFT + min(1.0, max(0.0, share)) * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(_HEIGHT - _BOTTOM - min(1.0, max(0.0, share)) * (_HEIGHT - _TOP - _BOTTOM), 1)


def _grid(across: Axis, up: Axis) -> list[str]:
    parts = []
    for value, label in across.ticks:
        x = _x(across.place(value))
        parts.append(
            f'<path class="grid" d="M{x} {_y(0)}V{_TOP}"/><text x="{x}" y="{_y(0) + 15}" text-anchor="middle">{escape(label)}</text>'
        )
    for value, label in up.ticks:
        y = _y(up.place(value))
        parts.append(f'<path class="grid" d="M{_LEFT} {y}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{escape(label)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(across.title)}</text>')
    parts.append(f'<text class="axis" x="{_LEFT}" y="{_TOP - 4}" text-anchor="start">{escape(up.title)}</text>')
    return parts


def _line(series: Series, across: Axis, up: Axis) -> str:
    if not series.points:
        return ""
    path = "L".join(f"{_x(across.place(x))} {_y(up.place(y))}" for x, y in series.points)
    return f'<path class="line {series.colour}" d="M{path}"/>'


def _bars(series: Series, across: Axis, up: Axis) -> str:
    parts = []
    bases = series.base or [0.0] * len(series.points)
    for (x, y), base in zip(series.points, bases, strict=True):
        left, right, top, bottom = _x(across.place(x)), _x(across.place(x + 1)), _y(up.place(base + y)), _y(up.place(base))
        if y:
            parts.append(f"M{left} {bottom}V{top}H{max(right - 0.6, left + 0.4):g}V{bottom}Z")
    return f'<path class="bar {series.colour}" d="{"".join(parts)}"/>' if parts else ""
