"""Identical requests that are under way at the same time are asked once: one upstream stream, many clients.

The first request starts a *flight*; those that come while it lasts join it: they are given what has been sent so far, then what
comes. Each keeps its own deadline, its own pauses and its own ticket. What the provider counts is divided among those that get the whole
answer, so that the sum is exact; who leaves before pays nothing, as always.

- A client that leaves ends its own part. The last one that leaves ends the flight, and upstream is told.
- A client that reads slowly slows nobody: the flight keeps what the slowest has not taken, up to `replay_bytes`, and drops who is behind
  by more. Only when all are slow is upstream paused.
- A failure reaches all.

The flight asks by a *branch* of the request that pays for its attempts: the oldest one that is still there.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.errors import DeadlineExceeded, Failure, UpstreamError
from dispatch.links import endpoint_lines
from dispatch.policy.sharing import identity, is_repeatable, split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dispatch.config import Coalesce
    from dispatch.errors import DispatchError
    from dispatch.exchange import Answer, Call
    from dispatch.plans.base import Failed, Start
    from dispatch.pools import Finish, Watch

__all__ = ["Coalescer", "Flight", "Follower"]

JOINED = b"x-dispatch-coalesced: 1\r\n"


class Coalescer:
    """The flights of one model in one worker.

    Args:
        plan: asked by each flight.
        config: which requests may share, and how much is kept for those that are behind.
        deadline_ns: the model's own: a flight lasts as long, whatever the request that began it wants.
        count: called by the names of `routing.SHARED`.
    """

    __slots__ = ("config", "count", "deadline_ns", "finish", "flights", "plan", "watch")

    def __init__(
        self, plan: Start, config: Coalesce, *, deadline_ns: int, finish: Finish, watch: Watch, count: Mapping[str, Callable[[], None]]
    ) -> None:
        self.plan = plan
        self.config = config
        self.deadline_ns = deadline_ns
        self.finish = finish
        self.watch = watch
        self.count = count
        self.flights: dict[tuple[bytes, str], Flight] = {}

    def run(self, call: Call, failed: Failed) -> None:
        """Join the flight of an identical request, or start one."""
        assert call.body is not None
        if call.freshness:
            # What was asked before it came is not fresh to it.
            self.plan(call, failed)
            return
        digest, body = identity(call, call.body)
        if self.config.when != "always" and not is_repeatable(call.door, body):
            self.plan(call, failed)
            return
        key = (digest, "" if self.config.across_keys else call.key)
        flight = self.flights.get(key)
        if flight is None:
            flight = self.flights[key] = Flight(self, key)
            flight.begin(call, failed)
        else:
            self.count["joined"]()
            if JOINED not in call.notes:
                call.notes += JOINED
            flight.join(call, failed)


class Flight:
    """One request upstream and those who wait for its answer. A sink: of its branch."""

    __slots__ = (
        "_branch",
        "_claimed",
        "_dropped_parts",
        "_followers",
        "_is_paused",
        "_kept_bytes",
        "_key",
        "_owner",
        "ended_ns",
        "parts",
        "total_bytes",
    )

    def __init__(self, owner: Coalescer, key: tuple[bytes, str]) -> None:
        self._owner = owner
        self._key = key
        self._branch: Call
        self._followers: list[Follower] = []
        # Attempts that a payer who has left has in its books.
        self._claimed = 0
        self._is_paused = False
        self.parts: list[bytes] = []
        self._dropped_parts = 0
        self._kept_bytes = 0
        self.total_bytes = 0
        self.ended_ns = 0

    def begin(self, call: Call, failed: Failed) -> None:
        """Ask for the first."""
        branch = self._branch = call.branch(self)
        branch.deadline_ns = max(call.deadline_ns, call.received_ns + self._owner.deadline_ns)
        self._add(call, failed)
        self._owner.plan(branch, self._on_failed)
        if branch.run is not None:
            call.overhead_ns = branch.received_ns - call.received_ns + branch.overhead_ns

    def join(self, call: Call, failed: Failed) -> None:
        """One more is to have the answer."""
        self._add(call, failed).pump()
        if self._is_paused:
            self.weigh()

    def _add(self, call: Call, failed: Failed) -> Follower:
        follower = Follower(self, call, failed)
        self._followers.append(follower)
        call.run = follower
        self._owner.watch.add(follower)
        return follower

    @property
    def end(self) -> int:
        """The place after the last part."""
        return self._dropped_parts + len(self.parts)

    def since(self, place: int) -> list[bytes]:
        """The parts from `place` on."""
        return self.parts[place - self._dropped_parts :]

    def dress(self, call: Call) -> None:
        """Tell a follower's call what the answer is and where it comes from."""
        branch = self._branch
        call.answer = branch.answer
        call.dropped = branch.dropped
        if branch.notes not in call.notes:
            call.notes += branch.notes
        call.endpoint = branch.endpoint
        if self._followers[0].call is call:
            call.attempts = branch.attempts - self._claimed

    def on_chunk(self, call: Call, data: bytes) -> None:
        self._keep(data)
        for follower in [*self._followers]:
            follower.pump()
        if self._kept_bytes > self._owner.config.replay_bytes:
            self._trim()

    def _keep(self, data: bytes) -> None:
        self.parts.append(data)
        self._kept_bytes += len(data)
        self.total_bytes += len(data)

    def _trim(self) -> None:
        """Nobody can join any more: keep only what somebody here has not taken, and nobody who is too far behind."""
        self._close()
        most = self._owner.config.replay_bytes
        for follower in [follower for follower in self._followers if self.total_bytes - follower.taken_bytes > most]:
            self._owner.count["dropped"]()
            reason = f"the client fell {most} bytes behind a stream that it shares"
            error = UpstreamError(reason, failure=Failure.CANCELLED, endpoint=self._branch.endpoint, code="client_too_slow")
            self.expel(follower, error)
        if self._followers:
            first = min(follower.at for follower in self._followers) - self._dropped_parts
            self._kept_bytes -= sum(len(part) for part in self.parts[:first])
            del self.parts[:first]
            self._dropped_parts += first

    def on_end(self, call: Call, tail: bytes) -> None:
        if tail:
            self._keep(tail)
        self._divide()
        self.ended_ns = call.answered_ns
        for follower in [*self._followers]:
            follower.pump()

    def on_answer(self, call: Call, answer: Answer) -> None:
        self._divide()
        followers, self._followers = self._followers, []
        for follower in followers:
            own = follower.call
            own.lines = endpoint_lines(call.endpoint, own.attempts)
            own.answered_ns = call.answered_ns
            self._owner.watch.discard(follower)
            own.run = None
            own.sink.on_answer(own, answer)
            self._owner.finish(own, Failure.NONE)

    def _divide(self) -> None:
        """The answer is whole: each of those that are here has its share of what it cost."""
        self._close()
        branch, followers = self._branch, self._followers
        for follower in followers:
            self.dress(follower.call)
        usage = branch.usage
        if len(followers) == 1 and not branch.is_kept:
            followers[0].call.usage = usage
            return
        total = usage if branch.is_kept else (usage[0] or branch.tokens_in, usage[1] or branch.tokens_out, usage[2], usage[3])
        for follower, share in zip(followers, split(total, len(followers)), strict=True):
            call = follower.call
            call.usage = share
            if call.ticket is not None:
                call.ticket.count_exactly()

    def finish(self, follower: Follower) -> None:
        """A follower has the whole stream."""
        call = follower.call
        self._remove(follower)
        call.answered_ns = self.ended_ns
        call.sink.on_end(call, b"")
        self._owner.finish(call, Failure.NONE)

    def on_silence(self, call: Call) -> None:
        """Each follower hears of it by itself."""

    def on_error(self, call: Call, error: DispatchError) -> None:
        self._on_failed(call, error)

    def _on_failed(self, call: Call, error: DispatchError) -> None:
        self._close()
        for follower in self._followers:
            self.dress(follower.call)
        while self._followers:
            self.expel(self._followers[-1], error)

    def expel(self, follower: Follower, error: DispatchError) -> None:
        """A follower gets no whole answer, and is told."""
        self._remove(follower)
        follower.failed(follower.call, error)

    def leave(self, follower: Follower) -> None:
        """A follower goes away. The last one ends the flight."""
        self._remove(follower)
        if self._followers:
            self.weigh()
        elif not self.ended_ns:
            self._close()
            if self._branch.run is not None:
                self._branch.run.cancel()
            # What was tried until now includes what was just cancelled.
            follower.call.attempts = self._branch.attempts - self._claimed

    def _remove(self, follower: Follower) -> None:
        call = follower.call
        self._owner.watch.discard(follower)
        call.run = None
        is_payer = self._followers[0] is follower
        self._followers.remove(follower)
        if is_payer and self._followers and not self.ended_ns:
            call.attempts = self._branch.attempts - self._claimed
            self._claimed = self._branch.attempts
            self._branch.parent = self._followers[0].call

    def _close(self) -> None:
        """Nobody joins from here on."""
        if self._owner.flights.get(self._key) is self:
            del self._owner.flights[self._key]

    def weigh(self) -> None:
        """Upstream is paused while everybody is."""
        run = self._branch.run
        should_pause = all(follower.is_paused for follower in self._followers)
        if run is None or should_pause is self._is_paused:
            return
        self._is_paused = should_pause
        if should_pause:
            run.pause()
        else:
            run.resume()


