"""`dispatch train`: a router from a table of scores."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from dispatch.errors import ConfigError
from dispatch.learn.table import read
from dispatch.routing import LearnedRouter

if TYPE_CHECKING:
    import argparse

    from dispatch.learn.table import Table

__all__ = ["add_arguments", "fit", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument(
        "table", type=Path, metavar="DATA", help='JSON lines, gzip\'d or not: {"models": [...]}, then {"p": prompt, "s": [...]}'
    )
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="where the router goes, such as router.bin")
    parser.add_argument("--models", metavar="A,B,...", help="only these models of the table (default: all)")


def run(arguments: argparse.Namespace) -> int:
    """Train and write. The same table gives the same bytes."""
    table = read(arguments.table)
    if arguments.models:
        table = table.only(tuple(arguments.models.split(",")))
    began = perf_counter()
    router = fit(table, str(arguments.table))
    artefact = router.encode()
    try:
        arguments.out.write_bytes(artefact)
    except OSError as error:
        print(f"dispatch: {error}", file=sys.stderr)
        return 1
    kinds = f", {len(router.groups)} kinds of prompts" if router.groups else ""
    took_s = perf_counter() - began
    print(f"{arguments.out}: {len(table.models)} models, {len(table.prompts):,} prompts{kinds}; {len(artefact):,} bytes, {took_s:.1f} s")
    return 0


def fit(table: Table, path: str) -> LearnedRouter:
    """Train on a table.

    Raises:
        ConfigError: it cannot be learned from.
    """
    try:
        return LearnedRouter.train(table.models, table.prompts, table.scores, table.groups)
    except ValueError as error:
        raise ConfigError(path, str(error)) from None
