"""A small model first; the next one is asked where the answer is in doubt, or where there is none.

Answers that may be rejected are waited for whole; the last step's goes out as it comes. What fails is escalated as well. An answer in
doubt is still given if nothing better comes: the budget is spent, or the steps after it fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.combine.compare import leader, same_as
from dispatch.combine.course import Course
from dispatch.combine.purse import BudgetSpent
from dispatch.combine.reply import Reply
from dispatch.combine.verify import Verifier
from dispatch.errors import DispatchError
from dispatch.plans.fallback import may_go_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.combine.question import Question
    from dispatch.config import Cascade as Config
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Site, Start

__all__ = ["Cascade", "build"]


class Cascade:
    """See the module."""

    __slots__ = ("_config", "_parts", "_site", "_steps", "_verifier")

    def __init__(self, config: Config, parts: Sequence[Start], site: Site) -> None:
        self._config = config
        self._parts = parts
        self._site = site
        self._steps: list[list[int]] = []
        place = 0
        for step in config.steps:
            self._steps.append([*range(place, place + len(step))])
            place += len(step)
        doubt = config.escalate_if
        by_plan = None if config.verifier is None else place
        self._verifier = (
            None if doubt.verify is None else Verifier(doubt.verify, by_plan, f"models.{site.model}.{site.path}.escalate_if.verify")
        )

    def run(self, call: Call, failed: Failed) -> None:
        Course(call, failed, play=self._play, parts=self._parts, site=self._site, budget=self._config.budget).start()

    async def _play(self, course: Course) -> None:
        question = course.question
        best: Reply | None = None
        for step in self._steps[:-1]:
            try:
                best, doubt = await self._step(course, step, question)
            except BudgetSpent:
                break
            except DispatchError as error:
                if not may_go_on(course.call, error):
                    raise
                course.explain(f"step {self._steps.index(step)} failed: {error.message}")
                continue
            if not doubt:
                course.deliver(best)
                return
            course.explain(f"{best.call.endpoint} in doubt: {doubt}")
            if self._config.hand_on is not None:
                question = question.followed(best.text, self._config.hand_on)
        await self._last(course, question, best)

    async def _last(self, course: Course, question: Question, best: Reply | None) -> None:
        try:
            await course.relay(self._steps[-1][0], question)
        except DispatchError:
            # A doubtful answer is better than none, unless another one has begun.
            if best is None or course.call.committed:
                raise
            course.remark("doubtful")
            course.deliver(best)

    async def _step(self, course: Course, step: list[int], question: Question) -> tuple[Reply, str]:
        """The answer of a step, and what is in doubt about it; empty: it will do."""
        doubt = self._config.escalate_if
        asked = question.with_logprobs() if doubt.logprob_below is not None else question
        places = step * doubt.samples
        if len(places) == 1:
            reply = await course.ask(step[0], asked)
            return reply, await self._doubt(course, question, reply)
        if doubt.samples > 1:
            asked = asked.sampled(doubt.temperature)
        outcomes = await course.ask_all([(place, asked) for place in places])
        replies = [outcome for outcome in outcomes if isinstance(outcome, Reply)]
        keys = [same_as(reply, doubt.compare) for reply in replies]
        found = leader(keys, [1.0] * len(keys))
        if found is None:
            return replies[0], f"nothing to compare by {doubt.compare}"
        reply = replies[found[0]]
        agree = keys.count(keys[found[0]])
        # Those that gave no answer do not agree.
        if agree / len(places) < doubt.agreement:
            return reply, f"{agree} of {len(places)} agree"
        return reply, await self._doubt(course, question, reply)

    async def _doubt(self, course: Course, question: Question, reply: Reply) -> str:
        doubt = self._config.escalate_if
        if doubt.refusal and reply.is_refusal:
            return "refused"
        if doubt.cut and reply.finish == "length":
            return "cut"
        if not reply.tools and not reply.text.strip():
            return "empty"
        if doubt.logprob_below is not None and (unsure := _unsure(course, reply, doubt.logprob_below)):
            return unsure
        is_accepted = self._verifier is None or await self._verifier.accepts(course, question, reply)
        return "" if is_accepted else "not verified"


def _unsure(course: Course, reply: Reply, least: float) -> str:
    """Note how sure the model is; say why that is not enough."""
    mean = reply.mean_logprob()
    told = "no logprobs" if mean is None else f"mean logprob {mean:.4g}"
    course.details.setdefault("logprobs", []).append(f"{reply.call.endpoint} {told}, threshold {least:g}")
    if mean is None:
        return told
    return f"{told} is below {least:g}" if mean < least else ""


def build(plan: Config, parts: Sequence[Start], site: Site) -> Cascade:
    """Make the plan. Raises `ConfigError`: a verifier that cannot be loaded."""
    return Cascade(plan, parts, site)
