"""A stream on its way from an upstream connection to a client: one call into the core per network chunk, one write.

Until the first content delta everything is held back, so that a failure can still go to another endpoint; after it the
stream is committed and every failure is told (CONTRACT section 4).
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.errors import Failure
from dispatch.policy.speed import Speed
from dispatch.wire import sse

if TYPE_CHECKING:
    from dispatch.attempt import Attempts
    from dispatch.config import MinSpeed
    from dispatch.exchange import Answer
    from dispatch.transport.connection import UpstreamConnection

__all__ = ["Relay"]

_NS = 1_000_000_000
AFTER_FINISH_NS = 2 * _NS
"""How long usage and terminator are waited for once every choice has its finish reason."""


class Relay:
    """Receives a stream's bytes in place of its `Attempts`, and reports how it ended."""

    __slots__ = ("_attempts", "_call", "_finished_ns", "_moved", "_paused", "_quiet_ns", "_state", "connection", "is_estimated", "reader")

    def __init__(self, attempts: Attempts, connection: UpstreamConnection, answer: Answer) -> None:
        self._attempts = attempts
        self._call = attempts.call
        self._call.answer = answer
        self.connection: UpstreamConnection | None = connection
        self.reader = connection.reader
        self._state = 0
        self._moved = False
        self._paused = False
        self._quiet_ns = attempts.sent_ns
        self._finished_ns = 0
        self.is_estimated = False

    def begin(self) -> None:
        """Take the connection over."""
        connection = self.connection
        assert connection is not None
        link = self._attempts.link
        call = self._call
        connection.receiver = self
        call.endpoint = link.name
        self.on_bytes(connection.start_stream(link.injects(call), call.chunked, link.dialect(call.door)))

    def on_bytes(self, data: bytes) -> None:
        """Hot: once per network chunk."""
        self._moved = True
        if data:
            call = self._call
            call.sink.on_chunk(call, data)
        state = self.reader.state
        if state != self._state:
            self._on_state(state)

    def _on_state(self, state: int) -> None:
        if state & sse.COMMITTED and not self._call.committed:
            self._commit()
        self._state = state
        if state & sse.ERROR:
            self._on_error_event()
        elif state & (sse.BAD_FRAMING | sse.CUT_CALL):
            self._break(
                Failure.BROKEN, "the stream's framing is broken" if state & sse.BAD_FRAMING else "the arguments of a tool call are cut"
            )
        elif state & sse.TERMINATED:
            self._complete()
        elif state & sse.ENDED:
            self._at_end()
        elif not state & sse.FINISHED:
            # Not yet, or not any more: a choice that comes after all others have finished takes the finish back.
            self._finished_ns = 0
        elif not self._finished_ns:
            self._finished_ns = monotonic_ns()

    def _commit(self) -> None:
        call = self._call
        call.committed = True
        call.body = None
        call.first_ns = now_ns = monotonic_ns()
        lease = self._attempts.lease
        if lease is not None:
            lease.first_byte(now_ns)

    def _at_end(self) -> None:
        if self._state & sse.FINISHED:
            self._complete()
        else:
            self._break(Failure.BROKEN, "the stream ended without a finish reason")

    def _on_error_event(self) -> None:
        event = self.reader.error_event
        self._count_dropped()
        failure, reason, after_s = self._attempts.link.explain_event(event)
        self._drop()
        self._attempts.stream_failed(failure, reason, after_s)

    def _complete(self) -> None:
        connection, self.connection = self.connection, None
        call = self._call
        attempts = self._attempts
        tail = self._tail()
        usage = self.reader.usage
        if not usage[1]:
            usage = self._estimate()
        now_ns = monotonic_ns()
        self._count_dropped()
        if attempts.lease is not None:
            attempts.lease.settle(0, now_ns, usage[0], usage[1], usage[2], 0)
            if attempts.pool.book is not None:
                attempts.pool.book(attempts, Failure.NONE, usage, now_ns)
        call.usage = usage
        call.endpoint = attempts.link.name
        call.answered_ns = now_ns
        if connection is not None:
            connection.finish()
        call.sink.on_end(call, tail)
        attempts.stream_ended()

    def _tail(self) -> bytes:
        """The last bytes for the client, the end of its message among them."""
        return self.reader.finish()

    def used(self) -> tuple[int, int, int, int]:
        """Tokens of a stream that ends here: as reported; where its report is still to come, by estimate from what was given."""
        usage = self.reader.usage
        return usage if usage[1] else self._estimate()

    def _estimate(self) -> tuple[int, int, int, int]:
        """What is not reported, counted from what was given."""
        usage = self.reader.usage
        if not self._call.committed:
            return usage
        self.is_estimated = self._call.is_estimated = True
        return usage[0] or self._call.tokens_in, self.reader.deltas, usage[2], 0

    def _count_dropped(self) -> None:
        dropped = self.reader.dropped
        if dropped and self._attempts.lease is not None:
            self._attempts.lease.drop_events(dropped)

    def _break(self, failure: Failure, reason: str) -> None:
        self._count_dropped()
        self._drop()
        self._attempts.stream_failed(failure, reason, None)

    def _drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.cancel()

    def on_answer(self, answer: Answer) -> None:
        """A stream does not end in a whole answer."""
        raise AssertionError("an answer after its stream began")

    def on_head(self, answer: Answer) -> None:
        raise AssertionError("a second head in one answer")

    def on_failure(self, failure: Failure, reason: str) -> None:
        """The connection ended. If every choice has finished, nothing is missing."""
        self.connection = None
        if self._state & sse.FINISHED:
            self._complete()
        else:
            self._count_dropped()
            self._attempts.stream_failed(failure, reason, None)

    def pause(self) -> None:
        self._paused = True
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        self._paused = False
        self._moved = True
        if self.connection is not None:
            self.connection.resume()

    def check(self, now_ns: int) -> None:
        """Look at the clock: after the finish, for the first delta, for a stall. The clock stands while we pause."""
        if self._moved or self._paused:
            self._moved = False
            self._quiet_ns = now_ns
        pool = self._attempts.pool
        if self._finished_ns:
            if now_ns - self._finished_ns > AFTER_FINISH_NS:
                self._drop()
                self._complete()
        elif not self._call.committed and self._attempts.is_late(now_ns):
            self._attempts.time_out(f"no first token within {self._attempts.waited_s(now_ns)} s")
        elif now_ns - self._quiet_ns > pool.stall_ns:
            self._attempts.time_out(f"silent for {pool.stall_ns / _NS:g} s", Failure.STALLED)
        elif pool.min_speed is not None:
            self._measure(pool.min_speed, now_ns)

    def _measure(self, least: MinSpeed, now_ns: int) -> None:
        """Give up a stream that brings less than it must."""
        attempts = self._attempts
        if attempts.speed is None:
            attempts.speed = Speed(least)
        if self._paused:
            attempts.speed.pause()
            return
        found = attempts.speed.too_slow(self.reader.text, now_ns)
        if found is not None:
            reason = f"{found:.3g} characters a second over {least.window_s:g} s, less than {least.chars_per_s:g}"
            self._count_dropped()
            attempts.time_out(reason, Failure.SLOW)
