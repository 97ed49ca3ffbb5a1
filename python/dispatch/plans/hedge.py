"""A late request is sent a second time, to another endpoint of its pool; what answers first is taken, the other is cancelled.

Only before anything of the answer has gone to the client, only once, and only

- while the first attempt is under way and older than `after`: a learned percentile, or seconds;
- within a share of the requests and of the money, which all workers keep together (`rust/src/limit/share.rs`);
- to another endpoint that has a place free now, by its limits and its breaker: a hedge waits in no queue and takes part in no panic.

The two sends are *branches* of the client's call: each is settled and counted as an attempt of its own, the client's key pays for the
answer that it got. What one branch fails of waits for the other.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.attempt import TIMER_GRAIN_S, Attempts
from dispatch.errors import Failure, UpstreamError
from dispatch.links import endpoint_lines
from dispatch.policy.cost import Rates
from dispatch.policy.hedging import Lateness
from dispatch.routing import DURATION_BOUNDS_S, FIRST_TOKEN_BOUNDS_S, HEDGES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config import Hedge as HedgeConfig
    from dispatch.errors import DispatchError
    from dispatch.exchange import Answer, Call
    from dispatch.plans.base import Failed
    from dispatch.pools import Pool
    from dispatch.routing import Hedges, Router

__all__ = ["PLAN", "Delay", "Hedge", "Shares"]

WON, LOST, FAILED, CANCELLED, NO_PLACE = (HEDGES.index(name) for name in ("won", "lost", "failed", "cancelled", "no_place"))

_NS = 1_000_000_000
LEARN_NS = _NS
"""How often the board's histograms are read."""


class Delay:
    """How long the first endpoint is waited for.

    Args:
        after: seconds, or `p95`.
        router: whose answers are learned from.
    """

    __slots__ = ("_fixed_s", "_learned", "_read_ns", "_router", "_stream_s", "_whole_s")

    def __init__(self, after: str | float, router: Router) -> None:
        self._fixed_s = None if isinstance(after, str) else after
        self._router = router
        self._learned = (Lateness(FIRST_TOKEN_BOUNDS_S), Lateness(DURATION_BOUNDS_S))
        self._read_ns = 0
        self._stream_s: float | None = None
        self._whole_s: float | None = None

    def seconds(self, *, stream: bool, now_ns: int) -> float | None:
        """Return the wait of a request that is sent now; None while it is not known."""
        if self._fixed_s is not None:
            return self._fixed_s
        if not self._read_ns or now_ns - self._read_ns >= LEARN_NS:
            self._read_ns = now_ns
            first, whole = self._router.times()
            self._stream_s = self._learned[0].learn(first, now_ns)
            self._whole_s = self._learned[1].learn(whole, now_ns)
        return self._stream_s if stream else self._whole_s


class Shares:
    """What hedges may cost: a share of the requests, and a share of the money that answers cost.

    Args:
        hedges: the core's.
        config: the caps.
        pool: whose endpoints have prices. Where none has one, tokens are counted.
    """

    __slots__ = ("_by_name", "_cost_share", "_hedges", "_millionths", "_rates")

    def __init__(self, hedges: Hedges, config: HedgeConfig, pool: Pool, rates: Mapping[str, Rates]) -> None:
        self._hedges = hedges
        self._millionths = round(config.max_share * 1_000_000)
        self._cost_share = config.max_cost_share
        free = Rates()
        own = [rates.get(link.name, free) for link in pool.links]
        if all(rate == free for rate in own):
            own = [Rates(1_000_000, 1_000_000, 1_000_000)] * len(own)
        self._rates = own
        self._by_name = {link.name: rate for link, rate in zip(pool.links, own, strict=True)}

    def asked(self) -> None:
        """A request was asked of the pool."""
        self._hedges.earn(self._millionths, 0)

    def answered(self, call: Call) -> None:
        """It was answered, by `call.endpoint`. By estimate, as hedges are: what a hedge would have cost is never known."""
        self._hedges.earn(0, int(_cost(call, self._by_name[call.endpoint]) * self._cost_share))

    def spend(self, call: Call, tried: int) -> int | None:
        """Spend what a hedge of `call` may cost at the dearest endpoint that is left; None if a cap is reached."""
        left = [rate for at, rate in enumerate(self._rates) if not tried >> at & 1]
        cost = max((_cost(call, rate) for rate in left), default=0)
        return cost if self._hedges.spend(cost) else None

    def unsent(self, cost: int) -> None:
        """The hedge found no place."""
        self._hedges.give_back(cost)
        self._hedges.count(NO_PLACE)

    def count(self, outcome: int) -> None:
        """Count how a hedge ended."""
        self._hedges.count(outcome)


