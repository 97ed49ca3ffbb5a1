"""The tries of one request inside one pool: the only retry loop.

It reads as the policy reads, but it is called back instead of awaited: acquire, send, and then one of `on_answer`, `on_head`
or `on_failure`. Nothing lies between `acquire` and `send` that could be cancelled, so a lease cannot leak; it is settled
before any pause. Fallback to another pool is a plan's business, reached by `on_failed`.
"""

from __future__ import annotations

import asyncio
from math import ceil
from random import getrandbits, random
from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.allowance import Allowance
from dispatch.errors import BadRequest, DeadlineExceeded, DispatchError, Failure
from dispatch.links import learn
from dispatch.patience import Patient
from dispatch.policy.retry import OF_ACCOUNT, REACH, Again, Reach, backoff_s, judge, may_fall_back, place_wait_s
from dispatch.relay import Relay
from dispatch.replies import refused
from dispatch.routing import MASK_BITS, Lease, Refusal
from dispatch.translating import Translating
from dispatch.wire.http1 import ENCODED, GOOD, NEAR_LIMIT
from dispatch.wire.rope import InPieces

if TYPE_CHECKING:
    from dispatch.errors import UpstreamError
    from dispatch.exchange import Answer, Call
    from dispatch.links import Link
    from dispatch.plans.base import Failed
    from dispatch.pools import Pool

__all__ = ["Attempts"]

_NS = 1_000_000_000
NO_USAGE = (0, 0, 0, 0)
TIMER_GRAIN_S = 0.001
"""The loop's timers may be early by this."""


