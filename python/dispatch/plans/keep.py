"""Privacy over a whole plan: what one of its routes keeps private, none of its other parts sends outside.

A route with a private plan may stand in another plan: a step of a fallback or a cascade, one of those that vote, beside a mirror. The
others are asked the same, maybe before the route has looked at it. So the request is looked at before any of them begins; a private one
then finds only pools whose endpoints are all marked `offline_ok`. Models without such a route know nothing of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.config import Pool, Route
from dispatch.errors import PlanFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config import Plan as Config
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Plan, Start
    from dispatch.plans.route import Route as Router

__all__ = ["Guard", "Local", "keeps"]


def keeps(plan: Config, *, is_root: bool = True) -> bool:
    """Whether a route with a private plan stands in another plan. One that is the whole plan decides before anything else is asked."""
    if isinstance(plan, Pool):
        return False
    is_inner = isinstance(plan, Route) and plan.private >= 0 and not is_root
    return is_inner or any(keeps(part, is_root=False) for part in plan.parts)


class Guard:
    """Marks a request that one of the plan's routes would keep private."""

    __slots__ = ("_routes", "_start")

    def __init__(self, start: Start, routes: Sequence[Router]) -> None:
        self._start = start
        self._routes = routes

    def run(self, call: Call, failed: Failed) -> None:
        call.is_private = any(route.is_private(call) for route in self._routes)
        self._start(call, failed)


class Local:
    """A pool that reaches outside: of no use to a private request."""

    __slots__ = ("_pool", "_start")

    def __init__(self, plan: Plan, pool: Pool) -> None:
        self._start = plan.run
        self._pool = pool

    def run(self, call: Call, failed: Failed) -> None:
        if call.is_private:
            names = ", ".join(self._pool.endpoints)
            failed(call, PlanFailed(f"the request is private, and {names} may be outside"))
            return
        self._start(call, failed)
