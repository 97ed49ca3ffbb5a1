"""Passages of documents are put before the client's instructions, and a plan is asked.

Nothing found, no vector for the question, or an index that cannot be asked: the plan is asked all the same, and `x-dispatch-fallback` says
so. `x-dispatch-sources` names the documents.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from dispatch.combine.course import Course
from dispatch.combine.question import Question, filled
from dispatch.config.plans.retrieve import Lance, Qdrant
from dispatch.config.secrets import read_secret
from dispatch.errors import ConfigError, DispatchError
from dispatch.retrieve import lance, qdrant
from dispatch.retrieve.embeddings import asked, vectors_of
from dispatch.retrieve.static import load
from dispatch.retrieve.store import Index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config import Retrieve as Config
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Site, Start
    from dispatch.retrieve.lance import Table
    from dispatch.retrieve.qdrant import Collection
    from dispatch.retrieve.static import Static
    from dispatch.retrieve.store import Passage

__all__ = ["Retrieve", "build"]


class Retrieve:
    """See the module."""

    __slots__ = ("_config", "_index", "_parts", "_site", "_static")

    def __init__(
        self, config: Config, parts: Sequence[Start], site: Site, index: Index | Collection | Table, static: Static | None
    ) -> None:
        self._config = config
        self._parts = parts
        self._site = site
        self._index = index
        self._static = static

    def run(self, call: Call, failed: Failed) -> None:
        Course(call, failed, play=self._play, parts=self._parts, site=self._site, budget=self._config.budget).start()

    async def _play(self, course: Course) -> None:
        rule, words = self._config.passages, course.question.last_words()
        vector = await self._vector(course, words)
        try:
            found = await anyio.to_thread.run_sync(self._index.search, words, vector, rule.most)
        except LookupError as error:
            course.explain(str(error))
            course.remark("no_index")
            found = None
        told = _told(found or (), rule.max_chars)
        if not told:
            if found is not None and (vector is not None or self._index.has_words):
                course.remark("no_passages")
            await course.relay(0)
            return
        course.note(f"x-dispatch-sources: {', '.join(dict.fromkeys(passage.source for passage in told))}")
        listed = "\n\n".join(f"[{passage.source}]\n{passage.text}" for passage in told)
        await course.relay(0, course.question.prefaced(filled(rule.prompt, passages=listed)))

    async def _vector(self, course: Course, words: str) -> list[float] | None:
        if self._static is not None:
            return self._static.vectors([words])[0]
        if self._config.embed is None:
            return None
        try:
            reply = await course.ask(1, Question("embeddings", asked(course.call.model, words)))
            vector = vectors_of(reply.answer.body)[0]
        except (DispatchError, KeyError, TypeError, IndexError, ValueError):
            vector = None
        if vector is None or (self._index.dims and len(vector) != self._index.dims):
            course.remark("no_embedding")
            return None
        return vector


def build(plan: Config, parts: Sequence[Start], site: Site) -> Retrieve:
    """Make the plan. Raises `ConfigError`: there is no index, or it has no vectors to compare with."""
    path = f"models.{site.model}.{site.path}"
    static = None if plan.static is None else load(plan.static.folder, f"{path}.embed.folder")
    here = f"{path}.index"
    if isinstance(plan.passages.index, Lance):
        return Retrieve(plan, parts, site, lance.connect(plan.passages.index, here), static)
    if isinstance(plan.passages.index, Qdrant):
        secret = read_secret(plan.passages.index.api_key, os.environ, f"{here}.api_key", f"model {site.model!r}")
        return Retrieve(plan, parts, site, qdrant.connect(plan.passages.index, secret, here), static)
    try:
        index = Index(Path(plan.passages.index))
    except ValueError as error:
        raise ConfigError(here, str(error)) from None
    if plan.embed is not None and not index.dims:
        raise ConfigError(f"{path}.embed", f"{plan.passages.index} has no vectors: make it with `dispatch index --embed`")
    if static is not None and static.dims != index.dims:
        reason = f"{static.folder} gives {static.dims} dimensions, and {plan.passages.index} was made with {index.dims}"
        raise ConfigError(f"{path}.embed.folder", reason)
    return Retrieve(plan, parts, site, index, static)


def _told(found: Sequence[Passage], max_chars: int) -> list[Passage]:
    told: list[Passage] = []
    size = 0
    for passage in found:
        size += len(passage.text)
        if told and size > max_chars:
            break
        told.append(passage)
    return told
