"""`retrieve`: passages of documents beside the request, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from dispatch.config import plans
from dispatch.config.decode import decode, join
from dispatch.config.plans.asking import Budget, budget_of, check_keys
from dispatch.config.plans.embedder import Folder
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from dispatch.config.plans.builder import Builder

__all__ = ["Lance", "Passages", "Qdrant", "Retrieve", "build"]

PROMPT = """Passages from documents that may help with the user's request are below. Rely on them where they fit, and name the source in
square brackets, such as [handbook.md]. If they do not answer it, say so.

{passages}"""


class Lance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="lancedb"):
    """A table of LanceDB on disk (`dispatch-llm[lancedb]`), found by vectors alone: `embed` is needed."""

    folder: Annotated[str, Meta(min_length=1)]
    """With the tables."""
    table: Annotated[str, Meta(min_length=1)]
    """Its name there."""
    vector: str = "vector"
    """Column with the vectors."""
    text: str = "text"
    """Column that holds a passage."""
    source: str = "source"
    """Column that names its document."""


class Qdrant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="qdrant"):
    """A collection of a Qdrant server (`dispatch-llm[qdrant]`), found by vectors alone: `embed` is needed."""

    url: Annotated[str, Meta(pattern=r"^https?://\S+$")]
    """Of its REST API, such as `http://localhost:6333`."""
    collection: Annotated[str, Meta(min_length=1)]
    """Its name there."""
    api_key: str = ""
    """`env:NAME` or `file:/path`."""
    vector: str = ""
    """Name of the vector, in a collection that has several."""
    text: str = "text"
    """Field of the payload that holds a passage."""
    source: str = "source"
    """Field of the payload that names its document."""
    timeout_s: Annotated[int, Meta(ge=1)] = 5
    """Longest search."""


class Passages(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which passages, and how the model sees them."""

    index: Annotated[str, Meta(min_length=1)] | Lance | Qdrant
    """A file that `dispatch index` made, a table of LanceDB, or a collection of a Qdrant."""
    most: Annotated[int, Meta(ge=1, le=50)] = 5
    """How many passages at most."""
    max_chars: Annotated[int, Meta(ge=100)] = 8000
    """Of all of them together; what is over is left out."""
    prompt: str = ""
    """Put before the client's instructions, with `{passages}` in it. Left out: ours."""


class Retrieve(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="retrieve"):
    """Passages that suit the user's last message are put before the client's instructions, and `plan` is asked.

    Retrieval-augmented generation: Lewis et al. 2020, arXiv:2005.11401.
    """

    then: plans.Plan
    """Who answers; written as `plan`."""
    passages: Passages
    """Which passages: its keys stand here themselves."""
    embed: plans.Plan | None = None
    """Gives the vector of the question, by the model that the index was made with. Left out: passages are found by their words alone."""
    static: Folder | None = None
    """A model on disk in the place of that plan; written as `embed: {folder: PATH}`."""
    budget: Budget | None = None
    """What it may spend on a request."""

    @property
    def parts(self) -> tuple[plans.Plan, ...]:
        """Who answers, and who embeds."""
        return (self.then,) if self.embed is None else (self.then, self.embed)

    def is_end(self, place: int) -> bool:
        """Without a vector, words do."""
        return place == 0


def build(builder: Builder, form: object, path: str) -> Retrieve:
    """Build it. Raises `ConfigError`."""
    found = check_keys(form, ("plan", "embed", "budget", *Passages.__struct_fields__), path)
    if "plan" not in found:
        raise ConfigError(join(path, "plan"), "missing")
    given = {key: value for key, value in found.items() if key in Passages.__struct_fields__}
    passages = decode(given | {"index": _kind_said(given.get("index"))} if "index" in given else given, Passages, path)
    passages = msgspec.structs.replace(passages, prompt=passages.prompt or PROMPT)
    if "{passages}" not in passages.prompt:
        raise ConfigError(join(path, "prompt"), "{passages} is not in it")
    if not isinstance(passages.index, str) and "embed" not in found:
        raise ConfigError(join(path, "embed"), "missing: such an index is asked with vectors")
    secret = passages.index.api_key if isinstance(passages.index, Qdrant) else ""
    if secret and not secret.startswith(("env:", "file:")):
        # What stands there may be the key itself, and is not shown.
        raise ConfigError(join(join(path, "index"), "api_key"), "expected env:NAME or file:/path")
    then, budget, form, here = (
        builder.plan(found["plan"], join(path, "plan")),
        budget_of(found, path),
        found.get("embed"),
        join(path, "embed"),
    )
    if isinstance(form, dict) and "folder" in form:
        return Retrieve(then=then, passages=passages, static=decode(form, Folder, here), budget=budget)
    embed = builder.plan(form, here) if "embed" in found else None
    return Retrieve(then=then, passages=passages, embed=embed, budget=budget)


def _kind_said(index: object) -> object:
    """An index with the `kind` that its keys tell."""
    if not isinstance(index, dict) or "kind" in index:
        return index
    return {"kind": "lancedb" if "folder" in index else "qdrant", **index}
