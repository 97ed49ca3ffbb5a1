"""A breaker and a limit through everything that can happen to them, beside models in plain words."""

from __future__ import annotations

from typing import Any

from dispatch.config import build
from dispatch.errors import Failure
from dispatch.routing import Board, Lease, Refusal, Routing, Sizes, Slots
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

MS = 10**6
S = 10**9
PROBES = 2
CONSECUTIVE = 4
OPEN_S, OPEN_MAX_S = 1, 6
BAD = (Failure.SERVER, Failure.CONNECT, Failure.MALFORMED)
SILENT = (Failure.RATE_LIMITED, Failure.BAD_REQUEST, Failure.CANCELLED)


def on(board: Board, worker: int, found: Any, sizes: Sizes) -> Routing:
    return Routing(board, worker, found, Slots.of(found, sizes))


class Breaker(RuleBasedStateMachine):
    """Two workers and an endpoint whose breaker opens by failures in a row only; a second endpoint keeps the pool out of panic."""

    @initialize()
    def begin(self) -> None:
        health = {
            "consecutive": CONSECUTIVE,
            "min_requests": 2_000,
            "outlier": 1.0,
            "probes": PROBES,
            "open_s": OPEN_S,
            "open_max_s": OPEN_MAX_S,
        }
        names = ["a", "b"]
        endpoints = [{"name": name, "provider": "echo", "adaptive": False} for name in names]
        found = build({"endpoints": endpoints, "models": {"m": {"endpoints": names, "health": health}}})
        self.sizes = Sizes.of(found, 2)
        self.board = Board.heap(self.sizes)
        self.workers = [on(self.board, worker, found, self.sizes) for worker in range(2)]
        self.now = 10**15
        self.row = 0
        self.held: list[tuple[Lease, bool]] = []

    def state(self) -> str:
        return self.workers[0].snapshot(self.now).gauges["a"].breaker

    def probes(self) -> int:
        return self.board.endpoint(0).probes

    @rule(ms=st.integers(1, 4_000))
    def wait(self, ms: int) -> None:
        self.now += ms * MS

    @rule(worker=st.integers(0, 1), draw=st.integers(0, 2**64 - 1))
    def ask(self, worker: int, draw: int) -> None:
        before, probes = self.state(), self.probes()
        taken = self.workers[worker].routers("m")[0].acquire(0b10, 1, 1, self.now, draw, 0)
        if before == "open" or (before == "half_open" and probes == PROBES):
            assert isinstance(taken, Refusal)
            assert taken.why == "breaker"
        else:
            assert isinstance(taken, Lease)
            assert not taken.is_panic
            self.held.append((taken, before == "half_open"))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), failure=st.sampled_from((Failure.NONE, *BAD, *SILENT)))
    def end(self, data: st.DataObject, failure: Failure) -> None:
        lease, is_probe = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        before = self.state()
        # A 429 without a pause of its own would bring one of a second.
        lease.settle(failure, self.now, 0, 0, 0, int(failure is Failure.RATE_LIMITED))
        after = self.state()
        if failure in SILENT:
            assert after == before
        elif before == "closed":
            self.row = self.row + 1 if failure in BAD else 0
            assert (after == "open") == (self.row >= CONSECUTIVE)
        elif is_probe and failure is Failure.NONE:
            assert after == "closed"
            self.row = 0
        elif is_probe and before == "half_open":
            assert after == "open"
        else:
            assert after == before
        if after != "closed":
            self.row = 0
        if failure is Failure.RATE_LIMITED:
            self.now += 2 * MS

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "held"):
            assert self.board.endpoint(0).in_flight == len(self.held)
            assert self.probes() == sum(is_probe for _, is_probe in self.held) <= PROBES
            assert self.workers[0].snapshot(self.now).gauges["a"].open_ns <= OPEN_MAX_S * S


