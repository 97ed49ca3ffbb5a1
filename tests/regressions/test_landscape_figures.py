"""Published figures that nobody could reproduce, by the thread in which users of another gateway told of it."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benches" / "results").glob("*.md"))
COMMAND = re.compile(r"\b(?:make ([a-z-]+)|python -m ([a-z_.]+)|dispatch ([a-z]+) )")


@pytest.mark.parametrize("page", RESULTS, ids=lambda page: page.stem)
def test_litellm_14681_each_published_figure_names_the_command_that_makes_it_again(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    found = COMMAND.search(page.read_text("utf-8"))

    assert found is not None
    target, module, subcommand = found.groups()
    assert target in targets or (module and find_spec(module)) or subcommand == "simulate"
