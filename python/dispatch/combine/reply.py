"""An answer as plans see it, and as its client gets it."""

from __future__ import annotations

from functools import cached_property
from time import time
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from dispatch.combine.tongues import TONGUES
from dispatch.dialects.form import Answer as Form
from dispatch.dialects.form import (
    CitationDelta,
    Finish,
    Refusal,
    RefusalDelta,
    SignatureDelta,
    Start,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolBegin,
    ToolDelta,
    ToolUse,
    UsageReport,
)
from dispatch.dialects.shape import MalformedAnswer
from dispatch.dialects.table import DIALECTS
from dispatch.dialects.target import Losses
from dispatch.errors import PlanFailed
from dispatch.translated import Translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatch.dialects.form import Choice, Event, Part
    from dispatch.exchange import Answer, Call

__all__ = ["Made", "Reply", "events_of"]


class Reply:
    """A whole answer of one part.

    Attributes:
        answer: as it came, in the dialect of `door`.
        call: the branch that got it.
        part: the place of the part among those of its plan.
    """

    def __init__(self, answer: Answer, call: Call, part: int) -> None:
        self.answer = answer
        self.call = call
        self.part = part

    @cached_property
    def form(self) -> Form:
        """What the answer means. Of one that cannot be read: nothing is in it."""
        try:
            return DIALECTS[self.call.door].read_answer(self.answer.body)
        except (MalformedAnswer, KeyError, TypeError, AttributeError, ValueError):
            return Form(id="", model="", choices=[])

    @cached_property
    def text(self) -> str:
        """The text of the first choice."""
        return "".join(part.text for part in self._parts() if isinstance(part, Text))

    @property
    def tools(self) -> list[ToolUse]:
        """The tools that the first choice calls."""
        return [part for part in self._parts() if isinstance(part, ToolUse)]

    @property
    def finish(self) -> str:
        """Why the first choice ended (`form.Finish.reason`)."""
        return self.form.choices[0].finish if self.form.choices else ""

    @property
    def is_refusal(self) -> bool:
        """The model declined, or a filter did."""
        return self.finish in ("refusal", "filter") or any(isinstance(part, Refusal) for part in self._parts())

    def mean_logprob(self) -> float | None:
        """The mean of the logarithms of the tokens' probabilities, nats; None where the answer does not tell."""
        if isinstance(self.answer, Translated) and self.answer.logprob is not None:
            return self.answer.logprob
        return self.form.choices[0].mean_logprob() if self.form.choices else None

    def discreet(self) -> Reply:
        """The same answer without how sure the model was of it, where the client has not asked for that."""
        if all(one.logprobs is None for one in self.form.choices):
            return self
        body = TONGUES[self.call.door].without_logprobs(msgspec.json.decode(self.answer.body))
        made = Reply(Made(self.answer, msgspec.json.encode(body)), self.call, self.part)
        made.form = replace(self.form, choices=[replace(one, logprobs=None) for one in self.form.choices])
        return made

    def saying(self, text: str) -> Reply:
        """The same answer with other words. Raises `PlanFailed`: it cannot be read."""
        return self._but([*(part for part in self._parts() if not isinstance(part, Text)), Text(text=text)])

    def calling(self, tools: list[ToolUse]) -> Reply:
        """The same answer with other calls of tools. Raises `PlanFailed`: it cannot be read."""
        return self._but([*(part for part in self._parts() if not isinstance(part, ToolUse)), *tools], "tool")

    def _but(self, parts: list[Part], finish: str = "") -> Reply:
        if not self.form.choices:
            raise PlanFailed("an answer without a choice cannot be changed")
        first = self.form.choices[0]
        changes = {"finish": finish, "raw_finish": ""} if finish else {}
        changed = replace(self.form, choices=[replace(first, parts=parts, logprobs=None, **changes)])
        made = Reply(self.answer, self.call, self.part)
        made.form = changed
        body = DIALECTS[self.call.door].write_answer(changed, int(time()), Losses(drops=True))
        made.answer = Made(self.answer, body)
        return made

    def _parts(self) -> list[Part]:
        return self.form.choices[0].parts if self.form.choices else []


class Made(Translated):
    """An answer that a plan made of others."""

    __slots__ = ()

    def __init__(self, like: Answer, body: bytes) -> None:
        super().__init__(like, body, like.usage or (0, 0, 0, 0), b"", like.flags)


def events_of(form: Form) -> Iterator[Event]:
    """The events of a stream that tells a whole answer."""
    yield Start(form.id, form.model, None, form.created)
    for choice in form.choices:
        yield from _choice(choice)
    if form.usage is not None:
        yield UsageReport(form.usage)


def _choice(choice: Choice) -> Iterator[Event]:
    at, calls = choice.index, 0
    for part in choice.parts:
        if isinstance(part, Text):
            yield TextDelta(part.text, at, choice.logprobs, part.signature)
            for citation in part.citations:
                yield CitationDelta(citation, at)
        elif isinstance(part, Thinking):
            if part.text:
                yield ThinkingDelta(part.text, at)
            if part.signature:
                yield SignatureDelta(part.signature, at, part.is_redacted)
        elif isinstance(part, ToolUse):
            yield ToolBegin(calls, part.id, part.name, at, part.signature, part.is_custom, part.space)
            yield ToolDelta(calls, part.arguments, at)
            calls += 1
        elif isinstance(part, Refusal):
            yield RefusalDelta(part.text, at)
    yield Finish(choice.finish or "stop", at, choice.stop_sequence, choice.raw_finish)
