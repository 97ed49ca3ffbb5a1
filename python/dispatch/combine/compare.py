"""When two answers are the same answer."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.combine.reply import Reply
    from dispatch.config.plans.asking import Compare
    from dispatch.dialects.form import ToolUse

__all__ = ["leader", "merged_calls", "merged_fields", "same_as", "unfenced"]

_CHOICE = re.compile(r"(?:answer|choice|option)\b[^A-Za-z0-9]*(?:is|:)?[^A-Za-z0-9]*\(?([A-Za-z])\b", re.IGNORECASE)
_LETTER = re.compile(r"\b([A-Z])\b")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_FENCE = re.compile(r"^\s*```[A-Za-z]*\s*|\s*```\s*$")


def same_as(reply: Reply, compare: Compare) -> str | None:
    """What two answers have in common if they are the same; None: this one says nothing that can be compared."""
    if reply.tools:
        return "tools:" + _canonical([(tool.name, _arguments(tool)) for tool in reply.tools])
    return _READ[compare](reply.text) or None


def unfenced(text: str) -> str:
    """`text` without the fence of a code block around it."""
    return _FENCE.sub("", text)


def leader(keys: Sequence[str | None], weights: Sequence[float]) -> tuple[int, float] | None:
    """The place of the first answer that has most votes, and its share of all; None if nobody has a vote."""
    votes: dict[str, float] = defaultdict(float)
    for key, weight in zip(keys, weights, strict=True):
        if key is not None:
            votes[key] += weight
    total = sum(votes.values())
    if not total:
        return None
    most = max(votes.values())
    place = next(at for at, key in enumerate(keys) if key is not None and votes[key] == most)
    return place, most / total


def merged_fields(texts: Sequence[str], weights: Sequence[float]) -> str | None:
    """One JSON object with the most frequent value of each field; None unless each text is an object, or they agree already.

    Of values with as many votes the first one's is taken. A field that most do not have is left out.
    """
    trees = [tree for text in texts if isinstance(tree := _parsed(unfenced(text)), dict)]
    if not trees or len(trees) < len(texts):
        return None
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for tree in trees for name in tree):
        votes: dict[str, float] = defaultdict(float)
        values: dict[str, Any] = {}
        for tree, weight in zip(trees, weights, strict=True):
            key = _canonical(tree[name]) if name in tree else ""
            votes[key] += weight
            values.setdefault(key, tree.get(name))
        best = max(votes, key=lambda key: votes[key])
        if best:
            merged[name] = values[best]
    return msgspec.json.encode(merged).decode()


def merged_calls(answers: Sequence[Sequence[ToolUse]], weights: Sequence[float]) -> list[ToolUse]:
    """The calls of tools that more than half of the votes make, each once, in the order in which they were found; often none."""
    votes: dict[str, float] = defaultdict(float)
    first: dict[str, ToolUse] = {}
    for tools, weight in zip(answers, weights, strict=True):
        made = {_canonical((tool.name, _arguments(tool))): tool for tool in tools}
        for key, tool in made.items():
            votes[key] += weight
            first.setdefault(key, tool)
    return [tool for key, tool in first.items() if 2 * votes[key] > sum(weights)]


def _arguments(tool: ToolUse) -> object:
    """The arguments as a tree; what is no JSON, as a broken call or a custom tool's text is not, as it is."""
    tree = _parsed(tool.arguments)
    return tool.arguments if tree is None else tree


def _text(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(mark if mark.isalnum() or mark.isspace() else " " for mark in plain).split())


def _choice(text: str) -> str:
    found = _CHOICE.findall(text) or _LETTER.findall(text)
    return found[-1].upper() if found else _text(text)


def _number(text: str) -> str:
    found = _NUMBER.findall(text)
    return f"{float(found[-1].replace(',', '')):.12g}" if found else ""


def _line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return _text(lines[-1]) if lines else ""


def _json(text: str) -> str:
    tree = _parsed(unfenced(text))
    return "" if tree is None else _canonical(tree)


def _parsed(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _canonical(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


_READ = {"text": _text, "choice": _choice, "number": _number, "line": _line, "json": _json}
