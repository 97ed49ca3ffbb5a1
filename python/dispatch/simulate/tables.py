"""A study as text: for a terminal, for Markdown, and as plain data for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.simulate.compile import capacity_per_s, rate_per_s
from dispatch.simulate.outcome import FIGURES

if TYPE_CHECKING:
    from dispatch.simulate.study import Study

__all__ = ["header", "markdown", "plain", "rows", "shown", "text"]


def header(study: Study) -> str:
    """Say what was simulated, in a line."""
    scenario = study.scenario
    capacity = capacity_per_s(scenario)
    load = f", {rate_per_s(scenario) / capacity:.0%} of capacity" if capacity else ""
    endpoints = sum(endpoint.count for endpoint in scenario.endpoints)
    return f"{endpoints} endpoints, {rate_per_s(scenario):,.1f} requests/s{load}, {scenario.seconds:g} s, seeds {_span(study.seeds)}"


def _span(seeds: list[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"


def rows(study: Study) -> tuple[list[str], list[list[str]]]:
    """Give titles and cells; columns in which nothing ever happens are left out."""
    columns = [name for name in FIGURES if name not in _QUIET or any(getattr(result.figures, name) for result in study.results)]
    if len(study.scenario.tenants) < 2:
        columns.remove("fairness")
    cells = [[result.case.label, *(shown(name, getattr(result.figures, name)) for name in columns)] for result in study.results]
    return ["policy", *(FIGURES[name][0] for name in columns)], cells


_QUIET = {"failed", "refused_upstream", "retries", "known", "use"}


def shown(name: str, value: float) -> str:
    """Write a figure with its unit."""
    unit = FIGURES[name][1]
    if unit == "s":
        return f"{value:,.2f} s" if value >= 10 else f"{value * 1e3:,.0f} ms"
    return f"{value:.2%}" if unit == "%" else f"{value:.3f}"


def text(study: Study) -> str:
    """Write a table for a terminal."""
    titles, cells = rows(study)
    widths = [max(len(row[at]) for row in [titles, *cells]) for at in range(len(titles))]
    lines = [
        "  ".join(cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in [titles, *cells]
    ]
    return "\n".join([f"{study.name}: {study.scenario.title}", header(study), "", *lines])


def markdown(study: Study) -> str:
    """Write a section of a Markdown page."""
    titles, cells = rows(study)
    lines = [f"| {' | '.join(row)} |" for row in [titles, ["---"] + ["---:"] * (len(titles) - 1), *cells]]
    about = [study.scenario.about, ""] if study.scenario.about else []
    return "\n".join([f"### {study.name}: {study.scenario.title}", "", *about, header(study), "", *lines, ""])


def plain(study: Study) -> dict[str, Any]:
    """Give the numbers for JSON."""
    return {
        "name": study.name,
        "scenario": msgspec.to_builtins(study.scenario),
        "rate_per_s": rate_per_s(study.scenario),
        "capacity_per_s": capacity_per_s(study.scenario),
        "seeds": study.seeds,
        "results": [
            {
                **msgspec.to_builtins(result.case),
                **msgspec.to_builtins(result.figures),
                "p99_by_seed_s": result.p99_by_seed_s,
                "ended": result.sample.ended,
                "attempts_by_endpoint": [endpoint.attempts for endpoint in result.sample.endpoints],
            }
            for result in study.results
        ],
    }
