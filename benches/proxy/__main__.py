"""`make bench-proxy`: what a request costs beside nginx's `proxy_pass`."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benches.proxy import report
from benches.proxy.measure import Plan, measure
from benches.proxy.rig import Cores, Rig, find_tools
from benches.proxy.rows import ROWS

if TYPE_CHECKING:
    from benches.proxy.measure import Result
    from benches.proxy.rows import Row

RESULTS = Path(__file__).parents[1] / "results"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench-proxy", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each contender in each row (default: 5)")
    parser.add_argument("--seconds", type=float, default=4, help="length of a run (default: 4)")
    parser.add_argument("--warm-up", type=float, default=2, metavar="SECONDS", help="length of the warm-up (default: 2)")
    parser.add_argument("--rows", default="", metavar="REGEX", help="only rows whose name matches")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument(
        "--stand-in", metavar="COMMAND", help="measure another proxy instead of the sidecar; {listen} and {upstream} stand for the ports"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the report goes (default: benches/results)")
    parser.add_argument("--no-save", action="store_true", help="print only")
    return parser.parse_args(arguments)


def run_row(row: Row, rig: Rig, plan: Plan, stand_in: str | None) -> Result:
    """Start the contenders of one row and measure them."""
    with contextlib.ExitStack() as stack:
        candidate = stack.enter_context(rig.candidate(row, stand_in=stand_in))
        baseline = rig.yardstick(row.kind) if row.workers == 1 else stack.enter_context(rig.apart(row))
        return measure(row, rig, plan, baseline=baseline, candidate=candidate)


def main(arguments: list[str]) -> int:
    """Measure the rows that were asked for; the exit code tells whether all are within their gates."""
    asked = parse(arguments)
    rows = [row for row in ROWS if re.search(asked.rows, row.name)]
    if asked.stand_in is not None:
        rows = [row for row in rows if row.workers == 1]
    if asked.list:
        print("\n".join(row.name for row in rows))
        return 0
    tools, plan, cores = find_tools(), Plan(asked.runs, asked.seconds, asked.warm_up), Cores()
    about = report.describe(tools, plan, arguments)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="bench-proxy-") as folder:
        rig = Rig(tools, Path(folder), cores)
        with rig.up():
            print(report.HEADER, flush=True)
            for row in rows:
                results.append(run_row(row, rig, plan, asked.stand_in))
                print(report.line(results[-1]), flush=True)
    print(f"\n{report.table(results)}")
    if not asked.no_save and asked.stand_in is None:
        print(f"\nwritten: {report.save(asked.results, about, results)}")
    return report.complain(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
