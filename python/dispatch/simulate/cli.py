"""`dispatch simulate`: flags, the runs with their progress, the reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from dispatch.errors import ConfigError
from dispatch.simulate.compile import load, shipped
from dispatch.simulate.page import page_of
from dispatch.simulate.policy import Policy
from dispatch.simulate.study import Study, study
from dispatch.simulate.tables import markdown, plain, text

if TYPE_CHECKING:
    import argparse

    from dispatch.simulate.scenario import Scenario

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = "Simulate traffic around the core's own strategies, limits and breakers, in virtual time."
    parser.epilog = "A STRATEGY is NAME, NAME:CHOICES (0: all) or, for a hash, NAME@BOUND. The same seeds give the same numbers everywhere."
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help="a YAML file, or the name of a shipped scenario; `all` of these")
    parser.add_argument("--list", action="store_true", help="name the shipped scenarios")
    what = parser.add_argument_group("runs")
    what.add_argument("--strategy", action="append", default=[], metavar="STRATEGY", help="compare these instead of the scenario's own")
    what.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each case (default: %(default)s)")
    what.add_argument("--first-seed", type=int, default=1, metavar="N", help="seeds count up from here (default: %(default)s)")
    what.add_argument("--workers", type=_workers, action="append", default=[], metavar="N", help="worker processes; repeat to compare")
    what.add_argument("--view", choices=("shared", "private"), action="append", default=[], help="one board for all workers, or one each")
    what.add_argument(
        "--load", type=_load, action="append", default=[], metavar="X", help="arrivals as a share of capacity; repeat to compare"
    )
    what.add_argument("--jobs", type=int, default=0, metavar="N", help="runs side by side (default: one for each processor)")
    out = parser.add_argument_group("report")
    out.add_argument("--out", type=Path, metavar="FILE", help="write a page with plots")
    out.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    out.add_argument("--json", type=Path, metavar="FILE", help="write the numbers; - for standard output instead of tables")
    out.add_argument("--quiet", action="store_true", help="no progress")


def _workers(word: str) -> int:
    if not 1 <= int(word) <= 16:
        raise ValueError(word)
    return int(word)


def _load(word: str) -> float:
    if not 0 < float(word) <= 10:
        raise ValueError(word)
    return float(word)


def run(args: argparse.Namespace) -> int:
    """Run the scenarios; give the exit status."""
    if args.list:
        for name, scenario in shipped().items():
            print(f"{name:20} {scenario.title}")
        return 0
    if not args.scenario:
        raise ConfigError("", "no scenario; name a file or a shipped one (dispatch simulate --list)")
    if args.seeds < 1:
        raise ConfigError("--seeds", f"found {args.seeds}, expected at least 1")
    names = list(shipped()) if args.scenario == ["all"] else args.scenario
    studies = [_study(args, Path(name).stem, _changed(load(name), args)) for name in names]
    _publish(args, studies)
    return 0


def _changed(scenario: Scenario, args: argparse.Namespace) -> Scenario:
    for strategy in args.strategy:
        Policy.parse(strategy)
    changes = {"strategies": args.strategy, "workers": args.workers, "views": args.view}
    return replace(scenario, **{name: tuple(values) for name, values in changes.items() if values})


def _study(args: argparse.Namespace, name: str, scenario: Scenario) -> Study:
    def progress(label: str) -> None:
        if not args.quiet:
            print(f"{name}: {label}", file=sys.stderr, flush=True)

    seeds = range(args.first_seed, args.first_seed + args.seeds)
    result = study(name, scenario, seeds=seeds, loads=args.load or (0.0,), jobs=args.jobs, progress=progress)
    if str(args.json) != "-":
        print(text(result), end="\n\n")
    return result


def _publish(args: argparse.Namespace, studies: list[Study]) -> None:
    numbers = msgspec.json.format(msgspec.json.encode([plain(one) for one in studies]), indent=1)
    if str(args.json) == "-":
        print(numbers.decode())
    elif args.json is not None:
        args.json.write_bytes(numbers)
    if args.markdown is not None:
        args.markdown.write_text("\n".join(markdown(one) for one in studies), encoding="utf-8")
    if args.out is not None:
        args.out.write_text(page_of(studies), encoding="utf-8")
