"""The table of all runs, and the laws that were broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.crash.play import Result

__all__ = ["broken", "table"]

_COLUMNS: Final = ("fault", "faulty", "kind", "whole", "clear errors", "late", "broken", "retries", "p99")
HEADER: Final = f"| {' | '.join(_COLUMNS)} |\n|{' --- |' * len(_COLUMNS)}"
_BREACHES: Final = ("wrong", "clean", "cut", "hung", "refused")


def table(results: Sequence[Result]) -> str:
    """A row for each run."""
    return "\n".join([HEADER, *(_row(result) for result in results)])


def _row(result: Result) -> str:
    run, counts = result.run, result.counts
    errors = ", ".join(f"{count} x {name}" for name, count in result.errors.most_common(3))
    bad = ", ".join(f"{counts[name]} {name}" for name in _BREACHES if counts[name])
    cells = [
        run.case.name,
        {"one": "1 of 4", "most": "3 of 4", "all": "4 of 4"}[run.variant],
        run.kind,
        str(counts["whole"]),
        errors,
        str(len(result.late)) if result.late else "",
        bad,
        str(result.retries) if result.retries else "",
        f"{result.p99_s * 1000:.0f} ms",
    ]
    return f"| {' | '.join(cells)} |"


def broken(results: Sequence[Result]) -> list[str]:
    """The laws that were broken, in words; empty if none was."""
    found = []
    for result in results:
        run, counts = result.run, result.counts
        where = f"{run.case.name}, {run.variant}, {run.kind}"
        for name in _BREACHES:
            if counts[name]:
                example = next(one for one in result.outcomes if one.verdict == name)
                found.append(f"{where}: {counts[name]} {name}: {example.seen[:300]}")
        if result.deaths:
            found.append(f"{where}: a worker died")
        if result.late:
            found.append(f"{where}: {len(result.late)} late, the worst after {max(one.took_s for one in result.late):.2f} s")
        if run.wants_whole and counts["whole"] < len(result.outcomes):
            found.append(f"{where}: {counts['whole']} of {len(result.outcomes)} whole: {dict(result.errors)}")
    return found
