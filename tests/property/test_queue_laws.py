"""The queue as a state machine: whatever comes, leaves and is served in two workers, who is next is who should be."""

from __future__ import annotations

from math import isclose

from dispatch.config import build
from dispatch.queue.flows import PARTS, Ahead, Flow, Flows
from dispatch.queue.rate import Rate
from dispatch.routing import Board, Routing, Sizes, Slots
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

WORKERS = 2
NS = 1_000_000_000
CONFIG = build({"endpoints": [{"name": "e", "provider": "echo"}], "models": {"m": "e"}}, {})
flow_numbers = st.integers(0, 4)
token_counts = st.integers(1, 5_000)


class Request:
    """What waits."""

    def __init__(self, worker: int, number: int, tokens: int, joined_ns: int) -> None:
        self.worker = worker
        self.number = number
        self.tokens = tokens
        self.joined_ns = joined_ns
        self.flow: Flow[Request]


class Waiting(RuleBasedStateMachine):
    """Two workers on one board, and beside them a plain list of everything that waits."""

    @initialize(weights=st.lists(st.integers(1, 8), min_size=5, max_size=5))
    def start(self, weights: list[int]) -> None:
        sizes = Sizes.of(CONFIG, WORKERS)
        board, slots = Board.heap(sizes), Slots.of(CONFIG, sizes)
        self.turns = [Routing(board, worker, CONFIG, slots).turns(slots.models["m"]) for worker in range(WORKERS)]
        self.lines: list[Flows[Request]] = [Flows(turns.start) for turns in self.turns]
        self.weights = weights
        self.waiting: list[Request] = []
        self.served = 0
        self.now_ns = NS

    def show(self, worker: int) -> None:
        flow = self.lines[worker].first()
        if flow is None:
            self.turns[worker].hide()
        else:
            self.turns[worker].show(flow.number, flow.first.joined_ns, self.lines[worker].is_one)

    def take(self, request: Request) -> None:
        self.waiting.remove(request)
        self.lines[request.worker].remove(request, request.flow)
        self.turns[request.worker].leave()

    @rule(worker=st.integers(0, WORKERS - 1), number=flow_numbers, tokens=token_counts)
    def join(self, worker: int, number: int, tokens: int) -> None:
        # Apart by more than the millisecond to which the board knows ages.
        self.now_ns += 2_000_000
        request = Request(worker, number, tokens, self.now_ns)
        self.turns[worker].join(number)
        request.flow = self.lines[worker].add(request, number, self.weights[number])
        self.waiting.append(request)
        self.show(worker)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.waiting))
        self.take(request)
        self.show(request.worker)

    @precondition(lambda self: self.waiting)
    @rule()
    def serve(self) -> None:
        """A place is given back: the worker that is rung looks, and rings another one if it is not its turn."""
        self.turns[0].ring()
        for _ in range(2 * len(self.weights) * WORKERS):
            worker = next(worker for worker, turns in enumerate(self.turns) if turns.take_ring())
            self.show(worker)
            if self.turns[worker].is_next:
                break
            self.turns[worker].ring()
        else:
            raise AssertionError("nobody's turn")
        flow = self.lines[worker].first()
        assert flow is not None
        request = flow.first
        start = self.turns[0].start(request.number)
        assert start == min(self.turns[0].start(other.number) for other in self.waiting)
        # Of its flow the oldest that a worker shows: one that shows another flow, which is as due as this one, has its turn next.
        shown = [line.first() for line in self.lines]
        assert request.joined_ns == min(flow.first.joined_ns for flow in shown if flow is not None and flow.number == request.number)
        self.take(request)
        self.turns[worker].serve(request.number, request.tokens, self.weights[request.number], 0)
        self.served += request.tokens
        self.show(worker)
        for other, turns in enumerate(self.turns):
            if turns.take_ring():
                self.show(other)

    @precondition(lambda self: any(len(line) for line in self.lines))
    @rule(data=st.data(), worker=st.integers(0, WORKERS - 1))
    def block(self, data: st.DataObject, worker: int) -> None:
        """A key is at its own limit for a while: its flow is left out, the others are not."""
        here = [request for request in self.waiting if request.worker == worker]
        if not here:
            return
        flow = data.draw(st.sampled_from(here)).flow
        line = self.lines[worker]
        line.block(flow, self.now_ns + 5)
        assert line.first() is not flow
        assert line.blocked_until_ns == self.now_ns + 5
        line.unblock(self.now_ns + 4)
        assert line.first() is not flow
        line.unblock(self.now_ns + 5)
        assert line.blocked_until_ns == 0
        line.block(flow, -1)
        line.unblock(self.now_ns * 2)
        assert line.first() is not flow
        assert line.blocked == 1
        line.unblock_all()
        assert line.blocked == 0
        self.show(worker)

    @invariant()
    def everything_is_counted(self) -> None:
        if not hasattr(self, "waiting"):
            return
        assert self.turns[0].depth == len(self.waiting) == sum(map(len, self.lines))
        assert self.turns[1].served == self.served
        for worker, line in enumerate(self.lines):
            here = [request for request in self.waiting if request.worker == worker]
            assert sorted(map(id, line)) == sorted(map(id, here))
            assert line.is_one == (len({request.number for request in here}) <= 1)
            # Flows that come and go leave nothing behind.
            assert len(line._heap) <= len(self.weights)

    @invariant()
    def a_forecast_counts_who_is_served_before(self) -> None:
        if not hasattr(self, "waiting"):
            return
        line = self.lines[0]
        for request in line:
            ahead = line.ahead(request.number, self.weights[request.number], line.before(request, request.flow))
            assert 0 <= ahead.requests <= len(line) - 1 + 1e-6
            assert 0 <= ahead.tokens <= sum(other.tokens for other in line) - request.tokens + 1e-6


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(flow_numbers, token_counts), min_size=1, max_size=30))
def test_the_forecast_of_one_flow_is_exact(requests: list[tuple[int, int]]) -> None:
    starts: dict[int, int] = {}
    line: Flows[Request] = Flows(lambda number: starts.get(number, 0))
    before = Ahead(0, 0)
    for at, (_, tokens) in enumerate(requests):
        behind = line.behind(1)
        assert (behind.requests, behind.tokens) == (before.requests, before.tokens)
        request = Request(0, 1, tokens, at)
        request.flow = line.add(request, 1, 1)
        found = line.before(request, request.flow)
        assert (found.requests, found.tokens) == (before.requests, before.tokens)
        before = Ahead(before.requests + 1, before.tokens + tokens)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 1_000))
