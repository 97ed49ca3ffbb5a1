"""The plainest learned router: the mean scores of the prompts that share the rarest words. A baseline, not a product."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatch.learn.table import Table

__all__ = ["Nearest"]

_WORD = re.compile(r"[a-z]{3,}")
_NEIGHBOURS = 20
_COMMON = 60
"""A word in more prompts than this tells none of them apart, and would make the search long."""


class Nearest:
    """Prompts by their words."""

    def __init__(self, table: Table) -> None:
        self._scores = table.scores
        width = len(table.models)
        self._means = [sum(row[at] for row in table.scores) / len(table.scores) for at in range(width)]
        places: dict[str, list[int]] = defaultdict(list)
        for at, prompt in enumerate(table.prompts):
            for word in set(_WORD.findall(prompt.lower())):
                places[word].append(at)
        self._places = {word: found for word, found in places.items() if len(found) <= _COMMON}
        self._weight = {word: math.log(len(table.prompts) / len(found)) for word, found in self._places.items()}

    def scores(self, prompt: str) -> list[float]:
        """Expected score of each model; their means where no rare word is shared."""
        near: Counter[int] = Counter()
        for word in sorted(set(_WORD.findall(prompt.lower()))):
            for at in self._places.get(word, ()):
                near[at] += self._weight[word]  # type: ignore[assignment]  # a Counter adds any numbers
        rows = [self._scores[at] for at, _ in near.most_common(_NEIGHBOURS)] or [tuple(self._means)]
        return [sum(row[at] for row in rows) / len(rows) for at in range(len(self._means))]
