"""The report as one HTML file: no script, no font, no request to anywhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from dispatch.bench.report import duration
from dispatch.plot import Series, linear, logarithmic, nines, page, plot

if TYPE_CHECKING:
    from dispatch.bench.report import Report, Spread

__all__ = ["page_of"]


def page_of(report: Report) -> str:
    """Write the page."""
    banner = "".join(f'<div class="banner">Invalid run: {escape(problem)}</div>' for problem in report.problems)
    body = (
        f"<h1>{escape(report.url)}</h1><p>{escape(report.model)}{', streamed' if report.stream else ''}; {escape(report.load)}; "
        f"{report.wall_s:.1f} s; {escape(report.at)}; {escape(report.python)}</p>{banner}{_tiles(report)}"
        f'<div class="plots">{"".join(_figures(report))}</div>{_quantiles(report)}{_errors(report)}'
        "<p>Latencies count from the intended send time, so a stalled server delays every request that was due meanwhile.</p>"
    )
    return page(f"dispatch bench: {report.url}", body)


def _tiles(report: Report) -> str:
    tiles = [
        (f"{report.sent_per_s:,.1f}/s", "sent"),
        (f"{report.requests_per_s:,.1f}/s", "whole answers"),
        (f"{report.failed / max(1, report.sent):.2%}", f"failed of {report.sent:,}"),
        (duration(report.latency.p50), "latency p50"),
        (duration(report.latency.p99), "latency p99"),
    ]
    if report.first_token.count:
        tiles += [(duration(report.first_token.p50), "first token p50"), (duration(report.first_token.p99), "first token p99")]
    if report.tokens_per_s:
        tiles.append((f"{report.tokens_per_s:,.0f}/s", "output tokens"))
    tiles += [(duration(report.lag.p99), "send lag p99"), (f"{report.cpu_share:.0%}", "generator CPU")]
    return (
        '<div class="tiles">' + "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in tiles) + "</div>"
    )


def _figures(report: Report) -> list[str]:
    figures = []
    curves = [Series("latency", report.latency.points, "a")]
    if report.first_token.count:
        curves.append(Series("first token", report.first_token.points, "b"))
    figures.append(_cumulative("Latency", curves))
    figures.append(_throughput(report))
    figures.append(_over_time(report))
    if report.first_token.count:
        figures.append(_density("Time to first token", report.first_token))
    if report.gap.count:
        figures.append(_cumulative("Gap between output events", [Series("gap", report.gap.points, "c")]))
    if report.errors:
        figures.append(_errors_over_time(report))
    return [figure for figure in figures if figure]


def _cumulative(title: str, curves: list[Series]) -> str:
    values = [x for curve in curves for x, _ in curve.points if x > 0]
    if not values:
        return ""
    across = logarithmic("duration (log scale)", min(values), max(values), duration)
    return plot(f"{title}: share of requests within" if title == "Latency" else f"{title}: share within", across, nines("share"), curves)


def _throughput(report: Report) -> str:
    moments = report.moments
    if not moments:
        return ""
    whole = [(float(moment.second), float(moment.whole)) for moment in moments]
    failed = [(float(moment.second), float(sum(moment.errors.values()))) for moment in moments]
    most = max(good + bad for (_, good), (_, bad) in zip(whole, failed, strict=True))
    sent = [(moment.second + 0.5, float(moment.sent)) for moment in moments]
    up = linear("per second", max(most, *(moment.sent for moment in moments)), "{:,.6g}".format)
    series = [
        Series("whole answers", whole, "a", "bar"),
        Series("failed", failed, "bad", "bar", [y for _, y in whole]),
        Series("sent", sent, "c"),
    ]
    return plot("Throughput and errors over time", linear("seconds", len(moments)), up, series)


def _over_time(report: Report) -> str:
    moments = [moment for moment in report.moments if moment.whole]
    if not moments:
        return ""
    across = linear("seconds", len(report.moments))
    up = logarithmic("latency (log scale)", min(moment.p50 for moment in moments), max(moment.p99 for moment in moments), duration)
    series = [
        Series("p50", [(moment.second + 0.5, moment.p50) for moment in moments], "a"),
        Series("p99", [(moment.second + 0.5, moment.p99) for moment in moments], "bad"),
    ]
    return plot("Latency over time", across, up, series)


_KINDS: Final = ("bad", "c", "b", "a")
"""Colours of the commonest kinds of errors; the last is for all others."""


def _errors_over_time(report: Report) -> str:
    named = list(report.errors)[: len(_KINDS) - 1]
    rows = [(kind, [float(moment.errors.get(kind, 0)) for moment in report.moments]) for kind in named]
    if len(report.errors) > len(named):
        rest = [float(sum(count for kind, count in moment.errors.items() if kind not in named)) for moment in report.moments]
        rows.append(("others", rest))
    base, series = [0.0] * len(report.moments), []
    for (name, counts), colour in zip(rows, _KINDS, strict=False):
        series.append(Series(name, [(float(index), count) for index, count in enumerate(counts)], colour, "bar", base))
        base = [low + count for low, count in zip(base, counts, strict=True)]
    return plot("Errors over time", linear("seconds", len(base)), linear("per second", max(base), "{:,.6g}".format), series)


_BINS: Final = 48


def _density(title: str, spread: Spread) -> str:
    """Draw the shape of a distribution: shares in bins of equal width on a logarithmic scale."""
    points = [(x, share) for x, share in spread.points if x > 0]
    if not points:
        return ""
    across = logarithmic("duration (log scale)", points[0][0], points[-1][0], duration)
    bins, before = [0.0] * (_BINS + 1), 0.0
    for x, share in points:
        bins[min(_BINS, int(across.place(x) * _BINS))] += share - before
        before = share
    up = linear("share of requests", max(bins) * 100, "{:g} %".format)
    place = across.place
    bars = [(float(index), height * 100) for index, height in enumerate(bins)]
    scaled = type(across)(across.title, lambda index: index / _BINS, [(place(value) * _BINS, label) for value, label in across.ticks])
    return plot(f"{title}: distribution", scaled, up, [Series(title, bars, "b", "bar")])


def _quantiles(report: Report) -> str:
    rows = [("latency", report.latency), ("first token", report.first_token), ("token gap", report.gap), ("send lag", report.lag)]
    cells = "".join(
        f"<tr><td>{name}</td>"
        + "".join(f"<td>{duration(getattr(spread, field))}</td>" for field in ("mean", "p50", "p90", "p99", "p999", "max"))
        + "</tr>"
        for name, spread in rows
        if spread.count
    )
    return f"<table><tr><th></th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>{cells}</table>"


def _errors(report: Report) -> str:
    if not report.errors:
        return ""
    cells = "".join(
        f"<tr><td>{escape(kind)}</td><td>{count:,}</td><td>{count / max(1, report.sent):.2%}</td></tr>"
        for kind, count in report.errors.items()
    )
    return f"<br><table><tr><th>error</th><th>requests</th><th>of all</th></tr>{cells}</table>"
