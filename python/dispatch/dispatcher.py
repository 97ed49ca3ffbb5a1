"""The path of a request, readable top to bottom: admit, run the plan, settle, report.

One `Dispatcher` per worker. It holds one *generation* of tables (models, keys, limits) made from one configuration; a
reload replaces the generation at once, and requests that are under way finish on the one they began with.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.decisions import Decisions
from dispatch.errors import DispatchError, Failure, ModelNotFound, Overloaded, UpstreamError
from dispatch.queue import Queues
from dispatch.replies import over_limit
from dispatch.routing import Refusal
from dispatch.transport.pool import SWEEP_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dispatch.exchange import Call
    from dispatch.generation import Generation, Model
    from dispatch.pools import Watched
    from dispatch.queue import Waiter
    from dispatch.routing.bell import Bell
    from dispatch.telemetry.renewals import Say

    Report = Callable[[Call, Failure, DispatchError | None], None]

__all__ = ["TICK_S", "Dispatcher"]

TICK_S = 0.1
"""How often deadlines and silences are looked at: well inside the 250 ms by which an error may come late."""

LATE_NS = 5_000_000
"""A look that comes later than this was held up, by work or because this worker stood still (stopped, swapped, moved to another host)."""

CATCH_UP = 12
"""Turns of the loop by which such a look is put off: twice what a try takes from its connection to its answer where all is at hand."""

TURN_S = 0.001
"""Between two of them, in which the kernel hands on what others have sent."""

SWEEP_TICKS = round(SWEEP_S / TICK_S)
_NS = 1_000_000_000


class Dispatcher:
    """See the module.

    Args:
        report: told of each finished request, for logs; None costs nothing.
        worker: the number of this one.
    """

    def __init__(self, report: Report | None = None, worker: int = 0) -> None:
        self.generation: Generation | None = None
        self.report = report
        self.say: Say | None = None
        """Writes a line about this worker; None: nobody reads."""
        self.ids_path: Path | None = None
        """Where ids of stored responses are remembered; None: in memory."""
        self.draining = False
        self._fail = self.fail
        self.keepalive_ns = 15 * _NS
        self.decisions = Decisions(worker)
        self.watch: set[Watched] = set()
        self.queues = Queues(self)
        self.under_way = 0
        self.held_bytes = 0
        self._ticks = 0
        self._due_ns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.Event | None = None

    def start(self, bell: Bell | None = None) -> None:
        """Start the coarse timer of this worker's loop, and hear `bell`, by which other workers wake those who wait here."""
        self.queues.start(bell)
        self._tick_later()

    def use(self, generation: Generation) -> None:
        """Take `generation` for all requests from here on."""
        old, self.generation = self.generation, generation
        self.keepalive_ns = int(generation.config.server.keepalive_s * _NS)
        self.decisions.use(generation.routing.slots, generation.noted)
        self.queues.use(generation.models.values(), generation.routing)
        if old is not None:
            for name, origin in old.origins.items():
                if generation.origins.get(name) is not origin:
                    origin.close()
            for model, kept in old.caches.items():
                if generation.caches.get(model) is not kept and kept.redis is not None:
                    kept.redis.close()

    def dispatch(self, call: Call, model: Model, key_slot: int) -> None:
        """Take a call in: its sink hears of it exactly once. Never raises for what the call contains."""
        generation = self.generation
        assert generation is not None
        ticket = generation.admit(model.slot, key_slot, call.tokens_in, call.tokens_out, call.received_ns, call.number)
        if type(ticket) is Refusal:
            self.turn_away(call, model.slot, key_slot, ticket)
            return
        call.ticket = ticket
        self.under_way += 1
        model.run(call, self._fail)

    def finish(self, call: Call, outcome: Failure, error: DispatchError | None = None) -> None:
        """Settle the key's part of a call that is over, and report it. A branch has no such part: its maker goes on."""
        if call.parent is not None:
            return
        ticket = call.ticket
        if ticket is not None:
            call.ticket = None
            usage = call.usage
            ticket.settle(outcome, call.answered_ns or monotonic_ns(), call.overhead_ns, usage[0], usage[1], usage[2])
            self.leave()
        elif call.place is not None:
            # It waited to the last, and held nothing.
            call.place.count(outcome, is_refusal=isinstance(error, Overloaded))
            call.place = None
            self.leave()
        if outcome or call.decision is not None:
            self.decisions.close(call, outcome, error)
        if self.report is not None:
            self.report(call, outcome, error)

    def hold(self, size: int) -> bool:
        """Take `size` bytes of this worker's buffers for an answer that is held. False: there is not so much left."""
        generation = self.generation
        assert generation is not None
        if self.held_bytes + size > generation.config.server.buffer_bytes:
            return False
        self.held_bytes += size
        return True

    def free(self, size: int) -> None:
        """Give back what `hold` took."""
        self.held_bytes -= size

    def leave(self) -> None:
        """One request less is under way."""
        self.under_way -= 1
        self.look_idle()

    def look_idle(self) -> None:
        """Tell who waits for it that nothing is under way any more, if that is so."""
        if self._idle is not None and not self.under_way:
            self._idle.set()

    def fail(self, call: Call, error: DispatchError) -> None:
        """There will be no answer: tell the sink, settle, report. One that found no place may wait for it instead."""
        if error.refusal is not None and not call.attempts:
            told = self._enter_queue(call, error)
            if told is None:
                return
            error = told
        usual = Failure.SERVER if error.status >= 500 else Failure.BAD_REQUEST
        outcome = error.failure if isinstance(error, UpstreamError) else _OUTCOMES.get(error.code, usual)
        call.body = None
        call.sink.on_error(call, error)
        self.finish(call, outcome, error)

    def turn_away(self, call: Call, model_slot: int, key_slot: int, refusal: Refusal) -> None:
        """A limit of its key or model lets a call not in, or others wait already: it waits as well, or is refused."""
        assert self.generation is not None
        told = self._enter_queue(call, over_limit(call, refusal))
        if told is not None:
            self.generation.routing.refuse(model_slot, key_slot)
            self.reject(call, told)

    def _enter_queue(self, call: Call, error: DispatchError) -> DispatchError | None:
        """Let a call wait that found no place. Returns what its client is told if it may not."""
        generation = self.generation
        assert generation is not None
        key = generation.key_named(call.key) or generation.nobody
        try:
            model, _ = generation.find(call.model, generation.nobody)
        except ModelNotFound:
            # A reload took it away since the call came.
            return error
        return self.queues.enter(call, error, model, key)

    def keep(self, waiter: Waiter) -> None:
        """A call waits from now on: it is under way, and holds nothing."""
        call = waiter.call
        if call.ticket is None:
            self.under_way += 1
        else:
            call.ticket.withdraw(waiter.joined_ns)
            call.ticket = None
        call.run = call.place = waiter
        self.watch.add(waiter)

    def reject(self, call: Call, error: DispatchError) -> None:
        """Refuse a call that was never taken in."""
        call.sink.on_error(call, error)
        outcome = _OUTCOMES.get(error.code, Failure.BAD_REQUEST)
        self.decisions.close(call, outcome, error)
        if self.report is not None:
            self.report(call, outcome, error)

    def cancel(self, call: Call) -> None:
        """The client has left: upstream is told at once, everything is settled."""
        call = call.root
        if call.run is not None:
            call.run.cancel()
        self.finish(call, Failure.CANCELLED)

    def _tick_later(self) -> None:
        self._due_ns = monotonic_ns() + int(TICK_S * _NS)
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        if self.watch and monotonic_ns() - self._due_ns > LATE_NS:
            self._catch_up(CATCH_UP)
        else:
            self._look()

    def _catch_up(self, turns: int) -> None:
        """What came while this worker stood still is heard first: the silence was its own, and nobody else's fault."""
        if turns:
            self._timer = asyncio.get_running_loop().call_later(TURN_S, self._catch_up, turns - 1)
        else:
            self._look()

    def _look(self) -> None:
        self._tick_later()
        now_ns = monotonic_ns()
        silent_since = now_ns - self.keepalive_ns
        for attempts in [*self.watch]:
            attempts.check(now_ns)
            attempts.keep_awake(now_ns, silent_since)
        self.queues.look(now_ns)
        self._ticks += 1
        if self._ticks % SWEEP_TICKS == 0 and self.generation is not None:
            for origin in self.generation.origins.values():
                origin.sweep(now_ns)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is under way. Returns whether that was so before the time was over."""
        self.draining = True
        if not self.under_way:
            return True
        self._idle = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Stop everything: what is under way is cancelled upstream."""
        if self._timer is not None:
            self._timer.cancel()
        for call in {attempts.as_call().root for attempts in [*self.watch]}:
            self.cancel(call)
        self.queues.close()
        if self.generation is not None:
            self.generation.remembered.write()
            for origin in self.generation.origins.values():
                origin.close()


_OUTCOMES = {
    "deadline_exceeded": Failure.DEADLINE,
    "rate_limit_exceeded": Failure.RATE_LIMITED,
    "queue_full": Failure.RATE_LIMITED,
    "no_endpoint_available": Failure.OVERLOADED,
}
"""How a request without an upstream failure is counted."""
