"""One stream on its way to a client that may come from more than one endpoint.

The pool gets branches of the call, so that a break after commit is told here and not to the client. What the client has is remembered by
the core (`wire.sse.Told`), which also cuts the events of whoever takes over down to what is new (CONTRACT section 4). A call that may
still be taken over is not committed: the next step of a fallback finds this object in `call.recovery`, and goes on with it.
"""

from __future__ import annotations

from functools import partial
from random import random
from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.allowance import Allowance
from dispatch.attempt import Attempts
from dispatch.errors import BadRequest, DeadlineExceeded, DispatchError, Failure, UpstreamError
from dispatch.links import DIALECTS, endpoint_lines
from dispatch.plans.bill import Bill, told_tokens
from dispatch.plans.hold import Held
from dispatch.plans.ways import tried_by
from dispatch.policy.retry import Again, judge, may_fall_back
from dispatch.replies import framed
from dispatch.wire import sse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatch.exchange import Answer, Call, Run
    from dispatch.plans.base import Failed, Start
    from dispatch.plans.hold import Room
    from dispatch.plans.ways import Way
    from dispatch.pools import Pool

__all__ = ["Delivery"]

_NS = 1_000_000_000


class Delivery:
    """See the module: the `run` of the call, and the sink of its branches.

    Args:
        hold: deltas that are held before the client gets any; `WHOLE`: all, 0: none.
        may_follow: another answer may take over after the client has got something.
        max_bytes: most that is held, and most that is remembered.
    """

    __slots__ = (
        "_all_ways",
        "_allowance",
        "_attempts",
        "_attempts_before",
        "_bill",
        "_branch",
        "_break",
        "_count",
        "_error",
        "_failed",
        "_held",
        "_hold",
        "_is_new",
        "_is_paused",
        "_is_told",
        "_max_bytes",
        "_may_follow",
        "_paused_branch",
        "_pool",
        "_spoke",
        "_start",
        "_told",
        "_tried",
        "_way",
        "_ways",
        "call",
    )

    def __init__(self, call: Call, hold: int, may_follow: bool, max_bytes: int, room: Room) -> None:
        self.call = call
        self._hold = hold
        self._may_follow = may_follow
        self._max_bytes = max_bytes
        self._told = self._new_told()
        self._held = Held(room)
        self._is_told = self._is_paused = self._spoke = False
        self._paused_branch: Call | None = None
        self._branch: Call | None = None
        self._allowance: Allowance | None = None
        self._attempts: Attempts | None = None
        self._attempts_before = call.attempts
        self._way: Way | None = None
        self._break: UpstreamError | None = None
        self._is_new = False
        self._bill = Bill()

    def _new_told(self) -> sse.Told | None:
        """A memory for what is told, where somebody asks for it."""
        if not self._may_follow and self._hold <= 0:
            return None
        return sse.Told(DIALECTS[self.call.door], self._max_bytes)

    def enter(self, pool: Pool, start: Start, ways: tuple[Way, ...], failed: Failed) -> None:
        """Ask a pool: for the answer, or for the rest of what another pool has begun."""
        self._pool = pool
        self._start = start
        self._failed = failed
        self._all_ways = ways
        self._ways: Iterator[Way] = iter(ways)
        self._tried = self._count = 0
        self._error: UpstreamError | None = None
        self.call.run = self
        pool.watch.add(self)
        if self._is_told:
            self._next(0.0)
        else:
            self._ask(None, 0.0)

    def _ask(self, way: Way | None, after_s: float) -> None:
        branch = self._branch = self.call.branch(self)
        branch.chunked = False
        self._way = way
        self._is_new = True
        self._bill.sent = 0
        if way is not None:
            assert self._told is not None
            tokens = told_tokens(self._told)
            self._bill.sent = tokens if way.kind else 0
            way.prepare(self._told, branch, tokens, self._bill.spent)
        self._attempts = None
        if way is None and self._error is None:
            self._start(branch, self._on_failed)
            return
        attempts = self._attempts = Attempts(branch, self._pool if way is None else way.pool, self._on_failed)
        if self._error is None:
            attempts.start()
        else:
            attempts.go_on(after_s, self._error, self._tried, self._count)

    # The sink of the branches. One that is not the present one any more has nothing to say.

    def on_chunk(self, branch: Call, data: bytes) -> None:
        if branch is not self._branch:
            return
        told = self._told
        if told is not None:
            data = told.take(data)
            if told.has_diverged:
                self._diverged(branch.run)
                return
        if not data:
            return
        if self._hold:
            self._keep(branch, data)
        else:
            self._send(branch, data)
        if self._is_paused and self._paused_branch is not branch and branch.run is not None:
            self._paused_branch = branch
            branch.run.pause()

    def _keep(self, branch: Call, data: bytes) -> None:
        """Hold `data` back, with what is held already, until that is enough."""
        held, told = self._held, self._told
        if held.size + len(data) > self._max_bytes:
            reason = f"{branch.endpoint}: the stream is longer than server.max_answer_bytes"
            self._stop_for(UpstreamError(reason, failure=Failure.TOO_LARGE, endpoint=branch.endpoint))
        elif not held.keep(data):
            self._stop_for(BadRequest("this worker's buffers are full", code="buffers_full", status=503))
        elif told is not None and 0 < self._hold <= told.deltas:
            self._hold = 0
            self._send(branch, held.release())

    def _stop_for(self, error: DispatchError) -> None:
        branch = self._leave()
        if branch.run is not None:
            branch.run.cancel()
        self._give_up(error)

    def _send(self, branch: Call, data: bytes) -> None:
        call = self.call
        if self._is_new:
            data = self._introduction(branch) + data
        self._spoke = True
        call.sink.on_chunk(call, framed(data, call.chunked))

    def _introduction(self, branch: Call) -> bytes:
        """Note whose bytes come now; what its client cannot read in the head any more is a comment before them."""
        self._is_new = False
        call, way = self.call, self._way
        is_first = not self._is_told
        self._is_told = True
        self._count_attempts(branch)
        if call.answer is None:
            call.answer = branch.answer
            call.first_ns = monotonic_ns()
        if not self._may_follow:
            call.committed = True
            call.body = self._told = None
        name = branch.endpoint.encode()
        lines = b"" if way is None else way.comment(name, is_estimated=call.wants_usage)
        if way is not None or (is_first and call.heard_ns != call.received_ns):
            lines += b": x-dispatch-endpoint: %b\n: x-dispatch-attempts: %d\n\n" % (name, call.attempts)
        return lines

    def on_end(self, branch: Call, tail: bytes) -> None:
        if branch is not self._branch:
            return
        told = self._told
        if told is not None:
            tail = told.take(tail)
            if told.has_diverged or not (self._way is None or told.is_aligned):
                self._diverged(None)
                return
        call = self.call
        tail = self._held.release() + tail
        if self._is_new:
            tail = self._introduction(branch) + tail
        self._leave()
        self._settle_usage(branch)
        out = framed(tail, call.chunked) if tail else b""
        self._finish()
        call.sink.on_end(call, out + sse.LAST_CHUNK if call.chunked else out)
        self._pool.finish(call, Failure.NONE)

    def on_answer(self, branch: Call, answer: Answer) -> None:
        """An endpoint that does not stream has answered whole."""
        if branch is not self._branch:
            return
        if self._is_told:
            self._diverged(None)
            return
        call = self.call
        self._leave()
        self._settle_usage(branch)
        call.lines = endpoint_lines(call.endpoint, call.attempts)
        self._finish()
        call.sink.on_answer(call, answer)
        self._pool.finish(call, Failure.NONE)

    def on_silence(self, branch: Call) -> None:
        """The client is kept awake by `keep_awake`, whether an endpoint is silent or held back."""

    def on_error(self, branch: Call, error: DispatchError) -> None:
        raise AssertionError("a branch fails by its pool's callback")

    def _settle_usage(self, branch: Call) -> None:
        """The key pays for what was delivered."""
        call = self.call
        call.usage = self._bill.delivered(branch.usage)
        call.is_estimated = branch.is_estimated or bool(self._bill.sent)
        call.answered_ns = branch.answered_ns

    def _finish(self) -> None:
        self.call.run = None
        self._pool.watch.discard(self)

    def _count_attempts(self, branch: Call) -> None:
        call = self.call
        call.attempts = self._attempts_before + branch.attempts
        call.endpoint = branch.endpoint or call.endpoint
        if not call.overhead_ns:
            call.overhead_ns = branch.received_ns - call.received_ns + branch.overhead_ns

    def _leave(self) -> Call:
        """The present branch is over."""
        branch, self._branch = self._branch, None
        assert branch is not None
        self._count_attempts(branch)
        self._attempts_before = self.call.attempts
        self._count += branch.attempts
        return branch

    # What went wrong, and who goes on.

    def _on_failed(self, branch: Call, error: DispatchError) -> None:
        if branch is not self._branch:
            return
        self._leave()
        failure = error.failure if isinstance(error, UpstreamError) else Failure.NONE
        if failure is not Failure.BAD_REQUEST:
            # An endpoint that refuses to go on with a text may answer anew all the same.
            self._tried |= tried_by(self._attempts, self._way, self._pool, branch.endpoint)
        if isinstance(error, DeadlineExceeded):
            self._give_up(error)
        elif isinstance(error, UpstreamError) and branch.committed:
            self._on_break(error)
        elif self._way is not None:
            self._next(0.0)
        else:
            self._give_up(error)

    def _on_break(self, error: UpstreamError) -> None:
        """A stream broke after its first content."""
        self._held.release()
        if self._is_told and not self._may_follow:
            self._give_up(error)
            return
        call, pool = self.call, self._pool
        now_ns = monotonic_ns()
        left_s = (call.deadline_ns - now_ns) / _NS
        others = bool(pool.all & ~self._tried)
        error.may_fall_back = may_fall_back(error.failure, committed=False, left_s=left_s, retry=pool.retry)
        self._error = self._break = error
        self._bill.break_off(call.tokens_in, told_tokens(self._told))
        verdict = judge(
            error.failure,
            attempt=self._count,
            committed=False,
            left_s=left_s,
            draw=random(),
            retry=pool.retry,
            retry_after_s=error.retry_after_s,
            others=others,
        )
        if not isinstance(verdict, Again):
            self._give_up(error)
        elif pool.retry_allowed(now_ns):
            self._go_on(verdict.after_s)
        elif pool.is_last and pool.core.has_sound(self._tried, now_ns):
            until_ns = min(call.deadline_ns, now_ns + int(pool.retry.cap_s * _NS))
            self._allowance = Allowance(pool, self._tried, until_ns, partial(self._go_on, 0.0), partial(self._give_up, error))
        else:
            self._give_up(error)

    def _go_on(self, after_s: float) -> None:
        """Ask who takes the broken stream over, or, where nothing of it was told, who gives another one."""
        if self._is_told:
            self._ways = iter(self._all_ways)
            self._next(after_s)
        else:
            self._told = self._new_told()
            self._ask(None, after_s)

    def _diverged(self, run: Run | None) -> None:
        """The answer that should take over says something else. `run`: what gives it, if it still does."""
        self._leave()
        if run is not None:
            run.cancel()
        self._next(0.0)

    def _next(self, after_s: float) -> None:
        """Take the next way that suits."""
        told, call = self._told, self.call
        assert self._break is not None
        if told is not None and not told.is_opaque:
            for way in self._ways:
                if way.suits(told, call):
                    self._ask(way, after_s)
                    return
        self._give_up(self._break)

    def _give_up(self, error: DispatchError) -> None:
        call, told = self.call, self._told
        self._held.release()
        self._finish()
        if self._is_told:
            call.committed = told is None or told.is_opaque
            call.recovery = self
        self._failed(call, error)

    # The run of the call, and what the worker's timer looks at.

    def cancel(self) -> None:
        """Stop: nobody is called back."""
        self._held.release()
        self._finish()
        if self._allowance is not None:
            self._allowance.cancel()
        if self._branch is not None:
            branch = self._leave()
            if branch.run is not None:
                branch.run.cancel()

    def pause(self) -> None:
        self._is_paused = True
        self._paused_branch = self._branch
        if self._branch is not None and self._branch.run is not None:
            self._branch.run.pause()

    def resume(self) -> None:
        self._is_paused = False
        self._paused_branch = None
        if self._branch is not None and self._branch.run is not None:
            self._branch.run.resume()

    def check(self, now_ns: int) -> None:
        """The branch's attempts are on the watch themselves."""

    def keep_awake(self, now_ns: int, silent_since_ns: int) -> None:
        """Send a comment to a client that has heard nothing for long: also amid a stream, while another endpoint comes up with it."""
        call = self.call
        if self._spoke:
            self._spoke = False
            call.heard_ns = now_ns
        elif call.heard_ns < silent_since_ns and call.run is self and not self._is_paused:
            call.heard_ns = now_ns
            call.sink.on_silence(call)

    def as_call(self) -> Call:
        """The call that is answered."""
        return self.call
