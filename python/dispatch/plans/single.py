"""One pool: what most models are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Start

__all__ = ["PLAN", "Single"]


class Single:
    """Ask one pool; its failure is the plan's."""

    __slots__ = ("_start",)

    def __init__(self, start: Start) -> None:
        self._start = start

    def run(self, call: Call, failed: Failed) -> None:
        self._start(call, failed)


PLAN = Single