def _cost(call: Call, rate: Rates) -> int:
    return call.tokens_in * rate.input + call.tokens_out * rate.output


class Hedge:
    """Ask a pool, and if it is late, another endpoint of it.

    Args:
        pool: asked first.
        spare: the same endpoints, for a single attempt that neither waits nor panics.
    """

    __slots__ = ("delay", "pool", "shares", "spare")

    def __init__(self, pool: Pool, spare: Pool, delay: Delay, shares: Shares) -> None:
        self.pool = pool
        self.spare = spare
        self.delay = delay
        self.shares = shares

    def run(self, call: Call, failed: Failed) -> None:
        _Run(self, call, failed).start()


class _Run:
    """One call: the sink of its branches, and what the call runs."""

    __slots__ = (
        "_after_s",
        "_before",
        "_branches",
        "_call",
        "_error",
        "_failed",
        "_first",
        "_hedge_error",
        "_is_paused",
        "_plan",
        "_second",
        "_timer",
        "_winner",
    )

    def __init__(self, plan: Hedge, call: Call, failed: Failed) -> None:
        self._plan = plan
        self._call = call
        self._failed = failed
        self._before = call.attempts
        # Both that were made; `_first` and `_second` are what is still under way of them.
        self._branches: list[Call] = []
        self._first: Call | None = None
        self._second: Call | None = None
        self._winner: Call | None = None
        self._error: DispatchError | None = None
        self._hedge_error: DispatchError | None = None
        self._after_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = False

    def start(self) -> None:
        plan, call = self._plan, self._call
        first = self._first = self._branch()
        call.run = self
        after_s = plan.delay.seconds(stream=call.stream, now_ns=first.received_ns)
        if after_s is not None and first.received_ns + after_s * _NS < call.deadline_ns:
            self._after_s = after_s
            self._wait(after_s)
        plan.pool.start(first, self._on_failed)
        if first.attempts:
            plan.shares.asked()
        if call.run is self and not self._before:
            call.overhead_ns = first.received_ns - call.received_ns + first.overhead_ns

    def _branch(self) -> Call:
        branch = self._call.branch(self)
        self._branches.append(branch)
        return branch

    def _wait(self, wait_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(wait_s + TIMER_GRAIN_S, self._on_late)

    def _on_late(self) -> None:
        """The wait is over, if the first attempt was sent as long ago as that."""
        self._timer = None
        tries = None if self._first is None else self._first.run
        if not isinstance(tries, Attempts):
            if tries is not None:
                # It still waits for its turn.
                self._wait(self._after_s)
            return
        if tries.lease is None or tries.count != 1:
            # It has failed: what follows is the business of retries.
            return
        left_s = self._after_s - (monotonic_ns() - tries.sent_ns) / _NS
        if left_s > 0:
            self._wait(left_s)
        else:
            self._hedge(tries)

    def _hedge(self, tries: Attempts) -> None:
        plan = self._plan
        cost = plan.shares.spend(self._call, tries.tried)
        if cost is None:
            return
        second = self._second = self._branch()
        hedge = Attempts(second, plan.spare, self._on_failed)
        hedge.tried |= tries.tried
        hedge.start()
        if second.attempts:
            # A retry of the first does not go where the hedge is.
            tries.tried |= hedge.tried
        else:
            plan.shares.unsent(cost)

    def on_answer(self, call: Call, answer: Answer) -> None:
        own = self._call
        self._win(call)
        own.lines = call.lines if own.attempts == call.attempts else endpoint_lines(call.endpoint, own.attempts)
        self._deliver(call)
        own.sink.on_answer(own, answer)
        self._plan.pool.finish(own, Failure.NONE)

    def on_chunk(self, call: Call, data: bytes) -> None:
        own = self._call
        if self._winner is None:
            # Nothing of a stream comes here before its first content.
            self._win(call)
            own.committed = True
            own.body = None
        own.sink.on_chunk(own, data)

    def on_end(self, call: Call, tail: bytes) -> None:
        own = self._call
        if self._winner is None:
            self._win(call)
        self._deliver(call)
        own.first_ns = call.first_ns
        own.sink.on_end(own, tail)
        self._plan.pool.finish(own, Failure.NONE)

    def on_silence(self, call: Call) -> None:
        # One of them keeps the client awake, not both.
        if call is (self._first or self._second):
            self._call.sink.on_silence(self._call)

    def on_error(self, call: Call, error: DispatchError) -> None:
        self._on_failed(call, error)

    def _win(self, call: Call) -> None:
        """`call` answers: the other is cancelled upstream, at once."""
        own = self._call
        self._winner = call
        self._stop_timer()
        first, second = self._first, self._second
        self._first, self._second = call, None
        if second is not None:
            self._plan.shares.count(WON if call is second else LOST)
        for other in (first, second):
            if other is not None and other is not call and other.run is not None:
                other.run.cancel()
        own.attempts = self._attempts()
        own.endpoint = call.endpoint
        own.answer = call.answer
        if self._is_paused and call.run is not None:
            call.run.pause()

    def _deliver(self, call: Call) -> None:
        own = self._call
        own.usage = call.usage
        own.is_estimated = call.is_estimated
        own.answered_ns = call.answered_ns
        own.run = None
        self._plan.shares.answered(own)

    def _attempts(self) -> int:
        return self._before + sum(branch.attempts for branch in self._branches)

    def _on_failed(self, call: Call, error: DispatchError) -> None:
        own = self._call
        if call is self._second:
            self._second = None
            if not call.attempts:
                # It found no place, and is as if it had not been.
                return
            self._plan.shares.count(FAILED)
            self._hedge_error = error
        else:
            self._first = None
            self._stop_timer()
            self._error = error
        own.attempts = self._attempts()
        own.endpoint = call.endpoint or own.endpoint
        if self._first is None and self._second is None:
            own.run = None
            self._failed(own, self._joined())

    def _joined(self) -> DispatchError:
        """The first one's error, with what the hedge failed of as its first cause."""
        error, other = self._error, self._hedge_error
        assert error is not None
        if other is None:
            return error
        if isinstance(error, UpstreamError) and isinstance(other, UpstreamError):
            error.may_fall_back = error.may_fall_back and other.may_fall_back
        last: BaseException = error
        while last.__cause__ is not None:
            last = last.__cause__
        last.__cause__ = other
        return error

    def cancel(self) -> None:
        self._stop_timer()
        if self._second is not None:
            self._plan.shares.count(CANCELLED)
        for branch in (self._first, self._second):
            if branch is not None and branch.run is not None:
                branch.run.cancel()
        self._first = self._second = None
        self._call.attempts = self._attempts()
        self._call.run = None

    def pause(self) -> None:
        self._is_paused = True
        for branch in (self._first, self._second):
            if branch is not None and branch.run is not None:
                branch.run.pause()

    def resume(self) -> None:
        self._is_paused = False
        for branch in (self._first, self._second):
            if branch is not None and branch.run is not None:
                branch.run.resume()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


PLAN = Hedge
