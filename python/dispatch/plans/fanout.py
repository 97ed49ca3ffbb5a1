"""A long input is cut, its pieces are worked on at the same time, and the results become one answer.

A piece that fails fails the request, and the others are cancelled; under `partial` it is marked in the answer instead. The client of a
stream that sends `x-dispatch-queue-events: 1` hears how many pieces are done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dispatch.combine.compare import unfenced
from dispatch.combine.course import Course
from dispatch.combine.pieces import merged, pieces_of
from dispatch.combine.question import filled
from dispatch.combine.reply import Reply
from dispatch.errors import BadRequest, DispatchError, PlanFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.combine.course import Outcome
    from dispatch.combine.pieces import Input
    from dispatch.combine.question import Question
    from dispatch.config import Fanout as Config
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Site, Start

__all__ = ["Fanout", "build"]


class Fanout:
    """See the module."""

    __slots__ = ("_config", "_manner", "_parts", "_site")

    def __init__(self, config: Config, parts: Sequence[Start], site: Site) -> None:
        self._config = config
        self._manner = config.manner
        self._parts = parts
        self._site = site

    def run(self, call: Call, failed: Failed) -> None:
        Course(call, failed, play=self._play, parts=self._parts, site=self._site, budget=self._config.budget).start()

    async def _play(self, course: Course) -> None:
        given = pieces_of(course.question, self._manner.split, self._manner.max_chars)
        count = len(given.pieces)
        if count > self._manner.most:
            raise BadRequest(f"the input has {count} pieces, at most {self._manner.most} are allowed", code="request_too_large", status=413)
        if not count:
            raise BadRequest("the user's last message has nothing to cut into pieces", param="messages")
        asks = self._asks(course.question, given)

        def enough(outcomes: list[Outcome | None]) -> bool:
            course.tell(f"{sum(one is not None for one in outcomes)} of {count} parts done")
            return not self._manner.partial and any(isinstance(one, DispatchError) for one in outcomes)

        outcomes = await course.ask_all(asks, enough, self._manner.at_once)
        failed = [number for number, one in enumerate(outcomes, 1) if not isinstance(one, Reply)]
        if failed and not self._manner.partial:
            error = next(one for one in outcomes if isinstance(one, DispatchError))
            raise PlanFailed(f"part {outcomes.index(error) + 1} of {count} failed: {error.message}") from error
        if failed:
            course.note(f"x-dispatch-failed-parts: {', '.join(map(str, failed))}")
        await self._join(course, given, outcomes)

    def _asks(self, question: Question, given: Input) -> list[tuple[int, Question | None]]:
        asks: list[tuple[int, Question | None]] = []
        for number, piece in enumerate(given.pieces, 1):
            words = {"instruction": given.instruction, "piece": piece.text, "number": str(number), "count": str(len(given.pieces))}
            text = question.text_part(filled(self._manner.prompt, **words).strip())
            asks.append((self._place(piece.kind), question.with_parts([text, *piece.parts])))
        return asks

    def _place(self, kind: str) -> int:
        kinds = self._config.kinds
        if not kinds:
            return 0
        if kind not in kinds:
            raise BadRequest(
                f"{kind} is not among what this model works on: {', '.join(kinds)}", code="unsupported_parameter", param="messages"
            )
        return kinds.index(kind)

    async def _join(self, course: Course, given: Input, outcomes: Sequence[Outcome | None]) -> None:
        manner, count = self._manner, len(outcomes)
        replies = [one for one in outcomes if isinstance(one, Reply)]
        texts = [one.text if isinstance(one, Reply) else f"[part {at} of {count} failed]" for at, one in enumerate(outcomes, 1)]
        if manner.join == "concatenate":
            course.deliver(replies[0].saying((manner.separator or "").join(texts)))
        elif manner.join == "json":
            course.deliver(replies[0].saying(msgspec.json.encode(merged([_json(reply) for reply in replies])).decode()))
        else:
            listed = "\n\n".join(f"Part {number}:\n{text}" for number, text in enumerate(texts, 1))
            prompt = filled(manner.reduce_prompt, instruction=given.instruction, answers=listed, count=str(count))
            await course.relay(len(self._config.work), course.question.with_parts([course.question.text_part(prompt)]))


def build(plan: Config, parts: Sequence[Start], site: Site) -> Fanout:
    """Make the plan."""
    return Fanout(plan, parts, site)


def _json(reply: Reply) -> object:
    try:
        return msgspec.json.decode(unfenced(reply.text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise PlanFailed(f"the result of a part is not JSON: {reply.text[:80]!r}") from None
