"""Studies as one HTML file: tables and plots, no script, no request to anywhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dispatch.plot import COLOURS, Series, linear, logarithmic, nines, page, plot
from dispatch.simulate.tables import header, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dispatch.plot import Axis
    from dispatch.simulate.outcome import Second
    from dispatch.simulate.study import Result, Study

__all__ = ["page_of"]

_SHARES_MOST = 64
"""Endpoints of a pool whose shares are recorded."""
_SHOWN = 120
"""Seconds whose ups and downs can be told apart in a figure of several lines."""


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
    curves = _coloured(study, lambda result: _below(result.first_token.points(), 0.9999))
    values = [x for curve in curves for x, _ in curve.points]
    if not values:
        return ""
    across = logarithmic("time to first token (log scale)", min(values), max(values), _duration)
    return plot("Time to first token: share of requests within", across, nines("share"), curves)


def _below(points: list[tuple[float, float]], top: float) -> list[tuple[float, float]]:
    """Leave out what would run along the top of the figure."""
    end = next((at for at, (_, share) in enumerate(points) if share >= top), len(points))
    return points[: end + 1]


def _over_time(study: Study) -> list[str]:
    across = _time(study)
    slow = _coloured(study, lambda result: _smoothed(result.sample.seconds, lambda second: (second.p99_s * second.arrived, second.arrived)))
    good = _coloured(study, lambda result: _smoothed(result.sample.seconds, lambda second: (100.0 * second.good, second.arrived)))
    bands = _bands(study)
    values = [y for curve in slow for _, y in curve.points if y > 0]
    if not values:
        return []
    up = logarithmic("p99 (log scale)", min(values), max(values), _duration)
    # Where nearly all are good, the few that are not are what there is to see.
    least = min(y for curve in good for _, y in curve.points)
    share = linear("of requests", 100, "{:g} %".format, least=10 * (least // 10) if least < 100 else 90)
    return [
        plot("p99 of the time to first token, by arrival", across, up, slow, bands),
        plot("Good answers (first token within 1 s, then 50 ms each), by arrival", across, share, good, bands),
    ]


def _time(study: Study) -> Axis:
    return linear("seconds" + ", shaded while something is wrong" * bool(study.scenario.faults), study.scenario.seconds)


def _bands(study: Study) -> list[tuple[float, float]]:
    """Give the times at which something is wrong."""
    faults = study.scenario.faults
    spans = ((fault.from_s + step * fault.every_s, fault.to_s + step * fault.every_s) for fault in faults for step in range(fault.count))
    return [(begin, min(end, study.scenario.seconds)) for begin, end in spans]


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
    across = _time(study)
    return plot(f"Attempts at endpoint {at}, of its fair share", across, linear("times", most, "{:g}".format), curves, _bands(study))


def _smoothed(seconds: Sequence[Second], of: Callable[[Second], tuple[float, float]]) -> list[tuple[float, float]]:
    """Average over the seconds around each one: three, and more where the figure is longer than it has room for."""
    points = []
    span = 2 * (len(seconds) // _SHOWN) + 3
    for at in range(len(seconds)):
        near = [of(second) for second in seconds[max(0, at - span // 2) : at + span // 2 + 1]]
        whole = sum(weight for _, weight in near)
        if whole and seconds[at].arrived:
            points.append((at + 0.5, sum(value for value, _ in near) / whole))
    return points


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
