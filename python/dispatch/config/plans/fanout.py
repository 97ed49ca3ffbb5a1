"""`fanout`: a long input in pieces, worked at the same time, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from dispatch.config import plans
from dispatch.config.decode import decode, join, shown
from dispatch.config.plans.asking import Budget, budget_of, check_keys
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from dispatch.config.plans.builder import Builder

__all__ = ["MODALITIES", "Fanout", "Manner", "build"]

By = Literal["paragraph", "page", "list", "part", "modality"]
MODALITIES = ("text", "image", "audio", "video", "file")

WORK = "{instruction}\n\n{piece}"
REDUCE = """The input of this request was worked on in {count} pieces. Their results follow, in order. Make one whole result of them, as
the request asks for it. Do not speak of pieces.

The request:
{instruction}

{answers}"""


class Manner(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the input is cut and its results are joined.

    Cut is the user's last message. Where it has several parts, the input is its last text and the texts before it are the instruction;
    where it is one text, its first paragraph is the instruction.
    """

    split: By = "paragraph"
    """`paragraph`: pieces of whole paragraphs, up to `max_chars`. `page`: at form feeds. `list`: the items of a JSON array, else lines.
    `part`: each image, file or sound by itself. `modality`: all of a kind together, each to the plan of its kind."""
    max_chars: Annotated[int, Meta(ge=100)] = 8000
    """Of a piece, for `paragraph`; a longer paragraph is a piece by itself."""
    most: Annotated[int, Meta(ge=1, le=10000)] = 256
    """More pieces than this are refused."""
    at_once: Annotated[int, Meta(ge=1, le=1000)] = 16
    """How many are asked at a time."""
    prompt: str = ""
    """What is said to each piece: `{instruction}`, `{piece}`, `{number}`, `{count}`. Left out: the instruction and the piece."""
    join: Literal["concatenate", "json", "reduce"] = "concatenate"
    """`json`: objects are merged, their lists and those at the top joined. `reduce`: `reduce` makes one of them."""
    separator: str | None = None
    """Between results, for `concatenate`. Left out: an empty line."""
    reduce_prompt: str = ""
    """`{instruction}`, `{answers}`, `{count}`. Left out: ours."""
    partial: bool = False
    """Answer although pieces failed. They are marked in the text, and named in `x-dispatch-failed-parts`. Else the request fails."""


class Fanout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="fanout"):
    """The input is cut, its pieces are worked on at the same time, and the results are joined."""

    work: tuple[plans.Plan, ...]
    """A plan; for `modality` a mapping of them, with keys `text`, `image`, `audio`, `video` and `file`."""
    kinds: tuple[str, ...] = ()
    """The keys of that mapping."""
    manner: Manner = Manner()
    """How it is cut and joined: its keys stand here themselves."""
    reduce: plans.Plan | None = None
    """A plan that makes one result of all."""
    budget: Budget | None = None
    """What it may spend on a request."""

    @property
    def parts(self) -> tuple[plans.Plan, ...]:
        """The plans that work, and last the one that joins."""
        return self.work if self.reduce is None else (*self.work, self.reduce)

    def is_end(self, place: int) -> bool:
        """Nothing is asked after any of them."""
        return place >= 0


def build(builder: Builder, form: object, path: str) -> Fanout:
    """Build it. Raises `ConfigError`."""
    known = tuple(field for field in Manner.__struct_fields__ if field != "join")
    found = check_keys(form, ("work", "reduce", "join", "budget", *known), path)
    if "work" not in found:
        raise ConfigError(join(path, "work"), "missing")
    manner = _worded(decode({key: value for key, value in found.items() if key in Manner.__struct_fields__}, Manner, path))
    if ("reduce" in found) != (manner.join == "reduce"):
        raise ConfigError(join(path, "reduce"), "`reduce` is a plan and needs `join: reduce`, and the other way round")
    if "{piece}" not in manner.prompt:
        raise ConfigError(join(path, "prompt"), "{piece} is not in it")
    if "{answers}" not in manner.reduce_prompt:
        raise ConfigError(join(path, "reduce_prompt"), "{answers} is not in it")
    work, kinds = _work(builder, found["work"], manner, join(path, "work"))
    reduce = builder.plan(found["reduce"], join(path, "reduce")) if "reduce" in found else None
    return Fanout(work=work, kinds=kinds, manner=manner, reduce=reduce, budget=budget_of(found, path))


def _worded(manner: Manner) -> Manner:
    """With our words where there are none."""
    separator = "\n\n" if manner.separator is None else manner.separator
    return msgspec.structs.replace(manner, prompt=manner.prompt or WORK, reduce_prompt=manner.reduce_prompt or REDUCE, separator=separator)


def _work(builder: Builder, form: object, manner: Manner, path: str) -> tuple[tuple[plans.Plan, ...], tuple[str, ...]]:
    if manner.split != "modality":
        return (builder.plan(form, path),), ()
    by_kind = check_keys(form, MODALITIES, path)
    if not by_kind:
        raise ConfigError(path, f"found {shown(form)}, expected plans by modality")
    return tuple(builder.plan(plan, join(path, kind)) for kind, plan in by_kind.items()), tuple(by_kind)
