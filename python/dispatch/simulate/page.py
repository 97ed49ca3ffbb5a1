"""Studies as one HTML file: tables and plots, no script, no request to anywhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dispatch.plot import COLOURS, Series, linear, logarithmic, nines, page, plot
from dispatch.simulate.tables import header, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dispatch.simulate.outcome import Second
    from dispatch.simulate.study import Result, Study

__all__ = ["page_of"]

_SHARES_MOST = 64
"""Endpoints of a pool whose shares are recorded."""


def page_of(studies: Sequence[Study]) -> str:
    """Write the page."""
    title = studies[0].scenario.title if len(studies) == 1 else f"{len(studies)} scenarios"
    return page(f"dispatch simulate: {title}", "".join(_section(study) for study in studies))


def _section(study: Study) -> str:
    scenario = study.scenario
    about = f"<p>{escape(scenario.about)}</p>" if scenario.about else ""
    head = f"<h1>{escape(study.name)}: {escape(scenario.title)}</h1>{about}<p>{escape(header(study))}</p>"
    figures = [_within(study), *_over_time(study), _faulted(study)]
    return f'{head}{_table(study)}<div class="plots">{"".join(figure for figure in figures if figure)}</div>'


def _table(study: Study) -> str:
    titles, cells = rows(study)
    best = min(result.figures.p99_s for result in study.results)
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(
        f"<tr{' class=best' if result.figures.p99_s == best else ''}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row, result in zip(cells, study.results, strict=True)
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _coloured(study: Study, points: Callable[[Result], list[tuple[float, float]]]) -> list[Series]:
    """Draw a line for each case, of the same colour in all figures that compare the same cases."""
    results = [result for result in study.results if result.first_token.count]
    return [Series(result.case.label, points(result), COLOURS[at % len(COLOURS)]) for at, result in enumerate(results)]


def _within(study: Study) -> str:
    curves = _coloured(study, lambda result: result.first_token.points())
    values = [x for curve in curves for x, _ in curve.points]
    if not values:
        return ""
    across = logarithmic("time to first token (log scale)", min(values), max(values), _duration)
    return plot("Time to first token: share of requests within", across, nines("share"), curves)


def _over_time(study: Study) -> list[str]:
    across = linear("seconds", study.scenario.seconds)
    slow = _coloured(study, lambda result: _smoothed(result.sample.seconds, lambda second: (second.p99_s * second.arrived, second.arrived)))
    good = _coloured(study, lambda result: _smoothed(result.sample.seconds, lambda second: (100.0 * second.good, second.arrived)))
    values = [y for curve in slow for _, y in curve.points if y > 0]
    if not values:
        return []
    up = logarithmic("p99 (log scale)", min(values), max(values), _duration)
    return [
        plot("p99 of the time to first token, by arrival", across, up, slow),
        plot(
            "Good answers (first token within 1 s, then 50 ms each), by arrival", across, linear("of requests", 100, "{:g} %".format), good
        ),
    ]


def _faulted(study: Study) -> str:
    """Draw what share of the attempts the first endpoint with a fault gets, as a multiple of the fair one."""
    endpoints = sum(endpoint.count for endpoint in study.scenario.endpoints)
    if not study.scenario.faults or endpoints > _SHARES_MOST:
        return ""
    at = study.scenario.faults[0].endpoint
    curves = _coloured(
        study, lambda result: _smoothed(result.sample.seconds, lambda second: (second.sent[at] * endpoints, sum(second.sent)))
    )
    most = max((y for curve in curves for _, y in curve.points), default=1.0)
    across = linear("seconds", study.scenario.seconds)
    return plot(f"Attempts at endpoint {at}, of its fair share", across, linear("times", most, "{:g}".format), curves)


def _smoothed(seconds: Sequence[Second], of: Callable[[Second], tuple[float, float]], span: int = 3) -> list[tuple[float, float]]:
    """Average over the seconds around each one."""
    points = []
    for at in range(len(seconds)):
        near = [of(second) for second in seconds[max(0, at - span // 2) : at + span // 2 + 1]]
        whole = sum(weight for _, weight in near)
        if whole and seconds[at].arrived:
            points.append((at + 0.5, sum(value for value, _ in near) / whole))
    return points


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