class Limiter(RuleBasedStateMachine):
    """Three workers under one limit of requests: never more in a minute, and refused only until the promised instant."""

    LIMIT = 30

    @initialize()
    def begin(self) -> None:
        limits = {"requests_per_min": self.LIMIT, "concurrency": 6, "burst_s": 10}
        found = build({"endpoints": [{"name": "a", "provider": "echo", "limits": limits, "adaptive": False}], "models": {"m": "a"}})
        sizes = Sizes.of(found, 3)
        self.board = Board.heap(sizes)
        self.workers = [on(self.board, worker, found, sizes) for worker in range(3)]
        self.now = 10**15
        self.starts: list[int] = []
        self.held: list[Lease] = []

    def take(self, worker: int) -> Lease | Refusal:
        return self.workers[worker].routers("m")[0].acquire(0, 1, 1, self.now, 1, 0)

    @rule(ms=st.integers(1, 9_000))
    def wait(self, ms: int) -> None:
        self.now += ms * MS

    @rule(worker=st.integers(0, 2))
    def ask(self, worker: int) -> None:
        taken = self.take(worker)
        if isinstance(taken, Lease):
            self.held.append(taken)
            self.starts.append(self.now)
            assert len(self.held) <= 6
        elif taken.why == "requests_per_min":
            assert len(self.held) < 6
            due = self.now + taken.retry_after_ns
            self.now = due - 1
            assert isinstance(self.take(worker), Refusal)
            self.now = due
            again = self.take(worker)
            assert isinstance(again, Lease)
            self.held.append(again)
            self.starts.append(self.now)
        else:
            assert taken.why == "concurrency"
            assert len(self.held) == 6

    @precondition(lambda self: self.held)
    @rule(data=st.data(), failure=st.sampled_from((Failure.NONE, Failure.BAD_REQUEST, Failure.CANCELLED)))
    def end(self, data: st.DataObject, failure: Failure) -> None:
        lease = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        # Used, so that nothing is given back: what was sent was asked for. None of these is held against the endpoint by its breaker.
        assert lease.settle(failure, self.now, 1, 1, 0, 0)
        assert not lease.settle(failure, self.now, 1, 1, 0, 0)
        self.board.endpoint(0)

    @invariant()
    def no_minute_holds_more_than_the_limit(self) -> None:
        if hasattr(self, "starts"):
            recent = [at for at in self.starts if at > self.now - 60 * S]
            assert len(recent) <= self.LIMIT
            assert self.board.endpoint(0).in_flight == len(self.held)


class Tokens(RuleBasedStateMachine):
    """Two workers under one limit of tokens, asked for small and large requests: no minute of what a provider counts exceeds the limit."""

    LIMIT = 60_000

    @initialize()
    def begin(self) -> None:
        limits = {"tokens_per_min": self.LIMIT}
        found = build({"endpoints": [{"name": "a", "provider": "echo", "limits": limits, "adaptive": False}], "models": {"m": "a"}})
        sizes = Sizes.of(found, 2)
        self.board = Board.heap(sizes)
        self.workers = [on(self.board, worker, found, sizes) for worker in range(2)]
        self.now = 10**15
        self.counted: dict[Lease, tuple[int, int]] = {}

    @rule(ms=st.one_of(st.integers(1, 2_000), st.integers(1, 40_000)))
    def wait(self, ms: int) -> None:
        self.now += ms * MS

    @rule(worker=st.integers(0, 1), tokens=st.one_of(st.integers(1, 980), st.integers(981, 20_000)), patient=st.booleans())
    def ask(self, worker: int, tokens: int, *, patient: bool) -> None:
        pool = self.workers[worker].routers("m")[0]
        taken = pool.acquire(0, tokens, 0, self.now, 1, 0)
        for _ in range(4):
            if isinstance(taken, Lease) or not patient or taken.why == "breaker":
                break
            assert taken.why == "tokens_per_min"
            self.now += taken.retry_after_ns
            taken = pool.acquire(0, tokens, 0, self.now, 1, 0)
        # Five connections that fail in a row open the breaker.
        assert isinstance(taken, Lease) or not patient or taken.why == "breaker"
        if isinstance(taken, Lease):
            self.counted[taken] = (self.now, tokens)

    @precondition(lambda self: self.counted)
    @rule(data=st.data(), failure=st.sampled_from((Failure.NONE, Failure.CONNECT, Failure.BAD_REQUEST, Failure.CANCELLED)))
    def end(self, data: st.DataObject, failure: Failure) -> None:
        lease = data.draw(st.sampled_from(list(self.counted)))
        if lease.settle(failure, self.now, 0, 0, 0, 0):
            self.board.endpoint(0)
            # It never came there: no connection, or given up at the instant at which it began.
            if failure is Failure.CONNECT or (failure is not Failure.NONE and self.now == self.counted[lease][0]):
                del self.counted[lease]

    @invariant()
    def no_minute_holds_more_than_the_limit(self) -> None:
        if hasattr(self, "counted"):
            assert sum(tokens for at, tokens in self.counted.values() if at > self.now - 60 * S) <= self.LIMIT


TestBreaker = Breaker.TestCase
TestTokens = Tokens.TestCase
TestLimiter = Limiter.TestCase
