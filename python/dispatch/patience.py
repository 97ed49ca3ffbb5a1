"""What one try may still take: the clocks of a try, looked at by the worker's coarse timer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from dispatch.errors import Failure

if TYPE_CHECKING:
    from dispatch.exchange import Call
    from dispatch.policy.speed import Speed
    from dispatch.pools import Pool
    from dispatch.relay import Relay
    from dispatch.routing import Lease
    from dispatch.transport.connection import UpstreamConnection
    from dispatch.transport.pool import Waiting

__all__ = ["Patient"]

_NS = 1_000_000_000


class Patient(ABC):
    """Something that tries, and is watched while it does.

    Attributes:
        count: tries made so far.
        patience_ns: how long this try may take to begin its answer; 0: not asked yet.
        speed: of the stream that this try has become, where it must have one.
        sent_ns: when this try was sent.
        tried: the positions that were tried, as a bit mask.
    """

    # On the class for the same reason as those of `Call`.
    connection: UpstreamConnection | None = None
    count = 0
    lease: Lease | None = None
    patience_ns = 0
    relay: Relay | None = None
    speed: Speed | None = None
    sent_ns = 0
    waiting: Waiting | None = None

    def __init__(self, call: Call, pool: Pool) -> None:
        self.call = call
        self.pool = pool
        self.tried = pool.cannot.get(call.door, -1)

    @abstractmethod
    def expire(self) -> None:
        """The deadline has passed."""

    @abstractmethod
    def fail(self, failure: Failure, reason: str) -> None:
        """This try is over."""

    def check(self, now_ns: int) -> None:
        """Look at the clock."""
        if now_ns >= self.call.deadline_ns:
            self.expire()
        elif self.relay is not None:
            self.relay.check(now_ns)
        elif self.lease is not None:
            if self.waiting is not None and self.connection is None and now_ns - self.sent_ns > self.pool.connect_ns:
                self.time_out(f"no connection within {self.pool.connect_ns / _NS:g} s")
            elif self.is_late(now_ns):
                self.time_out(f"no answer within {self.waited_s(now_ns)} s")

    def is_late(self, now_ns: int) -> bool:
        """Whether this try has had its time to begin its answer."""
        patience_ns = self.patience_ns
        if not patience_ns:
            call, sent_ns = self.call, self.sent_ns
            patience_ns = self.pool.patience_ns(call.deadline_ns - sent_ns, stream=call.stream, tries=self.count, tried=self.tried)
            self.patience_ns = max(patience_ns, 1)
        return now_ns - self.sent_ns > patience_ns

    def waited_s(self, now_ns: int) -> str:
        """How long this try has taken, for people."""
        return f"{(now_ns - self.sent_ns) / _NS:.3g}"

    def keep_awake(self, now_ns: int, silent_since_ns: int) -> None:
        """Send a comment to the client of a stream that has not begun for long."""
        call = self.call
        # The look at the clock may just have ended the call, and its sink may serve another one by now.
        if call.stream and not call.committed and call.heard_ns < silent_since_ns and call.run is not None:
            call.heard_ns = now_ns
            call.sink.on_silence(call)

    def as_call(self) -> Call:
        """The call that is tried for."""
        return self.call

    def time_out(self, reason: str, failure: Failure = Failure.FIRST_TOKEN_TIMEOUT) -> None:
        """Give this try up for its silence."""
        connection, self.connection = self.connection, None
        if self.waiting is not None:
            self.waiting.cancel()
            if connection is None:
                failure = Failure.CONNECT
        if connection is not None:
            connection.cancel()
        self.fail(failure, reason)
