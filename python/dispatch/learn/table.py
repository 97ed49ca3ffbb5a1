"""Tables of prompts with the scores of models: JSON lines, gzip'd or not.

The first line is `{"models": [...]}`, maybe with `"costs": {...}` and notes; each other one `{"p": prompt, "s": [score, ...]}` in the
order of the models, maybe with `"g"`, the kind of the prompt (a text or a number). Costs may also be a list in that order, and scores
`true` and `false`. Where the head tells none, a line may tell what its own calls cost (`"cost": [...]`), of which the means are taken.
Further keys are left alone. Examples of classes need no such head: each line is `{"p": prompt, "label": class}`.
"""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Table", "read"]

_T = TypeVar("_T")
_GZIP = b"\x1f\x8b"
_MARK = b"\xef\xbb\xbf"
"""A byte order mark, which some programs write before UTF-8."""


_Cost = Annotated[float, Meta(ge=0)]


class _Head(Struct):
    models: Annotated[tuple[str, ...], Meta(min_length=2)]
    costs: dict[str, _Cost] | tuple[_Cost, ...] | None = None


class _Line(Struct):
    p: str
    s: tuple[float | bool, ...]
    g: str | int | None = None
    cost: Any = None
    costs: Any = None


class _Label(Struct):
    p: str
    label: str | int


class Table(Struct, frozen=True):
    """Prompts and scores."""

    models: tuple[str, ...]
    prompts: list[str]
    scores: list[tuple[float, ...]]
    groups: list[str]
    """The kind of each prompt; empty when the table names none."""
    costs: dict[str, float]
    """Cost of a call by model, in any unit; empty if not told."""

    def only(self, models: tuple[str, ...]) -> Table:
        """Keep the scores of some models, in their order.

        Raises:
            ConfigError: one of them is not in the table.
        """
        for name in models:
            if name not in self.models:
                raise ConfigError("models", f"found {name!r}, expected one of {', '.join(self.models)}")
        places = [self.models.index(name) for name in models]
        scores = [tuple(row[at] for at in places) for row in self.scores]
        costs = {name: self.costs[name] for name in models if name in self.costs}
        return Table(models, self.prompts, scores, self.groups, costs)

    def rows(self, places: list[int]) -> Table:
        """Keep some prompts."""
        groups = [self.groups[at] for at in places] if self.groups else []
        return Table(self.models, [self.prompts[at] for at in places], [self.scores[at] for at in places], groups, self.costs)


def read(path: Path) -> Table:
    """Read a table.

    Raises:
        ConfigError: the file cannot be read, or a line is not what it should be; says which.
    """
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if data.startswith(_GZIP) else data
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(str(path), str(error)) from None
    lines = text.removeprefix(_MARK).splitlines()
    first = next((at for at, line in enumerate(lines[:2]) if b'"label"' in line), None)
    if first is not None and b'"models"' not in lines[0]:
        return _labelled(path, lines, first)
    head = _decode(path, 1, lines[0] if lines else b"", _Head)
    twice = next((name for at, name in enumerate(head.models) if name in head.models[:at]), None)
    if twice is not None:
        raise ConfigError(f"{path}:1", f"found the model {twice!r} twice")
    if isinstance(head.costs, tuple) and len(head.costs) != len(head.models):
        raise ConfigError(f"{path}:1", f"found {len(head.costs)} costs, expected {len(head.models)}, one for each model")
    told = dict(zip(head.models, head.costs, strict=True)) if isinstance(head.costs, tuple) else head.costs or {}
    # Others sell models that this table has no scores of: their list of prices may be longer.
    costs = {name: cost for name, cost in told.items() if name in head.models}
    found = [_decode(path, number, line, _Line) for number, line in enumerate(lines[1:], 2) if line.strip()]
    for number, line in enumerate(found, 2):
        if len(line.s) != len(head.models):
            raise ConfigError(f"{path}:{number}", f"found {len(line.s)} scores, expected {len(head.models)}, one for each model")
    costs = costs or _mean_costs(head.models, [line.costs if line.cost is None else line.cost for line in found])
    groups = ["" if line.g is None else str(line.g) for line in found]
    return Table(
        head.models, [line.p for line in found], [tuple(map(float, line.s)) for line in found], groups if all(groups) else [], costs
    )


def _mean_costs(models: tuple[str, ...], told: list[object]) -> dict[str, float]:
    """The mean cost of a call to each model, where every prompt tells all of them; what else stands there is left alone."""
    try:
        rows = msgspec.convert(told, list[tuple[_Cost, ...]])
    except msgspec.ValidationError:
        return {}
    if not rows or any(len(row) != len(models) for row in rows):
        return {}
    return {name: sum(column) / len(rows) for name, column in zip(models, zip(*rows, strict=True), strict=True)}


def _labelled(path: Path, lines: list[bytes], first: int) -> Table:
    """Examples of classes as scores: 1 for a prompt's own class, 0 for the others. Before the `first` there may be a line of notes."""
    found = [_decode(path, number, line, _Label) for number, line in enumerate(lines[first:], first + 1) if line.strip()]
    labels = tuple(sorted({str(line.label) for line in found}))
    if len(labels) < 2:
        raise ConfigError(str(path), f"found {len(labels)} label, expected two or more")
    scores = [tuple(float(label == str(line.label)) for label in labels) for line in found]
    return Table(labels, [line.p for line in found], scores, [], {})


def _decode(path: Path, number: int, line: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}:{number}", str(error)) from None
