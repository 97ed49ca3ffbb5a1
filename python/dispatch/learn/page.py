"""The evaluation as one HTML page: curves and the table behind them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dispatch.learn.measures import hull
from dispatch.plot import COLOURS, Series, linear, page, plot

if TYPE_CHECKING:
    from dispatch.learn.compare import Row, Study

__all__ = ["page_of"]

_POINTS = 200
"""Of a curve: more cannot be seen."""


def page_of(study: Study, rows: list[Row], source: str) -> str:
    """Write the page."""
    body = (
        f"<h1>{escape(study.weak)} or {escape(study.strong)}</h1><p>{escape(source)}: {len(study.table.prompts):,} prompts; "
        f"{escape(study.weak)} {study.mean(study.weak):.4f}, {escape(study.strong)} {study.mean(study.strong):.4f}</p>"
        f'<div class="plots">{_gap(rows)}{_quality(study, rows)}</div>{_table(rows)}'
        "<p>Values with 95 % bootstrap intervals. PGR: part of the gap between the two models that is closed; APGR: the area under it; "
        "CPT: share of strong calls that closes half, or four fifths, of the gap; AIQ: area under the hull of quality over cost.</p>"
    )
    return page("dispatch evaluate", body)


def _gap(rows: list[Row]) -> str:
    lines = []
    for row, colour in zip((row for row in rows if row.shares), COLOURS, strict=False):
        step = max(1, len(row.shares) // _POINTS)
        last = len(row.shares) - 1
        points = [(at / last * 100, row.shares[at]) for at in [*range(0, last, step), last]]
        lines.append(Series(row.name, points, colour))
    most = max(max(point[1] for point in line.points) for line in lines)
    return plot("Gap closed by share of strong calls", linear("strong calls, %", 100), linear("PGR", most), lines)


def _quality(study: Study, rows: list[Row]) -> str:
    lines = [Series(row.name, hull(row.points), colour) for row, colour in zip((row for row in rows if row.shares), COLOURS, strict=False)]
    low = min(min(point[1] for point in line.points) for line in lines)
    high = max(max(point[1] for point in line.points) for line in lines)
    return plot("Quality by cost", linear("cost of a call", max(study.costs)), linear("score", high, least=low), lines)


def _table(rows: list[Row]) -> str:
    head = "<tr><th></th><th>APGR</th><th>CPT50</th><th>CPT80</th><th>AIQ</th></tr>"
    cells = [
        f"<tr><td>{escape(row.name)}</td><td>{row.apgr}</td><td>{row.cpt50}</td><td>{row.cpt80}</td><td>{row.aiq}</td></tr>" for row in rows
    ]
    return f"<table>{head}{''.join(cells)}</table>"
