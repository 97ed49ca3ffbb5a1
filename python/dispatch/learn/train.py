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

_LEAST_OF_A_KIND = 4
"""Prompts in the mean: names of fewer tell prompts apart, and no kinds of them."""
_MOST_HEADS = 256
"""Models and kinds that a router holds; as in `rust/src/learn/train.rs`."""


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
    if table.groups and not router.groups:
        print(f"note: {len({*table.groups}):,} kinds of prompts are too many to learn from {len(table.prompts):,}, and are left aside")
    took_s = perf_counter() - began
    print(f"{arguments.out}: {len(table.models)} models, {len(table.prompts):,} prompts{kinds}; {len(artefact):,} bytes, {took_s:.1f} s")
    return 0


def fit(table: Table, path: str) -> LearnedRouter:
    """Train on a table.

    Raises:
        ConfigError: it cannot be learned from.
    """
    kinds = len({*table.groups})
    can_tell = kinds * _LEAST_OF_A_KIND <= len(table.prompts) and kinds + len(table.models) <= _MOST_HEADS
    try:
        return LearnedRouter.train(table.models, table.prompts, table.scores, table.groups if can_tell else [])
    except ValueError as error:
        raise ConfigError(path, str(error)) from None
