"""`dispatch route "prompt"`: a decision that would be made."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from dispatch.config import load, locate
from dispatch.errors import DispatchError
from dispatch.judgement import explain
from dispatch.why.tables import tables
from dispatch.why.text import step_text

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `dispatch route`."""
    parser.add_argument("prompt", help="what would be asked")
    parser.add_argument("--model", required=True, help="a model of the configuration whose plan is a route")
    parser.add_argument("--config", metavar="FILE", help="configuration (default: as of `dispatch serve`)")
    parser.add_argument("--say", metavar="NAME=VALUE", action="append", default=[], help="what a client would declare by x-dispatch-NAME")
    parser.add_argument("--json", action="store_true", help="print all of it, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Choose as the sidecar would just after its start, and print why. Nothing is sent."""
    config = load(locate(arguments.config, os.environ), os.environ)
    body = json.dumps({"model": arguments.model, "messages": [{"role": "user", "content": arguments.prompt}]}).encode()
    said = [(name, value) for name, _, value in (pair.partition("=") for pair in arguments.say)]
    generation = tables(config)
    try:
        model, _ = generation.find(arguments.model, generation.nobody)
        steps = explain(generation.routes, model.name, body, said)
    except DispatchError as error:
        print(f"dispatch: {error}", file=sys.stderr)
        return 1
    if not steps:
        print(f"dispatch: the plan of {arguments.model!r} is no route", file=sys.stderr)
        return 1
    print(json.dumps({"model": arguments.model, "steps": steps}, indent=2) if arguments.json else "\n".join(map(step_text, steps)))
    return 0
