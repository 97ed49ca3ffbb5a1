"""Prometheus text of what the board says (https://prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4).

Whichever worker is asked, the numbers are those of all workers, because all count on one board. What there is to tell stands in `families`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.telemetry.families import METRICS
from dispatch.telemetry.mishaps import MISHAPS
from dispatch.telemetry.routes import TAUGHT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dispatch.routing import Histogram, Snapshot
    from dispatch.telemetry.families import Metric
    from dispatch.telemetry.routes import Taught

__all__ = ["CONTENT_TYPE", "exposition", "mishaps", "taught"]

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_NS_PER_S = 1e9


def exposition(snapshot: Snapshot) -> bytes:
    """Return the text for one scrape."""
    return "".join(line for metric in METRICS for line in _family(metric, snapshot)).encode()


def taught(routes: Mapping[str, Taught]) -> bytes:
    """Return the lines about learned routes, as this worker knows them: each has had its own feedback."""
    return "".join(line for metric in TAUGHT for line in _family(metric, routes)).encode()


def mishaps(counts: Mapping[tuple[str, str, str], int]) -> bytes:
    """Return the lines about what failed beside the models of plans, in this worker."""
    return "".join(line for line in _family(MISHAPS, counts)).encode()


def _family(metric: Metric, source: object) -> Iterator[str]:
    lines = _histogram_lines if metric.kind == "histogram" else _lines
    samples = [*lines(metric, source)]
    if samples or not metric.only:
        yield f"# HELP {metric.name} {metric.about}\n# TYPE {metric.name} {metric.kind}\n"
        yield from samples


def _lines(metric: Metric, source: object) -> Iterator[str]:
    for values, value in metric.read(source):
        yield f"{metric.name}{_labelled(metric.labels, values)} {value}\n"


def _histogram_lines(metric: Metric, source: object) -> Iterator[str]:
    for values, row in metric.read(source):
        if not values or any(row.counts):
            yield from _buckets(metric, values, row)


def _buckets(metric: Metric, values: tuple[str, ...], row: Histogram) -> Iterator[str]:
    """One histogram. Counted once and added up here: a count that grows between two reads would break the rule that buckets never fall."""
    total = 0
    for bound, count in zip((*metric.bounds_s, "+Inf"), row.counts, strict=True):
        total += count
        yield f"{metric.name}_bucket{_labelled((*metric.labels, 'le'), (*values, str(bound)))} {total}\n"
    labels = _labelled(metric.labels, values)
    yield f"{metric.name}_sum{labels} {row.sum_ns / _NS_PER_S}\n{metric.name}_count{labels} {total}\n"


def _labelled(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = (f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}" if names else ""
