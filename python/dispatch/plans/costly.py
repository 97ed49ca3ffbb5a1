"""A fallback whose steps may cost something before they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.combine.course import Course
from dispatch.errors import DispatchError
from dispatch.plans.fallback import may_go_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Site, Start

__all__ = ["Costly"]


class Costly:
    """Ask `parts` in order until one answers; what those cost that failed is part of what the request costs."""

    __slots__ = ("_parts", "_site")

    def __init__(self, parts: Sequence[Start], site: Site) -> None:
        self._parts = parts
        self._site = site

    def run(self, call: Call, failed: Failed) -> None:
        Course(call, failed, play=self._play, parts=self._parts, site=self._site, budget=None, doors=None).start()

    async def _play(self, course: Course) -> None:
        for part in range(len(self._parts)):
            try:
                await course.relay(part)
            except DispatchError as error:
                if part == len(self._parts) - 1 or not may_go_on(course.call, error):
                    raise
            else:
                return
