"""The queue of one model in this worker.

Whoever joins stays until it is served, shed or gone. Three things make it look for a place: a bell (somebody in any worker gave something
back, and it is this worker's turn), the moment at which a limit said that there would be a place, and, should a bell be lost, the worker's
coarse timer. One that is tried and refused keeps its place.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Protocol

from dispatch.errors import NoEndpoint, Overloaded
from dispatch.policy.admit import Wait, admit, come_back_s
from dispatch.queue.flows import Flows
from dispatch.queue.rate import Rate
from dispatch.routing import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.config import Queue
    from dispatch.errors import DispatchError
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed
    from dispatch.policy.admit import Shed
    from dispatch.pools import Watched
    from dispatch.queue.flows import Ahead
    from dispatch.queue.waiter import Waiter
    from dispatch.routing import Routing

__all__ = ["Desk", "Line", "Served"]

_NS = 1_000_000_000
TIMER_GRAIN_S = 0.001
"""The loop's timers may be early by this."""
BROKEN_S = 2.0
"""Longest wait where breakers hold all endpoints back: they are broken, not busy. Long enough for a first look at whether they are back."""
HOPELESS = frozenset(("draining", "tried"))
"""Refusals that no settling and no time undoes."""


class Served(Protocol):
    """A model as waiting requests are served by it."""

    @property
    def name(self) -> str: ...
    @property
    def slot(self) -> int: ...
    @property
    def queue(self) -> Queue: ...
    @property
    def run(self) -> Callable[[Call, Failed], None]: ...


class Desk(Protocol):
    """The dispatcher, as queues need it."""

    watch: set[Watched]

    def keep(self, waiter: Waiter) -> None:
        """A call waits from now on: it is under way, and holds nothing."""

    def fail(self, call: Call, error: DispatchError) -> None:
        """There will be no answer."""