def test_equal_flows_are_forecast_in_turns(own: int, others: int, tokens: int) -> None:
    """With equal weights and sizes, as many of the other come before the n-th request of one as of its own, until the other has no more."""
    line: Flows[Request] = Flows(lambda _: 7 * PARTS)
    for number, count in ((1, own), (2, others)):
        for at in range(count):
            request = Request(0, number, tokens, at)
            request.flow = line.add(request, number, 1)

    ahead = line.ahead(1, 1, line.behind(1))
    assert isclose(ahead.requests, own + min(own, others))
    assert isclose(ahead.tokens, tokens * (own + min(own, others)))


@given(st.floats(1, 1e6), st.floats(0.5, 60))
def test_a_steady_rate_is_learned_whatever_was_guessed(per_s: float, guess_factor: float) -> None:
    rate = Rate()
    rate.begin(0, 0, per_s * guess_factor)
    for tick in range(1, 600):
        rate.observe(round(per_s * tick / 10), tick * NS // 10)
    learned = rate.seconds(per_s)

    assert learned is not None
    assert isclose(learned, 1.0, rel_tol=0.25) or per_s < 20


def test_nothing_is_forecast_while_nothing_is_known() -> None:
    rate = Rate()
    rate.begin(5, 0, None)
    assert rate.seconds(10) is None
    rate.observe(5, 2 * NS)
    assert rate.seconds(10) is None
    rate.observe(15, 4 * NS)
    learned = rate.seconds(10)
    assert learned is not None
    assert learned > 0
