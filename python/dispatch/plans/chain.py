"""Steps in order, each asked with what the ones before it said. The last one's answer goes out as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.combine.course import Course
from dispatch.combine.question import filled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.combine.question import Question
    from dispatch.config import Chain as Config
    from dispatch.config.plans.chain import Words
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Site, Start

__all__ = ["Chain", "build"]


class Chain:
    """See the module."""

    __slots__ = ("_config", "_parts", "_site")

    def __init__(self, config: Config, parts: Sequence[Start], site: Site) -> None:
        self._config = config
        self._parts = parts
        self._site = site

    def run(self, call: Call, failed: Failed) -> None:
        Course(call, failed, play=self._play, parts=self._parts, site=self._site, budget=self._config.budget).start()

    async def _play(self, course: Course) -> None:
        known = {"input": course.question.last_words(), "conversation": course.question.conversation(), "last": ""}
        steps = self._config.words
        for place, words in enumerate(steps[:-1]):
            reply = await course.ask(place, _worded(course.question, words, known))
            known["last"] = reply.text
            if words.name:
                known[words.name] = reply.text
        await course.relay(len(steps) - 1, _worded(course.question, steps[-1], known))


def _worded(question: Question, words: Words, known: dict[str, str]) -> Question:
    if words.prompt is not None:
        question = question.saying(filled(words.prompt, **known))
    if words.system is not None:
        question = question.prefaced(filled(words.system, **known))
    return question


def build(plan: Config, parts: Sequence[Start], site: Site) -> Chain:
    """Make the plan."""
    return Chain(plan, parts, site)