class Line:
    """See the module.

    Attributes:
        model, routing: what whoever joins now is served by.
        turns: of the model, on the board.
    """

    def __init__(self, desk: Desk, model: Served, routing: Routing) -> None:
        self._desk = desk
        self.model = model
        self.routing = routing
        self.turns = routing.turns(model.slot)
        self._flows: Flows[Waiter] = Flows(self.turns.start)
        self._rate = Rate()
        self._service_s = 0.0
        self._is_broken = False
        self._blocked = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_kick_due = False
        self._trying: Waiter | None = None

    def __len__(self) -> int:
        return len(self._flows)

    def use(self, model: Served, routing: Routing) -> None:
        """Serve by these tables from here on; those whose key is gone are served by the tables that they came under."""
        self.model = model
        self.routing = routing
        slots = {-1, *routing.keys.values()}
        for waiter in self._flows:
            if waiter.key_slot in slots:
                waiter.model = model
                waiter.routing = routing
        if len(self._flows):
            self._kick_soon()

    # Coming and going.

    def enter(self, waiter: Waiter, refusal: Refusal) -> Wait | Shed:
        """Let a request wait, if it can be served in time."""
        if not len(self._flows):
            self._begin(waiter)
        call = waiter.call
        ahead = self._flows.ahead(waiter.number, waiter.weight, self._flows.behind(waiter.number))
        position, eta_s = self._scaled(ahead, waiter.tokens)
        self._note(refusal)
        queue = self.model.queue
        is_full = self.turns.depth >= queue.max
        greedy = self._greediest(waiter) if is_full else None
        verdict = admit(
            can_help=refusal.why not in HOPELESS,
            retry_after_s=None if refusal.retry_after_ns < 0 else refusal.retry_after_ns / _NS,
            eta_s=eta_s,
            left_s=(call.deadline_ns - waiter.joined_ns) / _NS,
            service_s=self._service_s,
            wait_max_s=self.patience_s,
            is_full=is_full and greedy is None,
        )
        if isinstance(verdict, Wait):
            if greedy is not None:
                self.shed(greedy, "queue_full")
            waiter.refusal = refusal
            waiter.position, waiter.eta_ms = position, -1 if eta_s is None else round(eta_s * 1000)
            self._join(waiter)
        return verdict

    @property
    def patience_s(self) -> float:
        """Longest wait."""
        return min(self.model.queue.wait_s, BROKEN_S) if self._is_broken else self.model.queue.wait_s

    def _note(self, refusal: Refusal) -> None:
        """Learn from why a request got no place; that others wait tells nothing new."""
        if refusal.whose == "pool":
            self._is_broken = refusal.why == "breaker"

    def _begin(self, waiter: Waiter) -> None:
        """Nobody waits yet: what is known of the model's pace is a guess at how fast the queue will move."""
        in_flight, mean_s = self.routing.pace(self.model.name)
        self._service_s = mean_s
        guess = waiter.tokens * in_flight / mean_s if in_flight and mean_s else None
        self._rate.begin(self.turns.served, waiter.joined_ns, guess)

    def _greediest(self, waiter: Waiter) -> Waiter | None:
        """The last request of the flow that waits for most: it gives way to one of a flow that waits for less."""
        longest = self._flows.longest
        own = self._flows.behind(waiter.number).tokens + waiter.tokens
        if longest is None or longest.number == waiter.number or longest.tokens / longest.weight <= own / waiter.weight:
            return None
        return longest.last

    def _join(self, waiter: Waiter) -> None:
        self.turns.join(waiter.number)
        waiter.flow = self._flows.add(waiter, waiter.number, waiter.weight)
        self._desk.keep(waiter)
        self._show()
        # What was given back between the refusal and now has rung for nobody.
        if self.turns.is_next:
            self._kick_soon()

    def remove(self, waiter: Waiter) -> None:
        """It waits no more."""
        self._desk.watch.discard(waiter)
        waiter.call.run = None
        was_next = self.turns.is_next
        self._flows.remove(waiter, waiter.flow)
        self.turns.leave()
        self._show()
        if was_next:
            self.turns.ring()

    def end(self, waiter: Waiter, error: DispatchError) -> None:
        """It waits no more, and there is no answer."""
        self.remove(waiter)
        self._desk.fail(waiter.call, error)

    def shed(self, waiter: Waiter, code: str = "") -> None:
        """It has waited for as long as it may, or has to make room."""
        _, eta_s = self.reckon(waiter)
        name = waiter.call.model
        why = "queue" if waiter.refusal is None else waiter.refusal.why
        waited_s = (monotonic_ns() - waiter.joined_ns) / _NS
        text = f"no place for {name!r} within {waited_s:.1f} s in its queue: {why}"
        back_s = come_back_s(eta_s, self.patience_s)
        self.end(waiter, NoEndpoint(text, retry_after_s=back_s) if self._is_broken else Overloaded(text, code=code, retry_after_s=back_s))

    # Being served.

    def refused(self, call: Call, refusal: Refusal) -> bool:
        """Whether it was a try on behalf of the queue that found no place."""
        waiter = self._trying
        if waiter is None or waiter.call is not call:
            return False
        waiter.refusal = refusal
        self._note(refusal)
        return True

    def _kick_soon(self) -> None:
        """In the loop's next round, so that trying does not nest in what was called when a place was refused."""
        if not self._is_kick_due:
            self._is_kick_due = True
            asyncio.get_running_loop().call_soon(self.kick)

    def on_bell(self) -> bool:
        """Look for a place if the bell was for this model, or for a key that was at a limit of its own. Returns whether it was."""
        is_rung = self.turns.take_ring()
        if self._blocked:
            self._flows.unblock_all()
        elif not is_rung:
            return False
        self.kick()
        return True

    def kick(self) -> None:
        """Serve who is next, for as long as there are places."""
        self._is_kick_due = False
        if self._trying is not None:
            return
        self._flows.unblock(monotonic_ns())
        while True:
            self._show()
            flow = self._flows.first()
            if not self.turns.is_next:
                # There may be a place, and it is another worker's turn.
                self.turns.ring()
                return
            if flow is None or not self._try(flow.first):
                self._wait_for_blocked()
                return

    def look(self, now_ns: int) -> None:
        """The coarse timer: a bell may have been lost. Learns how fast the queue moves."""
        self._rate.observe(self.turns.served, now_ns)
        self._flows.unblock(now_ns)
        self._flows.unblock_all()
        self._show()
        if self.turns.is_next:
            self.kick()

    def _try(self, waiter: Waiter) -> bool:
        """Let the request whose turn it is take a place. False: there is none for anybody now."""
        call = waiter.call
        now_ns = monotonic_ns()
        asker = call.asker or waiter.key_slot
        ticket = waiter.routing.admit_next(waiter.model.slot, asker, call.tokens_in, call.tokens_out, now_ns, call.number)
        if type(ticket) is Refusal:
            waiter.refusal = ticket
            if ticket.whose == "key":
                # Only this flow has to wait for it.
                self._flows.block(waiter.flow, now_ns + ticket.retry_after_ns if ticket.retry_after_ns >= 0 else -1)
                return True
            self._wake_in(ticket.retry_after_ns)
            return False
        call.ticket = ticket
        call.run = None
        waiter.begin_try()
        self._trying = waiter
        try:
            waiter.model.run(call, self._desk.fail)
        finally:
            self._trying = None
        if waiter.refusal is None:
            self._on_served(waiter, now_ns)
            return True
        ticket.withdraw(now_ns)
        call.ticket = None
        call.run = waiter
        self._wake_in(waiter.refusal.retry_after_ns)
        return False

    def _on_served(self, waiter: Waiter, now_ns: int) -> None:
        call, flow = waiter.call, waiter.flow
        self._is_broken = False
        self._desk.watch.discard(waiter)
        self._flows.remove(waiter, flow)
        self.turns.leave()
        self.turns.serve(flow.number, waiter.cost, flow.weight, max(0, now_ns - waiter.joined_ns))
        call.place = None
        # The attempt took the time since the request came for our own.
        call.overhead_ns = max(0, call.overhead_ns - (now_ns - waiter.joined_ns))

    def _show(self) -> None:
        blocked = self._flows.blocked
        if blocked != self._blocked:
            self.turns.block(blocked - self._blocked)
            self._blocked = blocked
        flow = self._flows.first()
        if flow is None:
            self.turns.hide()
        else:
            self.turns.show(flow.number, flow.first.joined_ns, self._flows.is_one)

    def _wake_in(self, after_ns: int) -> None:
        """Look again when a limit says that there is a place; without such a time, a bell will ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if after_ns >= 0:
            self._timer = asyncio.get_running_loop().call_later(after_ns / _NS + TIMER_GRAIN_S, self.kick)

    def _wait_for_blocked(self) -> None:
        until_ns = self._flows.blocked_until_ns
        if until_ns and self._flows.first() is None:
            self._wake_in(max(0, until_ns - monotonic_ns()))

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    # When.

    def reckon(self, waiter: Waiter) -> tuple[int, float | None]:
        """Where a request stands, and the seconds until it is served, if nobody else comes; None while nothing is learned."""
        flow = waiter.flow
        return self._scaled(self._flows.ahead(flow.number, flow.weight, self._flows.before(waiter, flow)), waiter.tokens)

    def _scaled(self, ahead: Ahead, tokens: int) -> tuple[int, float | None]:
        """What waits in other workers is taken to be like what waits here."""
        own = len(self._flows)
        factor = max(1.0, self.turns.depth / own) if own else 1.0
        return 1 + round(ahead.requests * factor), self._rate.seconds(ahead.tokens * factor + tokens)
