"""`make crashtest`: every fault against the real sidecar, and what its clients saw."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.crash import report
from tests.crash.cases import CASES, runs_of
from tests.crash.fleet import Fleet
from tests.crash.play import Result, play_all

ROOT = Path(__file__).parents[2]


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make crashtest", description=__doc__)
    parser.add_argument("--clients", type=int, default=200, help="concurrent clients of a run (default: 200)")
    parser.add_argument("--quick", action="store_true", help="30 clients, a part of the runs, nothing is written")
    parser.add_argument("--only", default="", metavar="REGEX", help="only faults whose name matches; nothing is written")
    parser.add_argument("--at-once", type=int, default=2, help="runs at a time (default: 2)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "faults", help="where .md and .json go (default: docs/faults)")
    return parser.parse_args(arguments)


async def run(asked: argparse.Namespace) -> list[Result]:
    """Play what was asked for."""
    cases = tuple(case for case in CASES if re.search(asked.only, case.name))
    clients = 30 if asked.quick else asked.clients
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        async with Fleet(Path(folder), cases, ledger=False) as fleet:
            results = await play_all(fleet, runs_of(cases), clients=clients, at_once=asked.at_once)
        if fleet.complaints:
            print(fleet.complaints[-5000:], file=sys.stderr)
        return results


def main(arguments: list[str]) -> int:
    """Play, print, write; the exit status tells whether every law was kept."""
    asked = parse(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(run(asked))
    print(report.table(results))
    broken = report.broken(results)
    print("\n".join(broken) or "every law was kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
