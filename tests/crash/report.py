"""The table of all runs, and the laws that were broken."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from msgspec import Struct, structs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.crash.books import Books
    from tests.crash.play import Result
    from tests.crash.scenes import Scene

__all__ = ["Setting", "broken", "broken_elsewhere", "figures", "page", "table"]


class Setting(Struct, kw_only=True):
    """When and where the runs were played."""

    date: str
    machine: str
    load: float
    """Of the last quarter of an hour: processes that ran or were ready to."""
    at_once: int
    took_s: float
    worst_lag_s: float
    """The longest time that the clients' own loop was late by."""

    @classmethod
    def of(cls, at_once: int, took_s: float, worst_lag_s: float) -> Self:
        """Note here and now."""
        machine = f"{os.cpu_count()} processors, {platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"
        return cls(
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            machine=machine,
            load=round(os.getloadavg()[2], 1),
            at_once=at_once,
            took_s=round(took_s),
            worst_lag_s=round(worst_lag_s, 2),
        )

    def __str__(self) -> str:
        return (
            f"Played on {self.date} in {self.took_s / 60:.0f} minutes, {self.at_once} rows at once, on a machine with\n"
            f"{self.machine}, the mocks and the clients beside the sidecar;\n"
            f"load {self.load}, the clients' loop late by {self.worst_lag_s} s at worst."
        )


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
        _late(result),
        bad,
        str(result.retries) if result.retries else "",
        f"{result.p99_s * 1000:.0f} ms",
    ]
    return f"| {' | '.join(cells)} |"


def _late(result: Result) -> str:
    told = [str(len(result.late))] if result.late else []
    if result.delayed:
        worst_s = max(one.took_s for one in result.outcomes if one.is_delayed)
        told.append(f"{result.delayed} by the machine, up to {worst_s:.2f} s")
    return ", ".join(told)


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


def broken_elsewhere(scenes: Sequence[Scene], books: Books) -> list[str]:
    """The same for the scenes and the books."""
    found = [breach for scene in scenes for breach in scene.breaches]
    found += [f"{scene.name}, {scene.kind}: not one whole answer" for scene in scenes if not scene.counts["whole"]]
    if books.double_charges:
        found.append(f"{books.double_charges} requests were charged twice")
    return found + [f"the books disagree: {one}" for one in books.disagreements]


def page(results: Sequence[Result], scenes: Sequence[Scene], books: Books, broken_laws: Sequence[str], setting: Setting) -> str:
    """The whole page in Markdown."""
    clients = max((len(result.outcomes) for result in results), default=0)
    total = sum(len(result.outcomes) for result in results) + sum(len(scene.outcomes) for scene in scenes)
    whole = sum(result.counts["whole"] for result in results)
    errors = sum(result.counts["error"] for result in results)
    owed = [result for result in results if result.run.wants_whole]
    given = sum(result.counts["whole"] for result in owed)
    asked = sum(len(result.outcomes) for result in owed)
    verdict = ["Laws that were broken:", "", *(f"- {one}" for one in broken_laws)] if broken_laws else ["Every law was kept."]
    return "\n".join(
        [
            _ABOUT.format(clients=clients, setting=setting),
            *_summary(total, whole, errors, given, asked, books),
            *_delays(results, scenes),
            "",
            *verdict,
            "",
            _TABLE,
            table(results),
            "",
            _scenes(scenes),
        ]
    )


_ABOUT: Final = """# Every fault, played against the running sidecar

Generated by `make crashtest`; do not edit. What is done about each fault is in [failures.md](failures.md), how to play one in
[mock.md](mock.md).

Two workers, four providers (`dispatch mock`), {clients} clients at once for each row, each with a connection and a prompt of its own;
the good endpoints say the prompt again, so that an answer is whole only if it is the right one to the letter. One, three or all of a
pool's four endpoints play the fault. Deadline 8 s, first token within 1.5 s, 4 attempts.
{setting}

- *whole*: the whole answer, and nothing else. *clear error*: a status with an error object, or in a stream that has begun an error event
  and a connection that does not end cleanly. Nothing else may happen, and nothing later than the deadline and 250 ms.
- Where an endpoint could give an answer and nothing forbids to ask it, all clients must have it: with one or three faulty endpoints of
  four, unless the fault is an answer (a prompt that is too long), unknown execution (not sent twice by default), or comes after the
  first content of a stream that is passed on at once (`commit: first`, nothing to `recover`).

What an hour of mixed traffic with faults, reloads and killed workers shows is in
[the report of the soak](../benches/results/2026-11-22-soak-3600s.md)."""

_TABLE: Final = "## Faults\n"


def _summary(total: int, whole: int, errors: int, given: int, asked: int, books: Books) -> list[str]:
    entries = ", ".join(f"{count} {name}" for name, count in sorted(books.entries.items()))
    return [
        "",
        f"{total} requests. In the table {whole} whole answers and {errors} clear errors; where all must be whole, {given} of {asked} are.",
        f"Ledger: {entries}; journals: {books.received} requests received; double charges: {books.double_charges}; requests whose",
        f"entries disagree: {books.disagreeing}.",
    ]


def _delays(results: Sequence[Result], scenes: Sequence[Scene]) -> list[str]:
    delayed = sum(result.delayed for result in results) + sum(one.is_delayed for scene in scenes for one in scene.outcomes)
    if not delayed:
        return []
    return [
        "",
        f"{delayed} ended later than that while, for at least as long, a worker of the sidecar was ready to run and had no processor (by",
        "`/proc/PID/schedstat`), or the clients' own loop was late: the machine's lateness, which is not counted as the sidecar's.",
    ]


def _scenes(scenes: Sequence[Scene]) -> str:
    rows = [
        "## Under load",
        "",
        "| what happens | kind | requests | whole | clear errors | cut with their worker | broken |",
        f"|{' --- |' * 7}",
    ]
    for scene in scenes:
        counts = scene.counts
        cut = counts["cut"] + counts["refused"] if scene.may_cut else 0
        bad = len(scene.outcomes) - counts["whole"] - counts["error"] - cut
        cells = [scene.name, scene.kind, len(scene.outcomes), counts["whole"], counts["error"] or "", cut or "", bad or ""]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows) + "\n"


def figures(results: Sequence[Result], scenes: Sequence[Scene], books: Books, setting: Setting) -> str:
    """All of it for programs."""
    rows = [
        {
            "fault": result.run.case.name,
            "faulty": result.run.variant,
            "kind": result.run.kind,
            "counts": dict(result.counts),
            "errors": dict(result.errors),
            "late": len(result.late),
            "delayed": result.delayed,
            "retries": result.retries,
            "p99_s": round(result.p99_s, 3),
        }
        for result in results
    ]
    acts = [{"scene": scene.name, "kind": scene.kind, "counts": dict(scene.counts)} for scene in scenes]
    ledger = {"entries": books.entries, "received": books.received, "double_charges": books.double_charges}
    return json.dumps({"setting": structs.asdict(setting), "runs": rows, "scenes": acts, "books": ledger}, indent=1) + "\n"
