"""Routes by meaning whose vectors a model of the configuration gives: it is asked before the choice, and only for so long.

Utterances get their vectors once, when the first request comes, by a call of its own that no client pays; a reload keeps them. Where there
is no vector, of the request or of the utterances, the choice is made by hashed words, and `x-dispatch-fallback: no_embedding` says so. What
is private is not embedded: it goes where it must go at once.
"""

from __future__ import annotations

import asyncio
from array import array
from dataclasses import replace
from functools import partial
from time import monotonic_ns
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import msgspec

from dispatch.combine.course import Course
from dispatch.combine.question import Question
from dispatch.combine.waiting import Whole
from dispatch.errors import DispatchError
from dispatch.exchange import Call
from dispatch.retrieve.embeddings import asked, vectors_of
from dispatch.routing import Vectors, read_question
from dispatch.wire.http1 import Scan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dispatch.config import Route as Config
    from dispatch.plans.base import Failed, Site, Start
    from dispatch.routing import Signals

__all__ = ["Asked"]

_NS = 1_000_000_000
_BATCH = 64
_AGAIN_NS = 30 * _NS
"""After utterances could not be embedded, when it is tried again."""
_LONGEST_NS = 60 * _NS
"""For a batch of utterances."""
_FAULTS = (DispatchError, KeyError, TypeError, IndexError, ValueError)


class Asked:
    """See the module.

    Args:
        choose: by signals and by what is known of the embedder: `{"embedded": True}`, or why it is not.
    """

    def __init__(self, config: Config, parts: Sequence[Start], site: Site, choose: Callable[[Call, Signals, dict[str, Any]], int]) -> None:
        assert config.embedder is not None
        self._embedder = config.embedder
        self._part = config.embed
        self._parts = parts
        self._site = replace(site, path=f"{site.path}.embedder")
        self._choose = choose
        self._routes = [route for route, texts in enumerate(config.utterances) for _ in texts]
        texts = tuple(text for texts in config.utterances for text in texts)
        ends = (link.endpoint for pool in site.pools[config.embed] for link in pool.links)
        key = (texts, *((end.name, end.provider, end.model, end.base_url) for end in ends))
        self._utterances = _KNOWN.setdefault(key, _Utterances(texts))

    @property
    def is_ready(self) -> bool:
        """Whether the utterances have vectors."""
        return self._utterances.rows is not None

    def run(self, call: Call, failed: Failed, body: bytes, signals: Signals) -> bool:
        """Ask for the vector of a request, choose, and start what was chosen. False: it has no text."""
        text = read_question(body)
        if not text:
            return False
        Course(call, failed, play=partial(self._play, signals, text), parts=self._parts, site=self._site, budget=None, doors=None).start()
        return True

    async def _play(self, signals: Signals, text: str, course: Course) -> None:
        rows = self._utterances.rows
        reason = ""
        if rows is None:
            self._utterances.learn(course.call, self._parts[self._part], self._failed)
            reason = "the utterances have no vectors yet"
        else:
            try:
                async with asyncio.timeout(self._embedder.timeout_s):
                    reply = await course.ask(self._part, Question("embeddings", asked(course.call.model, text)))
                at, cosine = rows.nearest(array("f", vectors_of(reply.answer.body)[0]).tobytes(), 1)[0]
                signals = signals.near(self._routes[at], cosine)
            except TimeoutError:
                reason = f"no vector within {self._embedder.timeout_s:g} s"
            except _FAULTS as error:
                reason = f"no vector: {type(error).__name__}"
        if reason:
            course.explain(reason)
            course.remark("no_embedding")
        await course.relay(self._choose(course.call, signals, {"fallback": reason} if reason else {"embedded": True}))

    def _failed(self) -> None:
        self._site.mishaps[self._site.model, self._site.path, "no_embedding"] += 1


class _Utterances:
    """The utterances of a route, and their vectors once they have them."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = texts
        self.rows: Vectors | None = None
        self._task: asyncio.Task[None] | None = None
        self._again_ns = 0

    def learn(self, call: Call, start: Start, failed: Callable[[], None]) -> None:
        """Have them embedded by `start`, unless that is under way or failed a moment ago."""
        now_ns = monotonic_ns()
        if self._task is not None or now_ns < self._again_ns:
            return
        self._again_ns = now_ns + _AGAIN_NS

        def over(task: asyncio.Task[None]) -> None:
            self._task = None
            if not task.cancelled() and task.exception() is not None:
                failed()

        self._task = asyncio.get_running_loop().create_task(self._embed(call.model, call.request_id, start))
        self._task.add_done_callback(over)

    async def _embed(self, model: str, request_id: bytes, start: Start) -> None:
        found: list[float] = []
        for at in range(0, len(self._texts), _BATCH):
            batch = self._texts[at : at + _BATCH]
            vectors = vectors_of(await _asked_alone(model, batch, request_id, start))
            if len(vectors) != len(batch):
                raise ValueError("another number of vectors than of texts")
            found += (value for vector in vectors for value in vector)
        self.rows = Vectors(array("f", found).tobytes(), len(found) // len(self._texts))


_KNOWN: WeakValueDictionary[tuple[object, ...], _Utterances] = WeakValueDictionary()
"""By texts and embedder: a generation that follows another finds what that one knows."""


async def _asked_alone(model: str, texts: Sequence[str], request_id: bytes, start: Start) -> bytes:
    """Ask below a root that is no client's call."""
    sink, now_ns = Whole(), monotonic_ns()
    body = Scan(msgspec.json.encode(asked(model, texts)))
    branch = Call(sink, model, "embeddings", body, now_ns, now_ns + _LONGEST_NS).branch(sink)
    branch.root.request_id = branch.request_id = request_id
    start(branch, sink.fail)
    return (await sink.future).body
