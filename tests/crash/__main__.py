"""`make crashtest`: every fault against the real sidecar, and what its clients saw."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
from pathlib import Path
from time import monotonic

import uvloop

from tests.crash import report
from tests.crash.books import Books, audit
from tests.crash.cases import CASES, runs_of
from tests.crash.fleet import Fleet
from tests.crash.play import Result, play_all
from tests.crash.report import Setting
from tests.crash.scenes import Scene, play_scenes

ROOT = Path(__file__).parents[2]


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make crashtest", description=__doc__)
    parser.add_argument("--clients", type=int, default=200, help="concurrent clients of a run (default: 200)")
    parser.add_argument("--quick", action="store_true", help="30 clients, one faulty endpoint of four, no scenes, nothing is written")
    parser.add_argument("--only", default="", metavar="REGEX", help="only faults whose name matches; nothing is written")
    parser.add_argument("--at-once", type=int, default=2, help="runs at a time (default: 2)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "faults", help="where .md and .json go (default: docs/faults)")
    return parser.parse_args(arguments)


async def run(asked: argparse.Namespace) -> tuple[list[Result], list[Scene], Books, Setting]:
    """Play what was asked for."""
    began = monotonic()
    cases = tuple(case for case in CASES if re.search(asked.only, case.name))
    clients = 30 if asked.quick else asked.clients
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        async with Fleet(Path(folder), cases) as fleet:
            runs = [run for run in runs_of(cases) if run.variant == "one" or not asked.quick]
            results = await play_all(fleet, runs, clients=clients, at_once=asked.at_once)
            books_s = set(fleet.folder.glob("ledger.[0-9]*"))
            scenes = [] if asked.only or asked.quick else await play_scenes(fleet, clients)
        if fleet.complaints:
            print(fleet.complaints[-5000:], file=sys.stderr)
        setting = Setting.of(asked.at_once, monotonic() - began, fleet.strain.worst_lag_s)
        return results, scenes, audit(results, sorted(books_s), fleet.journals), setting


def main(arguments: list[str]) -> int:
    """Play, print, write; the exit status tells whether every law was kept."""
    asked = parse(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results, scenes, books, setting = runner.run(run(asked))
    broken = [*report.broken(results), *report.broken_elsewhere(scenes, books)]
    page = report.page(results, scenes, books, broken, setting)
    print(page)
    if not asked.only and not asked.quick:
        asked.out.with_suffix(".md").write_text(page)
        asked.out.with_suffix(".json").write_text(report.figures(results, scenes, books, setting))
        print(f"written: {asked.out}.md")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
