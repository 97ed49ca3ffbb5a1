"""One pool: what most models are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatch.plans.base import Failed, Start

__all__ = ["PLAN", "Single"]


class Single:
    """Ask one pool; its failure is the plan's."""

    __slots__ = ("run",)

    def __init__(self, start: Start) -> None:
        # Nothing stands between: most requests take this plan.
        self.run = start

    def after_first(self, failed: Failed) -> Failed:
        """What follows the failure of the first step: the plan's own."""
        return failed


PLAN = Single