class Attempts(Patient):
    """See the module. Ends by delivering to the call's sink, or by `on_failed`."""

    error: UpstreamError | None = None
    link: Link
    _asked = 0
    _barred = 0
    _is_hurried = False
    _refused_ns = 0
    _again: asyncio.TimerHandle | Allowance | None = None

    def __init__(self, call: Call, pool: Pool, on_failed: Failed) -> None:
        super().__init__(call, pool)
        self.on_failed = on_failed
        if call.home:
            self._bind(call.home)

    def _bind(self, home: int) -> None:
        """Ask one account only: it has what the request names."""
        pool = self.pool
        others = pool.others.get(home, -1)
        self.bar(others if pool.all & ~(self.tried | others) else -1)

    def bar(self, positions: int) -> None:
        """Leave these out, a bit mask: they cannot take what the call asks for."""
        self.tried |= positions
        self._barred |= positions

    def start(self) -> None:
        """Make the first try."""
        call = self.call
        if self.tried == -1:
            reason = f"no endpoint of {self.pool.name!r} offers {call.door}"
            self.on_failed(call, BadRequest(reason, code="unsupported_parameter"))
            return
        call.run = self
        self.pool.watch.add(self)
        # A first try comes at once after its arrival: the clock need not be read again.
        self._try(call.received_ns if not call.attempts and call.place is None else monotonic_ns())

    def go_on(self, after_s: float, error: UpstreamError, tried: int, count: int) -> None:
        """Make further tries after `count` that others made; `tried` are theirs, the last ended in `error`."""
        self.error = error
        self.tried |= tried
        self.count = count
        self.call.run = self
        self.pool.watch.add(self)
        self._is_hurried = not after_s
        self._retry_in(after_s)

    def _retry(self) -> None:
        self._try(monotonic_ns())

    def _try(self, now_ns: int) -> None:
        call = self.call
        pool = self.pool
        taken = pool.acquire(self.tried, call.tokens_in, call.tokens_out, now_ns, getrandbits(64), call.affinity, call.number)
        # Tries beyond their number are for those that were not asked, and for nobody else.
        if type(taken) is Refusal and self.error is not None and self.count < pool.retry.attempts:
            # Nothing is free that was not tried: what was tried may do, but not without its wait.
            self._asked |= self.tried
            self.tried = pool.cannot[call.door] | self._barred
            if self._is_hurried:
                self._is_hurried = False
                self._retry_in(backoff_s(self.count, random(), pool.retry))
                return
            taken = pool.acquire(self.tried, call.tokens_in, call.tokens_out, now_ns, getrandbits(64), call.affinity, call.number)
        if type(taken) is not Lease:
            self.on_refusal(taken)
            return
        self.lease = taken
        if self.count:
            taken.mark_retry()
        at = taken.position
        self.tried |= 1 << (at & MASK_BITS)
        link = self.link = pool.links[at]
        self.count += 1
        call.attempts += 1
        try:
            request = link.request(call)
        except DispatchError as error:
            taken.settle(Failure.CANCELLED, now_ns, 0, 0, 0, 0)
            self.lease = None
            self._give_up(error)
            return
        if pool.book is not None:
            pool.book.begin(self)
        self.waiting = (link.origin.send_pieces if type(request) is InPieces else link.origin.send)(request, self)
        self.sent_ns = sent_ns = monotonic_ns()
        if call.attempts == 1:
            call.overhead_ns = sent_ns - call.received_ns

    def take_over(self, lease: Lease, link: Link, sent_ns: int) -> None:
        """Take over a first try that was sent elsewhere."""
        self.call.run = self
        self.call.attempts = self.count = 1
        self.lease = lease
        self.link = link
        self.tried |= 1 << (lease.position & MASK_BITS)
        self.sent_ns = sent_ns

    def on_refusal(self, refusal: Refusal) -> None:
        """No place now. A retry that is due waits for one while there is time; a first try does not."""
        error = self.error
        if error is None:
            self._give_up(refused(self.pool.name, refusal))
            return
        now_ns = monotonic_ns()
        self._refused_ns = self._refused_ns or now_ns
        wait_s, since_s = refusal.retry_after_ns / _NS, (now_ns - self._refused_ns) / _NS
        wait_s = place_wait_s(wait_s, refusal.why, since_s=since_s, draw=random(), retry=self.pool.retry)
        if 0 <= wait_s < (self.call.deadline_ns - now_ns) / _NS:
            self._retry_in(wait_s)
        else:
            self._give_up(error)

    def _retry_in(self, wait_s: float) -> None:
        self._again = asyncio.get_running_loop().call_later(wait_s + TIMER_GRAIN_S if wait_s else 0, self._retry)

    def on_answer(self, answer: Answer) -> None:
        """A whole answer: deliver it, or learn from its status what may be done."""
        now_ns = monotonic_ns()
        link = self.link
        lease = self.lease
        if lease is None:
            return
        self.connection = None
        if link.translations:
            if answer.flags & NEAR_LIMIT:
                learn(lease, answer, now_ns)
            answer = link.translated(self.call, answer)
        if not answer.flags & GOOD and not self._is_good(answer, now_ns):
            self._on_bad_answer(answer)
            return
        usage = answer.usage or NO_USAGE
        lease.settle(0, now_ns, usage[0], usage[1], usage[2], 0)
        self.lease = None
        pool = self.pool
        if pool.book is not None:
            pool.book(self, Failure.NONE, usage, now_ns)
        pool.watch.discard(self)
        call = self.call
        call.endpoint = link.name
        call.lines = link.lines(call.attempts)
        call.usage = usage
        call.answered_ns = now_ns
        call.run = None
        call.sink.on_answer(call, answer)
        pool.finish(call, Failure.NONE)

    def _is_good(self, answer: Answer, now_ns: int) -> bool:
        if answer.flags & NEAR_LIMIT and self.lease is not None:
            learn(self.lease, answer, now_ns)
        return self.link.is_good(answer, self.call.door)

    def _on_bad_answer(self, answer: Answer) -> None:
        plain = self.link.decoded(answer)
        if plain is not None and plain is not answer and self.link.is_good(plain, self.call.door):
            self.on_answer(plain)
            return
        answer = plain or answer
        failure, reason, after_s = self.link.explain(answer)
        self.fail(failure, reason, answer, after_s=after_s)

    def on_head(self, answer: Answer) -> None:
        """A stream begins."""
        connection = self.connection
        if connection is None:
            return
        # A stream in a content coding is not decoded on its way: identity was asked for.
        if not self.call.stream or not 200 <= answer.status < 300 or answer.flags & ENCODED:
            connection.cancel()
            self.connection = None
            failure, reason, after_s = self.link.explain(answer)
            if not self.call.stream:
                reason += ": a stream that was not asked for"
            self.fail(failure, reason, after_s=after_s)
            return
        if answer.flags & NEAR_LIMIT and self.lease is not None:
            learn(self.lease, answer, monotonic_ns())
        translation = self.link.translations.get(self.call.door) if self.link.translations else None
        if translation is None:
            relay = Relay(self, connection, answer)
        elif translation.is_same:
            relay = Relay(self, connection, translation.head(self.call, answer))
        else:
            relay = Translating(self, connection, answer, translation)
        self.relay = relay
        relay.begin()

    def on_bytes(self, data: bytes) -> None:
        """Only a relay has bytes; it takes the connection over at `on_head`."""
        raise AssertionError("the relay receives a stream's bytes")

    def on_failure(self, failure: Failure, reason: str) -> None:
        """The connection failed before a whole answer."""
        connection = self.connection
        self.connection = None
        stale = failure is Failure.UNKNOWN_EXECUTION and connection is not None and connection.looks_stale(self.sent_ns)
        self.fail(failure, reason, stale=stale)

    def stream_failed(self, failure: Failure, reason: str, after_s: float | None) -> None:
        """The stream ended badly; after commit that is final for this pool."""
        self.connection = None
        self.fail(failure, reason, after_s=after_s)

    def stream_ended(self) -> None:
        """The stream was delivered whole."""
        self.connection = None
        self.lease = None
        self.relay = None
        self.pool.watch.discard(self)
        self.call.run = None
        self.pool.finish(self.call, Failure.NONE)

    def fail(
        self, failure: Failure, reason: str, answer: Answer | None = None, *, after_s: float | None = None, stale: bool = False
    ) -> None:
        """This try is over: try again, or give up."""
        call, pool, now_ns = self.call, self.pool, monotonic_ns()
        here = self._spoken_for(failure)
        self.tried |= here
        if REACH[failure] is Reach.ELSEWHERE:
            self._barred |= here
        self._settle(failure, now_ns, cool_ms=0 if after_s is None else max(1, ceil(after_s * 1000)), sent=failure is not Failure.CONNECT)
        self.relay = None
        self.waiting = None
        self.patience_ns = 0
        self.speed = None
        error = self.link.error(failure, reason, answer, after_s)
        error.__cause__ = self.error
        self.error = error
        call.endpoint = self.link.name
        left_s = (call.deadline_ns - now_ns) / _NS
        others = bool(pool.all & ~self.tried)
        verdict = judge(
            failure,
            attempt=self.count,
            committed=call.committed,
            left_s=left_s,
            draw=random(),
            retry=pool.retry,
            retry_after_s=after_s,
            others=others,
            elsewhere=bool(pool.all & ~(pool.cannot[call.door] | self._barred | here)),
            fresh=bool(pool.all & ~(self.tried | self._asked)),
            stale=stale,
        )
        # Silence here twice would leave the next plan no time.
        goes_on = failure is Failure.FIRST_TOKEN_TIMEOUT and not others and not pool.is_last
        if goes_on or not isinstance(verdict, Again) or not self._tries_again(verdict.after_s, others, now_ns):
            error.may_fall_back = may_fall_back(failure, committed=call.committed, left_s=left_s, retry=pool.retry, stale=stale)
            self._give_up(error)

    def _spoken_for(self, failure: Failure) -> int:
        """The positions that a failure says something about: this try's own; all of its account where that is out of quota."""
        lease = self.lease
        if lease is None:
            return 0
        return lease.account if failure in OF_ACCOUNT else 1 << (lease.position & MASK_BITS)

    def _tries_again(self, after_s: float, others: bool, now_ns: int) -> bool:  # whether an endpoint is left untried
        """Have the next try made, if the body is still there and the budget has one, now or soon."""
        pool = self.pool
        if self.call.body is None:
            return False
        self._is_hurried = others
        if pool.retry_allowed(now_ns):
            self._retry_in(after_s)
        elif pool.is_last and pool.core.has_sound(self.tried, now_ns):
            self._again = Allowance(pool, self.tried, now_ns + int(pool.retry.cap_s * _NS), self._retry, self._despair)
        else:
            return False
        return True

    def _settle(self, failure: Failure, now_ns: int, *, cool_ms: int = 0, sent: bool) -> None:
        """Give back the place of a try that failed, if it has one. What a stream has given until then stays charged."""
        lease, self.lease = self.lease, None
        if lease is None:
            return
        used = NO_USAGE if self.relay is None else self.relay.used()
        lease.settle(int(failure), now_ns, used[0], used[1], used[2], cool_ms)
        if self.pool.book is not None:
            self.pool.book(self, failure, used, now_ns, sent=sent)

    def _despair(self) -> None:
        assert self.error is not None
        self._give_up(self.error)

    def _give_up(self, error: DispatchError) -> None:
        self.pool.watch.discard(self)
        self.call.run = None
        self.on_failed(self.call, error)

    def cancel(self) -> None:
        """Stop: upstream is told by closing, the lease is settled, nobody is called back."""
        self._stop(Failure.CANCELLED)

    def _stop(self, failure: Failure) -> None:
        self.pool.watch.discard(self)
        self.call.run = None
        if self._again is not None:
            self._again.cancel()
        if self.waiting is not None:
            self.waiting.cancel()
        connection, self.connection = self.connection, None
        self._settle(failure, monotonic_ns(), sent=connection is not None)
        if connection is not None:
            connection.cancel()

    def pause(self) -> None:
        """The client takes no more: stop reading from upstream, and stop its stall clock."""
        if self.relay is not None:
            self.relay.pause()

    def resume(self) -> None:
        if self.relay is not None:
            self.relay.resume()

    def expire(self) -> None:
        """See the base."""
        call = self.call
        self._stop(Failure.DEADLINE)
        late = DeadlineExceeded(f"no whole answer within the deadline, after {call.attempts} attempts")
        late.__cause__ = self.error
        self.on_failed(call, late)
