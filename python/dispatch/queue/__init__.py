"""A queue instead of 429: requests that find no place wait for one, each key for its share, and only those that can be served in time.

One line per model and worker (`line`); which worker's turn it is stands on the board (`Turns`). A request that waits holds no place, no
task and no timer of its own; its client's leaving takes it out, its deadline ends it, and what cannot be served in time is refused when it
comes (`policy.admit`). Whoever comes while others wait joins them: a place that becomes free is not taken by who happens to ask then.

Nothing of this is touched while places are free.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.errors import DeadlineExceeded, Overloaded
from dispatch.policy.admit import Wait
from dispatch.queue.flows import CLASSES
from dispatch.queue.line import Line
from dispatch.queue.waiter import Waiter
from dispatch.replies import over_limit
from dispatch.routing import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.errors import DispatchError
    from dispatch.exchange import Call
    from dispatch.policy.admit import Shed
    from dispatch.queue.line import Desk, Served
    from dispatch.queue.waiter import Caller
    from dispatch.routing import Routing
    from dispatch.routing.bell import Bell

__all__ = ["CLASSES", "Line", "Queues", "Waiter"]


class Queues:
    """The queues of this worker, by the slot of their model."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lines: dict[int, Line] = {}
        self._bell: Bell | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._routing: Routing | None = None

    def start(self, bell: Bell | None) -> None:
        """Hear `bell` on this loop from now on. Without one only the coarse timer wakes those who wait."""
        self._bell = bell
        if bell is not None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(bell.fd, self._on_bell)

    def close(self) -> None:
        """Hear nothing any more."""
        for line in self._lines.values():
            line.close()
        bell, self._bell = self._bell, None
        if bell is not None and self._loop is not None:
            self._loop.remove_reader(bell.fd)
            bell.close()

    def use(self, models: Iterable[Served], routing: Routing) -> None:
        """Serve by these tables from here on."""
        self._routing = routing
        for model in models:
            line = self._lines.get(model.slot)
            if line is not None:
                line.use(model, routing)

    def look(self, now_ns: int) -> None:
        """The coarse timer's look at all who wait."""
        for line in [*self._lines.values()]:
            if len(line):
                line.look(now_ns)

    def _on_bell(self) -> None:
        assert self._bell is not None
        self._bell.silence()
        for slot, line in [*self._lines.items()]:
            if line.on_bell():
                # The next time others come first: models that wait for the same endpoint take turns.
                self._lines[slot] = self._lines.pop(slot)

    def enter(self, call: Call, error: DispatchError, model: Served, caller: Caller) -> DispatchError | None:
        """Let a call wait that found no place, or what is told to its client if it may not.

        Args:
            call: nothing of it was sent.
            error: what it is told where there is no queue; its `refusal` says why.
            model: of the call.
            caller: whose it is.
        """
        refusal, routing = error.refusal, self._routing
        assert refusal is not None
        assert routing is not None
        line = self._lines.get(model.slot)
        if line is not None and line.refused(call, refusal):
            return None
        if not model.queue.max:
            return error
        if refusal.whose == "queue":
            error = self._own_limit(call, model, caller, routing) or error
            refusal = error.refusal or refusal
        if refusal.whose == "key" and not model.queue.keys:
            return error
        if line is None:
            line = self._lines[model.slot] = Line(self._desk, model, routing)
        verdict = line.enter(Waiter(call, line, caller, monotonic_ns()), refusal)
        return None if isinstance(verdict, Wait) else _told(verdict, error)

    @staticmethod
    def _own_limit(call: Call, model: Served, caller: Caller, routing: Routing) -> DispatchError | None:
        """What a key is told that is at a limit of its own: others wait, but that is not what holds it back."""
        now_ns = monotonic_ns()
        ticket = routing.admit_next(model.slot, caller.slot, call.tokens_in, call.tokens_out, now_ns)
        if type(ticket) is not Refusal:
            ticket.withdraw(now_ns)
            return None
        return over_limit(call, ticket) if ticket.whose == "key" else None


def _told(verdict: Shed, error: DispatchError) -> DispatchError:
    if verdict.status == 504:
        return DeadlineExceeded(error.message)
    if verdict.status == 503 or (error.refusal is not None and error.refusal.why == "breaker"):
        return error
    return Overloaded(error.message, code=verdict.code, retry_after_s=verdict.retry_after_s)
