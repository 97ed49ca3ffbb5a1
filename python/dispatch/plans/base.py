"""What a plan is: something that runs a call and says when it cannot.

A plan never delivers by itself: the pool (or plan) that it starts hands the answer to the call's sink. So the plan that most
requests take costs one call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from dispatch.errors import DispatchError
from dispatch.exchange import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config import Defaults
    from dispatch.plans.hold import Room
    from dispatch.pools import Finish, Pool, Watch

__all__ = ["Failed", "Plan", "Site", "Start"]

Failed = Callable[[Call, DispatchError], None]
"""Told once when there will be no answer."""

Start = Callable[[Call, Failed], None]
"""Starts a pool or another plan on a call."""


class Plan(Protocol):
    """A way to answer a call."""

    def run(self, call: Call, failed: Failed) -> None:
        """Start. The answer goes to `call.sink`; `failed` is called once if there will be none."""


class Site:
    """Where a composite plan stands: what it may need beside its parts.

    Attributes:
        model: the name of the model that it belongs to.
        settings: that model's.
        path: its place in the model's plan, such as `fallback[1].route`.
        pools: of each part, the pools that it reaches, left to right.
        finish: settles a call that is over; branches are ignored.
        watch: what the worker's coarse timer looks at.
        room: the memory of this worker for answers that are held.
        max_bytes: most that may be held of one answer.
    """

    __slots__ = ("finish", "max_bytes", "model", "path", "pools", "room", "settings", "watch")

    def __init__(  # each is one fact, named at the call
        self,
        *,
        model: str,
        settings: Defaults,
        path: str,
        pools: Sequence[Sequence[Pool]],
        finish: Finish,
        watch: Watch,
        room: Room,
        max_bytes: int,
    ) -> None:
        self.model = model
        self.settings = settings
        self.path = path
        self.pools = pools
        self.finish = finish
        self.watch = watch
        self.room = room
        self.max_bytes = max_bytes
