"""Several models are asked at once, and their answers become one: by a vote, a judge, a writer, or the mean.

Those that fail are left out, as long as `least` answers come. A vote that nobody can turn any more cancels the rest. A judge that answers
nonsense, and a vote of answers that cannot be compared, fall back to the first answer, and `x-dispatch-fallback` says so.
"""

from __future__ import annotations

import re
from math import exp
from typing import TYPE_CHECKING

from dispatch.combine.compare import leader, merged_calls, merged_fields, same_as
from dispatch.combine.course import Course
from dispatch.combine.mean import VECTOR_DOORS, mean_of
from dispatch.combine.purse import BudgetSpent
from dispatch.combine.question import DOORS, filled
from dispatch.combine.reply import Reply
from dispatch.errors import DispatchError, PlanFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from dispatch.combine.course import Outcome
    from dispatch.config import Ensemble as Config
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Site, Start

__all__ = ["Ensemble", "build"]

_BEST = re.compile(r"\[\[\s*(\d+)\s*\]\]|^\W*(\d+)\W*$")
_VERDICT_TOKENS = 32


class Ensemble:
    """See the module."""

    __slots__ = ("_config", "_doors", "_parts", "_play", "_rule", "_site")

    def __init__(self, config: Config, parts: Sequence[Start], site: Site) -> None:
        self._config = config
        self._rule = config.rule
        self._parts = parts
        self._site = site
        ways: Mapping[str, Callable[[Course], Awaitable[None]]] = {
            "vote": self._vote,
            "self_consistency": self._vote,
            "judge": self._judge,
            "fuse": self._fuse,
            "mixture": self._fuse,
            "mean": self._mean,
        }
        self._play = ways[self._rule.by]
        self._doors = VECTOR_DOORS if self._rule.by == "mean" else DOORS

    def run(self, call: Call, failed: Failed) -> None:
        budget = self._config.budget
        Course(call, failed, play=self._play, parts=self._parts, site=self._site, budget=budget, doors=self._doors).start()

    async def _vote(self, course: Course) -> None:
        question = course.question
        places = [*range(len(self._config.of))]
        if self._rule.by == "self_consistency":
            places *= self._rule.samples
            question = question.sampled(self._rule.temperature)
        is_weighed = self._rule.weights == "logprob"
        if is_weighed:
            question = question.with_logprobs()
        merges = self._rule.compare == "json"

        def enough(outcomes: list[Outcome | None]) -> bool:
            # How sure a model is, and what the fields of an answer are, shows only when it comes.
            return not (is_weighed or merges) and self._is_settled(outcomes)

        outcomes = await course.ask_all([(place, question) for place in places], enough)
        replies = self._replies(outcomes)
        keys, weights = self._votes(replies)
        course.details["votes"] = [_vote_told(one, weight, is_weighed=is_weighed) for one, weight in zip(replies, weights, strict=True)]
        found = leader(keys, weights)
        if found is None:
            course.remark("empty_vote")
        course.deliver(_merged(replies, weights, merges=merges) or replies[0 if found is None else found[0]])

    def _votes(self, replies: Sequence[Reply]) -> tuple[list[str | None], list[float]]:
        keys = [same_as(reply, self._rule.compare) for reply in replies]
        return keys, [self._weight(reply) for reply in replies]

    def _weight(self, reply: Reply) -> float:
        weights = self._rule.weights
        if weights == "logprob":
            mean = reply.mean_logprob()
            # One that does not tell has the vote of one that is even with itself.
            return 0.5 if mean is None else exp(mean)
        return 1.0 if weights is None or self._rule.by == "self_consistency" else float(weights[reply.part])

    def _is_settled(self, outcomes: list[Outcome | None]) -> bool:
        """Whether those that are still out cannot change who leads."""
        if sum(isinstance(one, Reply) for one in outcomes) < self._rule.least:
            return False
        weights = self._rule.weights
        votes: dict[str, float] = {}
        left = 0.0
        for place, one in enumerate(outcomes):
            if isinstance(one, Reply):
                key = same_as(one, self._rule.compare)
                if key is not None:
                    votes[key] = votes.get(key, 0.0) + self._weight(one)
            elif one is None:
                left += float(weights[place]) if isinstance(weights, tuple) else 1.0
        first, second = [*sorted(votes.values(), reverse=True), 0.0, 0.0][:2]
        return first > second + left

    async def _judge(self, course: Course) -> None:
        replies = self._replies(await course.ask_all([(place, None) for place in range(len(self._config.of))]))
        if len(replies) == 1:
            course.deliver(replies[0])
            return
        said = course.question.conversation()
        # Judges prefer a place in the list (Zheng et al. 2023, arXiv:2306.05685): it is asked in both orders.
        orders = [[*range(len(replies))], [*reversed(range(len(replies)))]]
        prompts = [filled(self._rule.prompt, question=said, answers=_listed([replies[place] for place in order])) for order in orders]
        judge = len(self._config.of)
        try:
            verdicts = await course.ask_all([(judge, course.question.anew(prompt, _VERDICT_TOKENS)) for prompt in prompts])
        except DispatchError:
            course.remark("no_judge")
            course.deliver(replies[0])
            return
        chosen = [_chosen(verdict, order) for verdict, order in zip(verdicts, orders, strict=True)]
        named = [place for place in chosen if place is not None]
        if not named:
            course.remark("judge_nonsense")
        elif len({*named}) > 1 or len(named) == 1:
            course.remark("judge_undecided")
        course.deliver(replies[min(named, default=0)])

    async def _fuse(self, course: Course) -> None:
        question = course.question
        replies: list[Reply] = []
        for _ in range(self._rule.layers if self._rule.by == "mixture" else 1):
            try:
                replies = self._replies(await course.ask_all([(place, question) for place in range(len(self._config.of))]))
            except BudgetSpent:
                if not replies:
                    raise
                break
            question = course.question.prefaced(filled(self._rule.prompt, answers=_listed(replies)))
        try:
            await course.relay(len(self._config.of), question)
        except DispatchError:
            if course.call.committed:
                raise
            course.remark("no_writer")
            course.deliver(replies[0])

    async def _mean(self, course: Course) -> None:
        replies = self._replies(await course.ask_all([(place, None) for place in range(len(self._config.of))]))
        bodies, weights = [reply.answer.body for reply in replies], [self._weight(reply) for reply in replies]
        course.deliver_made(replies[0], mean_of(bodies, weights, course.call.door))

    def _replies(self, outcomes: Sequence[Outcome | None]) -> list[Reply]:
        replies = [outcome for outcome in outcomes if isinstance(outcome, Reply)]
        if len(replies) < self._rule.least:
            error = next((outcome for outcome in outcomes if isinstance(outcome, DispatchError)), None)
            raise PlanFailed(f"{len(replies)} of {len(outcomes)} models answered, {self._rule.least} are needed") from error
        return replies