class Follower:
    """One client on a flight: what its call runs, and what the worker's coarse timer looks at.

    Attributes:
        at: the place of the next part that it is to get.
        taken_bytes: what it has got.
    """

    __slots__ = ("_flight", "at", "call", "failed", "is_paused", "taken_bytes")

    def __init__(self, flight: Flight, call: Call, failed: Failed) -> None:
        self._flight = flight
        self.call = call
        self.failed = failed
        self.at = 0
        self.taken_bytes = 0
        self.is_paused = False

    def pump(self) -> None:
        """Give it what is there, as far as it takes it."""
        flight, call = self._flight, self.call
        while not self.is_paused and self.at < flight.end:
            parts = flight.since(self.at)
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            self.at = flight.end
            self.taken_bytes = flight.total_bytes
            if not call.committed:
                call.committed = True
                call.body = None
                call.first_ns = monotonic_ns()
                flight.dress(call)
            call.sink.on_chunk(call, data)
        if flight.ended_ns and self.at == flight.end and call.run is self:
            flight.finish(self)

    def cancel(self) -> None:
        self._flight.leave(self)

    def pause(self) -> None:
        self.is_paused = True
        self._flight.weigh()

    def resume(self) -> None:
        self.is_paused = False
        self.pump()
        if self.call.run is self:
            self._flight.weigh()

    def check(self, now_ns: int) -> None:
        """Look at the clock: its own deadline may be shorter than the flight's."""
        call = self.call
        if now_ns >= call.deadline_ns:
            flight = self._flight
            flight.leave(self)
            self.failed(call, DeadlineExceeded(f"no whole answer within the deadline, after {call.attempts} attempts of its own"))

    def keep_awake(self, now_ns: int, silent_since_ns: int) -> None:
        call = self.call
        if call.stream and not call.committed and call.heard_ns < silent_since_ns and call.run is self:
            call.heard_ns = now_ns
            call.sink.on_silence(call)

    def as_call(self) -> Call:
        return self.call
