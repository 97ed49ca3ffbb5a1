"""What a plan is: something that runs a call and says when it cannot.

A plan never delivers by itself: the pool (or plan) that it starts hands the answer to the call's sink. So the plan that most
requests take costs one call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dispatch.errors import DispatchError
from dispatch.exchange import Call

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from dispatch.config import Defaults
    from dispatch.decisions import Decisions, Step
    from dispatch.plans.hold import Room
    from dispatch.plans.live import Live
    from dispatch.plans.remembered import Remembered
    from dispatch.plans.route import Route
    from dispatch.pools import Finish, Pool, Watch
    from dispatch.routing import Pacer

__all__ = ["Failed", "Plan", "Replayed", "Site", "Start"]

Failed = Callable[[Call, DispatchError], None]
"""Told once when there will be no answer."""

Start = Callable[[Call, Failed], None]
"""Starts a pool or another plan on a call."""


class Replayed(Protocol):
    """A plan whose choice can be made again from its record."""

    made_ns: int
    """When it was built, on the monotonic clock."""

    def replay(self, step: Step) -> bool:
        """Whether a recorded choice comes out the same."""


class Paced(Protocol):
    """Makes pacers."""

    def __call__(self, path: str, rate: float, window: float, *, is_share: bool) -> Pacer:
        """Make that of the route at `path`; see `_core.Pacer`."""


class Plan(Protocol):
    """A way to answer a call."""

    def run(self, call: Call, failed: Failed) -> None:
        """Start. The answer goes to `call.sink`; `failed` is called once if there will be none."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Site:
    """Where a composite plan stands: what it may need beside its parts."""

    model: str
    """The name of the model that it belongs to."""
    settings: Defaults
    """That model's."""
    path: str
    """Its place in the model's plan, such as `fallback[1].route`."""
    pools: Sequence[Sequence[Pool]]
    """Of each part, the pools that it reaches, left to right."""
    finish: Finish
    """Settles a call that is over; branches are ignored."""
    watch: Watch
    """What the worker's coarse timer looks at."""
    room: Room
    """The memory of this worker for answers that are held."""
    max_bytes: int
    """Most that may be held of one answer."""
    decisions: Decisions
    """The records of this worker: `of(call).steps.append(...)`."""
    live: Live
    """What the board says of parts, at most a second old."""
    routes: dict[str, Route]
    """The routes of this generation, by model and path; those that are built register here."""
    replayed: dict[str, Replayed]
    """The plans of this generation whose choices can be made again; those that are built register here."""
    remembered: Remembered
    """What feedback taught routes."""
    pacer: Paced
    """Makes the pacer of a route's budget, on the board."""
    mishaps: Counter[tuple[str, str, str]]
    """What failed beside the models, by model, path and a word for it; in this worker, over reloads."""
