"""The result of a run, for people and for programs."""

from __future__ import annotations

import datetime as dt
import platform
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from dispatch.bench.histogram import Histogram
from dispatch.bench.options import DOORS, Options

if TYPE_CHECKING:
    from dispatch.bench.load import Load
    from dispatch.bench.record import Record, Second

__all__ = ["Moment", "Report", "Spread", "make_report", "text_of"]

_LAG_P99_S: Final = 0.001
_CPU_SHARE: Final = 0.9
"""Beyond these the generator measures itself: the run is invalid."""
_POINTS: Final = 400
"""Of a distribution in the report; enough for a plot."""


class Spread(Struct, frozen=True, kw_only=True):
    """A distribution of durations, in seconds."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    points: list[tuple[float, float]]
    """Of the cumulative distribution: duration, share of all that do not exceed it."""


class Moment(Struct, frozen=True, kw_only=True):
    """One second of the run."""

    second: int
    sent: int
    whole: int
    errors: dict[str, int]
    tokens: int
    p50: float
    p99: float


class Report(Struct, frozen=True, kw_only=True):
    """Everything that a run has found."""

    at: str
    python: str
    url: str
    door: str
    model: str
    stream: bool
    load: str
    wall_s: float
    sent: int
    sent_per_s: float
    """While requests were released."""
    whole: int
    failed: int
    errors: dict[str, int]
    requests_per_s: float
    """Whole answers per second, the wait for the last ones included."""
    tokens_per_s: float
    latency: Spread
    """Of whole answers, from the intended send time."""
    first_token: Spread
    """Of streams, from the intended send time."""
    gap: Spread
    lag: Spread
    """Of the generator: how late it got to its requests."""
    cpu_share: float
    problems: list[str]
    """Why the run is invalid; empty for a valid one."""
    moments: list[Moment]

    @property
    def is_valid(self) -> bool:
        """Tell whether the generator kept up."""
        return not self.problems


def _spread(histogram: Histogram) -> Spread:
    buckets = list(histogram.buckets())
    step = max(1, len(buckets) // _POINTS)
    points, seen = [], 0
    for index, (upper_s, count) in enumerate(buckets):
        seen += count
        if index % step == 0 or index == len(buckets) - 1:
            points.append((min(upper_s, histogram.max_s), seen / histogram.count))
    return Spread(
        count=histogram.count,
        mean=histogram.mean_s,
        p50=histogram.quantile(0.5),
        p90=histogram.quantile(0.9),
        p99=histogram.quantile(0.99),
        p999=histogram.quantile(0.999),
        max=histogram.max_s,
        points=points,
    )


def _moment(index: int, second: Second) -> Moment:
    ordered = sorted(second.latencies_s)
    count = len(ordered)
    return Moment(
        second=index,
        sent=second.sent,
        whole=count,
        errors=second.errors,
        tokens=second.tokens,
        p50=ordered[count // 2] if count else 0.0,
        p99=ordered[min(count - 1, count * 99 // 100)] if count else 0.0,
    )


def _problems(record: Record, cpu_share: float, *, is_open_loop: bool) -> list[str]:
    problems = []
    lag_s = record.lag.quantile(0.99)
    if is_open_loop and lag_s > _LAG_P99_S:
        problems.append(f"the generator was late: send lag p99 {lag_s * 1000:.2f} ms > {_LAG_P99_S * 1000:g} ms")
    if cpu_share > _CPU_SHARE:
        problems.append(f"the generator was busy: {cpu_share:.0%} CPU > {_CPU_SHARE:.0%}")
    if not record.sent:
        problems.append("no request was measured")
    return problems


def make_report(options: Options, load: Load, record: Record) -> Report:
    """Sum up a run."""
    target = options.target
    place = f"unix:{target.unix}" if target.unix else f"{'https' if target.tls else 'http'}://{target.host_header}"
    if options.rate is not None:
        kind = f"open loop, {options.rate:g}/s {options.arrivals}"
        kind += f", at most {options.concurrency} connections" if options.concurrency else ""
    else:
        kind = f"closed loop, {options.concurrency or 1} in flight"
    return Report(
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        url=f"{place}{target.path}{DOORS[options.door]}",
        door=options.door,
        model=options.model,
        stream=options.stream,
        load=kind,
        wall_s=load.wall_s,
        sent=record.sent,
        sent_per_s=record.sent / load.release_s,
        whole=record.whole,
        failed=record.failed,
        errors=dict(sorted(record.errors.items(), key=lambda item: -item[1])),
        requests_per_s=record.whole / load.wall_s,
        tokens_per_s=record.tokens_out / load.wall_s,
        latency=_spread(record.latency),
        first_token=_spread(record.first_token),
        gap=_spread(record.gap),
        lag=_spread(record.lag if options.rate is not None else Histogram()),  # a closed loop has no schedule to be late for
        cpu_share=load.cpu_share,
        problems=_problems(record, load.cpu_share, is_open_loop=options.rate is not None),
        moments=[_moment(index, second) for index, second in enumerate(record.seconds)],
    )


def duration(seconds: float) -> str:
    """Write a duration with three digits that count: `1.23 ms`."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def text_of(report: Report) -> str:
    """Write the report for a terminal."""
    lines = [
        f"{report.url}  {report.model}{', streamed' if report.stream else ''}",
        f"{report.load}; {report.wall_s:.1f} s measured",
        "",
        f"sent           {report.sent:>10,}   {report.sent_per_s:,.1f}/s",
        f"whole answers  {report.whole:>10,}   {report.requests_per_s:,.1f}/s",
        f"failed         {report.failed:>10,}   {report.failed / max(1, report.sent):.2%}",
    ]
    lines += [f"  {kind:<12} {count:>10,}" for kind, count in report.errors.items()]
    if report.tokens_per_s:
        lines.append(f"output tokens  {report.tokens_per_s * report.wall_s:>10,.0f}   {report.tokens_per_s:,.0f}/s")
    lines += ["", f"{'':<13} {'mean':>9} {'p50':>9} {'p90':>9} {'p99':>9} {'p99.9':>9} {'max':>9}"]
    rows = (("latency", report.latency), ("first token", report.first_token), ("token gap", report.gap), ("send lag", report.lag))
    for name, spread in rows:
        if spread.count:
            numbers = (spread.mean, spread.p50, spread.p90, spread.p99, spread.p999, spread.max)
            lines.append(f"{name:<13} " + " ".join(f"{duration(number):>9}" for number in numbers))
    lines += ["", f"generator CPU  {report.cpu_share:.0%}"]
    lines += [f"INVALID RUN: {problem}" for problem in report.problems]
    return "\n".join(lines)
