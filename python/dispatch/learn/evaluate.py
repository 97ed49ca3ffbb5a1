"""`dispatch evaluate`: what a router is worth on prompts that it has not seen, beside simpler ways to choose."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dispatch.errors import ConfigError
from dispatch.learn.compare import Study
from dispatch.learn.page import page_of
from dispatch.learn.table import read
from dispatch.routing import LearnedRouter

if TYPE_CHECKING:
    import argparse

    from dispatch.learn.compare import Row
    from dispatch.learn.table import Table

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("table", type=Path, metavar="DATA", help="a table as for `dispatch train`, of prompts that were not trained on")
    parser.add_argument("--router", type=Path, metavar="FILE", required=True, help="what `dispatch train` wrote")
    parser.add_argument("--weak", metavar="MODEL", help="the cheap model of the pair (default: the cheapest; without costs the worst)")
    parser.add_argument("--strong", metavar="MODEL", help="the dear model of the pair (default: the dearest; without costs the best)")
    parser.add_argument(
        *("--cost", "--costs"),
        dest="cost",
        metavar="MODEL=N",
        action="append",
        default=[],
        help="cost of a call, in any unit, of each model, with commas or one by one: AIQ is over these",
    )
    parser.add_argument("--train", type=Path, metavar="DATA", help="the table that was trained on, for the baselines that learn from it")
    parser.add_argument("--resamples", type=int, default=200, metavar="N", help="bootstrap samples for the 95%% intervals (default: 200)")
    parser.add_argument("--report", type=Path, metavar="FILE", default=Path("evaluation.html"), help="page with the curves")
    parser.add_argument("--json", action="store_true", help="print numbers for programs")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print, write the page."""
    table = _prompts(arguments.table)
    router = _router(arguments.router)
    costs = _costs(arguments, table)
    pair = _pair(arguments, table, costs)
    costs = costs or {pair[0]: 0.0, pair[1]: 1.0}
    study = Study(table.only(tuple(costs)), costs, pair, max(0, arguments.resamples))
    trained = _prompts(arguments.train).only(tuple(costs)) if arguments.train else None
    rows = study.rows(router, trained)
    for note in _notes(study, router, table):
        print(f"note: {note}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(_numbers(rows), indent=1))
    else:
        print(_text(study, rows, without_train=trained is None))
    try:
        arguments.report.write_text(page_of(study, rows, str(arguments.table)), encoding="utf-8")
    except OSError as error:
        print(f"dispatch: {error}", file=sys.stderr)
        return 1
    return 0


def _prompts(path: Path) -> Table:
    """Read a table with enough in it for the baselines that learn from the half which they are not measured on."""
    table = read(path)
    if len(table.prompts) < 2:
        raise ConfigError(str(path), f"found {len(table.prompts)} prompts, expected two or more")
    return table


def _notes(study: Study, router: LearnedRouter, table: Table) -> list[str]:
    """What a reader of the numbers has to know of the models."""
    notes = []
    unknown = study.unknown(router)
    if study.weak in unknown or study.strong in unknown:
        notes.append(f"the router was not trained on {', '.join(unknown)}: it chooses by how hard a prompt is for the models that it knows")
    elif unknown:
        notes.append(f"the router was not trained on {', '.join(unknown)}: it expects what the models that it knows reach in the mean")
    left = len(table.models) - len(study.table.models)
    if left:
        notes.append(f"{left} of {len(table.models)} models have no cost and are left out; AIQ is over {', '.join(study.table.models)}")
    return notes


def _router(path: Path) -> LearnedRouter:
    try:
        return LearnedRouter(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), str(error)) from None


def _costs(arguments: argparse.Namespace, table: Table) -> dict[str, float]:
    """Cost by model; empty if none is told."""
    costs = dict(table.costs)
    for text in ",".join(arguments.cost).split(",") if arguments.cost else ():
        name, _, number = text.strip().rpartition("=")
        try:
            costs[name] = float(number)
        except ValueError:
            raise ConfigError("--cost", f"found {text!r}, expected MODEL=NUMBER") from None
        if not 0 <= costs[name] < math.inf:
            raise ConfigError("--cost", f"found {text!r}, expected a cost of 0 or more")
    return costs


def _pair(arguments: argparse.Namespace, table: Table, costs: dict[str, float]) -> tuple[str, str]:
    """The weak and the strong model. Without costs a call to the strong one costs one and to the weak one nothing."""
    rows = list(zip(*table.scores, strict=True))
    worth = costs or {name: sum(row) for name, row in zip(table.models, rows, strict=True)}
    weak = arguments.weak or min((name for name in worth if name != arguments.strong), key=worth.__getitem__)
    strong = arguments.strong or max((name for name in worth if name != weak), key=worth.__getitem__, default=weak)
    if weak == strong:
        raise ConfigError("--strong", f"found {strong!r} for both, expected two models")
    for name in (weak, strong):
        if costs and name not in costs:
            raise ConfigError("--cost", f"found no cost of {name!r}, expected one for each model that is named")
    return weak, strong


def _numbers(rows: list[Row]) -> dict[str, object]:
    """Router first, at the top level; everything else under `baselines`."""
    return _numbers_of(rows[0]) | {"baselines": {row.name: _numbers_of(row) for row in rows[1:]}}


def _numbers_of(row: Row) -> dict[str, object]:
    values = {"apgr": row.apgr, "cpt50": row.cpt50, "cpt80": row.cpt80, "aiq": row.aiq}
    numbers: dict[str, object] = {name: None if math.isnan(value.value) else value.value for name, value in values.items()}
    numbers["intervals"] = {name: [value.low, value.high] for name, value in values.items() if not math.isnan(value.low)}
    return numbers


def _text(study: Study, rows: list[Row], *, without_train: bool) -> str:
    lines = [
        f"{len(study.table.prompts):,} prompts; {study.weak} {study.mean(study.weak):.4f}, {study.strong} {study.mean(study.strong):.4f}",
        "",
        f"{'':26}{'APGR':>22}{'CPT50':>22}{'CPT80':>22}{'AIQ':>22}",
    ]
    lines.extend(f"{row.name:26}{row.apgr!s:>22}{row.cpt50!s:>22}{row.cpt80!s:>22}{row.aiq!s:>22}" for row in rows)
    lines.extend(["", "Values with 95 % bootstrap intervals; CPT: share of strong calls, smaller is better."])
    if without_train:
        lines.append("Without --train: profile and nearest prompts learn from the other half of these prompts.")
    return "\n".join(lines)
