"""Pages of plots in one HTML file: no script, no font, no request to anywhere.

Scales, axes, lines and bars are inline SVG; their colours are classes of the style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from msgspec import Struct

__all__ = ["COLOURS", "Axis", "Series", "linear", "logarithmic", "nines", "page", "plot"]

COLOURS: Final = ("a", "c", "b", "d", "f", "e", "g")
"""Of lines that mean nothing bad, in the order in which they are told apart best."""

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2330;--dim:#667085;--line:#e4e7ec;--ground:#fff;--card:#f8f9fb;
--a:#2563eb;--b:#0d9488;--c:#d97706;--d:#9333ea;--e:#65758b;--f:#65a30d;--g:#db2777;--bad:#dc2626}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#98a2b3;--line:#2b3240;--ground:#12151c;--card:#1a1f2a;
--a:#60a5fa;--b:#2dd4bf;--c:#fbbf24;--d:#c084fc;--e:#94a3b8;--f:#a3e635;--g:#f472b6;--bad:#f87171}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1360px;padding:28px;background:var(--ground);color:var(--ink);
font:14px/1.5 system-ui,sans-serif}h1{font-size:20px;margin:0}p{margin:2px 0;color:var(--dim);overflow-wrap:anywhere}
.banner{margin:16px 0;padding:10px 14px;border-radius:8px;border:1px solid var(--bad);color:var(--bad);font-weight:600}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:12px;margin:20px 0}
.tiles div,figure,table{background:var(--card);border:1px solid var(--line);border-radius:10px}.tiles div{padding:10px 14px}
.tiles b{display:block;font-size:20px;font-variant-numeric:tabular-nums}.tiles span{color:var(--dim);font-size:12px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(480px,1fr));gap:16px;margin:16px 0}
figure{margin:0;padding:12px 14px}figcaption{font-weight:600;margin-bottom:4px}svg{width:100%;height:auto;display:block}
svg text{font:11px system-ui,sans-serif;fill:var(--dim)}svg .grid{stroke:var(--line);fill:none}svg .band{fill:var(--bad);opacity:.08}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round}.line.a{stroke:var(--a)}.line.b{stroke:var(--b)}.line.c{stroke:var(--c)}
.line.d{stroke:var(--d)}.line.e{stroke:var(--e)}.line.f{stroke:var(--f)}
.line.g{stroke:var(--g)}.line.bad{stroke:var(--bad)}.bar.a{fill:var(--a)}.bar.b{fill:var(--b)}.bar.c{fill:var(--c)}.bar.bad{fill:var(--bad)}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;color:var(--dim);font-size:12px}.legend i{display:inline-block;width:10px;height:10px;
border-radius:2px;margin-right:5px}i.a{background:var(--a)}i.b{background:var(--b)}i.c{background:var(--c)}i.d{background:var(--d)}
i.e{background:var(--e)}i.f{background:var(--f)}i.g{background:var(--g)}i.bad{background:var(--bad)}
table{border-collapse:separate;border-spacing:0;margin-top:12px;width:100%;font-variant-numeric:tabular-nums;overflow:hidden}
td,th{padding:6px 14px;text-align:right;border-top:1px solid var(--line)}th{color:var(--dim);font-weight:500;border-top:0}
td:first-child,th:first-child{text-align:left}.best td{font-weight:600}
@media(max-width:560px){.plots{grid-template-columns:1fr}}
"""

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


def page(title: str, body: str) -> str:
    """Wrap a body into a whole document."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )


def plot(title: str, across: Axis, up: Axis, series: Sequence[Series], bands: Sequence[tuple[float, float]] = ()) -> str:
    """Draw a figure; `bands` are spans of `across` that stand out."""
    parts = [
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        *(_band(across.place(begin), across.place(end)) for begin, end in bands),
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


def _band(begin: float, end: float) -> str:
    return f'<path class="band" d="M{_x(begin)} {_y(0)}V{_TOP}H{_x(end)}V{_y(0)}Z"/>'


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
