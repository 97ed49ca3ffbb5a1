"""Run the goals, or some of them, and write what was found: `make simulate`."""

from __future__ import annotations

import argparse
import datetime as dt
import shlex
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from dispatch.simulate.compile import shipped
from dispatch.simulate.page import page_of
from dispatch.simulate.study import Study, study
from dispatch.simulate.tables import markdown, plain

from benches.simulation.goals import GOALS, MANY, NOT_WORSE, Row

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """Give 0 if every goal is reached."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each case (default: %(default)s)")
    parser.add_argument("--goals", default="", metavar="A,B", help=f"some of: {', '.join(goal.__name__ for goal in GOALS)}")
    parser.add_argument("--no-tables", action="store_true", help="goals only")
    parser.add_argument("--save", action="store_true", help="write benches/results/DATE-simulate.{md,json}")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write all scenarios as a page with plots")
    args = parser.parse_args()
    began = time.monotonic()
    wanted = set(filter(None, args.goals.split(",")))
    seeds = tuple(range(1, args.seeds + 1))
    rows: list[Row] = []
    for goal in GOALS:
        if not wanted or goal.__name__ in wanted:
            for row in goal(seeds):
                rows.append(row)
                print(_line(row), flush=True)
    studies = [] if args.no_tables else [study(name, scenario, seeds=seeds[:3]) for name, scenario in shipped().items()]
    if args.save:
        _save(rows, studies, args.seeds, time.monotonic() - began)
    if args.page:
        args.page.write_text(page_of(studies), encoding="utf-8")
    missed = [row for row in rows if not row.is_met]
    print(f"{len(rows) - len(missed)} of {len(rows)} goals reached in {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


def _line(row: Row) -> str:
    relation = "<=" if row.is_most else ">="
    return f"{'ok    ' if row.is_met else 'MISSED'}  {row.value:9.4g}{_error(row)} {relation} {row.target:<6g}  {row.goal}  ({row.note})"


def _error(row: Row) -> str:
    return f" ± {row.error:.3f}" if row.error else ""


def _save(rows: list[Row], studies: list[Study], seeds: int, spent_s: float) -> None:
    now = dt.datetime.now(tz=dt.UTC)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    lines = [
        "# The simulator's goals",
        "",
        f"- date: {now:%Y-%m-%d %H:%M} UTC",
        f"- commit: {commit}",
        f'- command: make simulate ARGS="{shlex.join(sys.argv[1:])}"',
        f"- seeds: 1 to {seeds} for goals, 1 to {min(3, seeds)} for tables; ratios are of means over seeds; {spent_s:.0f} s in all",
        f"- a value with ± is of {len(MANY)} seeds and reaches its goal if its 95 % interval does and it is at most {NOT_WORSE:g} itself",
        "- the same seeds give the same numbers on every machine",
        "",
        "| goal | found | should be | reached | |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        relation = "at most" if row.is_most else "at least"
        lines.append(
            f"| {row.goal} | {row.value:.4g}{_error(row)} | {relation} {row.target:g} | {'yes' if row.is_met else '**no**'} | {row.note} |"
        )
    lines += ["", "## Scenarios", "", *(markdown(one) for one in studies)]
    (RESULTS / f"{now:%Y-%m-%d}-simulate.md").write_text("\n".join(lines), encoding="utf-8")
    numbers = {"commit": commit, "seeds": seeds, "goals": rows, "scenarios": [plain(one) for one in studies]}
    (RESULTS / f"{now:%Y-%m-%d}-simulate.json").write_bytes(msgspec.json.format(msgspec.json.encode(numbers), indent=1))


if __name__ == "__main__":
    sys.exit(main())
