"""Write the page of all metrics: `python -m dispatch.telemetry.reference > docs/metrics.md`. A test holds it against `/metrics`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dispatch.routing import BOOKINGS, FAILURES, HEDGES, LEFT_OUT
from dispatch.telemetry.families import METRICS, OUTCOMES
from dispatch.telemetry.mishaps import MISHAPS
from dispatch.telemetry.routes import TAUGHT

if TYPE_CHECKING:
    from dispatch.telemetry.families import Metric

__all__ = ["page"]

_ABOUT = """# Metrics

Generated from `telemetry/families.py` by `make docs`; do not edit.

`GET /metrics` gives them as Prometheus text, to loopback peers and to keys with `admin: true`. Whichever worker is asked, the numbers are
those of all workers, except for what routes have learned, which each worker does by itself; counters survive the death of a worker and
a reload. A series is left out while it is zero where there would be many
(a model times an endpoint that it never used, a failure that never was). Keys are never crossed with endpoints.

| metric | type | labels | unit | says |
| --- | --- | --- | --- | --- |"""


def page() -> str:
    """The page in Markdown."""
    values = (
        ("outcome", "`dispatch_requests_total`", OUTCOMES),
        ("failure", "attempts; what they mean is in [failures.md](failures.md)", ("none", *FAILURES[1:])),
        ("outcome", "the ledger", BOOKINGS),
        ("outcome", "checks", ("passed", "failed")),
        ("outcome", "renewals of credentials", ("issued", "failed")),
        ("outcome", "hedges", HEDGES),
        ("where", "translations", LEFT_OUT),
        ("kind", "tokens", ("input", "output", "cached")),
    )
    lists = [f"- `{label}` of {whose}: {', '.join(f'`{name}`' for name in names)}." for label, whose, names in values]
    buckets = [
        f"- `{metric.name}`: {', '.join(f'{bound:g}' for bound in metric.bounds_s)} s." for metric in METRICS if metric.kind == "histogram"
    ]
    return (
        "\n".join([_ABOUT, *map(_row, (*METRICS, *TAUGHT, MISHAPS)), "", "## Values of labels", "", *lists, "", "## Buckets", "", *buckets])
        + "\n"
    )


def _row(metric: Metric) -> str:
    only = f" Only where {metric.only}." if metric.only else ""
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.unit} | {metric.about}{only} |"


if __name__ == "__main__":
    sys.stdout.write(page())