def build(plan: Config, parts: Sequence[Start], site: Site) -> Ensemble:
    """Make the plan."""
    return Ensemble(plan, parts, site)


def _merged(replies: Sequence[Reply], weights: Sequence[float], *, merges: bool) -> Reply | None:
    """The answer of what most say of each call of a tool, or of each field of JSON where that is compared; None: of neither."""
    if any(reply.tools for reply in replies):
        calls = merged_calls([reply.tools for reply in replies], weights)
        maker = next((reply for reply in replies if any(tool is calls[0] for tool in reply.tools)), None) if calls else None
        return None if maker is None else maker if len(calls) == len(maker.tools) else maker.calling(calls)
    text = merged_fields([reply.text for reply in replies], weights) if merges else None
    return None if text is None else replies[0].saying(text)


def _vote_told(reply: Reply, weight: float, *, is_weighed: bool) -> str:
    """For people: who has which vote, and why where it goes by logprobs."""
    mean = reply.mean_logprob() if is_weighed else None
    why = "" if not is_weighed else ", no logprobs" if mean is None else f", mean logprob {mean:.4g}"
    return f"part {reply.part} {reply.call.endpoint} {weight:.4g}{why}"


def _listed(replies: Sequence[Reply]) -> str:
    return "\n\n".join(f"Answer {number}:\n{reply.text}" for number, reply in enumerate(replies, 1))


def _chosen(verdict: Outcome | None, order: Sequence[int]) -> int | None:
    found = _BEST.search(verdict.text.strip()) if isinstance(verdict, Reply) else None
    if found is None:
        return None
    number = int(found[1] or found[2])
    return order[number - 1] if 1 <= number <= len(order) else None
