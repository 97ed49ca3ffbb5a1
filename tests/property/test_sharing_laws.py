"""Laws of shared streams: whenever clients join, pause and leave, each that stays gets every byte; what they pay adds up exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.cache import Kept
from dispatch.cache.memory import Memory
from dispatch.coalesce import Coalescer
from dispatch.config import Coalesce
from dispatch.exchange import Call
from dispatch.policy.sharing import split
from dispatch.wire.http1 import Scan
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from dispatch.errors import DispatchError, Failure
    from dispatch.exchange import Answer
    from dispatch.plans.base import Failed

BODY = b'{"model":"m","temperature":0,"stream":true}'
USED = (11, 7, 3, 0)


class Client:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.data = b""
        self.ends = 0
        self.errors: list[DispatchError] = []
        self.call = Call(self, "m", "chat", Scan(BODY), 1, 1 << 62)
        self.call.stream = True

    def on_answer(self, call: Call, answer: Answer) -> None:
        raise AssertionError("a stream")

    def on_chunk(self, call: Call, data: bytes) -> None:
        assert call is self.call
        assert data
        self.data += data

    def on_end(self, call: Call, tail: bytes) -> None:
        self.data += tail
        self.ends += 1

    def on_silence(self, call: Call) -> None:
        """Nothing is awaited here."""

    def on_error(self, call: Call, error: DispatchError) -> None:
        self.errors.append(error)


class Upstream:
    """A plan that is played by the test."""

    def __init__(self, replay_bytes: int) -> None:
        self.asked: list[Call] = []
        self.finished: list[Call] = []
        self.watch: set[object] = set()
        self.paused = self.cancelled = False
        count = {"joined": lambda: None, "dropped": lambda: None}
        config = Coalesce(replay_bytes=replay_bytes)
        self.coalescer = Coalescer(self.start, config, deadline_ns=1 << 61, finish=self.finish, watch=self.watch, count=count)

    def start(self, call: Call, failed: Failed) -> None:
        self.asked.append(call)
        call.run = self

    def finish(self, call: Call, outcome: Failure) -> None:
        self.finished.append(call)

    def cancel(self) -> None:
        self.cancelled = True

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


def run_for(upstream: Upstream, client: Client) -> None:
    upstream.coalescer.run(client.call, client.on_error)


steps = st.lists(
    st.one_of(
        st.just(("join", 0)),
        st.tuples(st.just("chunk"), st.integers(1, 60)),
        st.tuples(st.sampled_from(["pause", "resume", "leave"]), st.integers(0, 7)),
    ),
    max_size=60,
)


def play(upstream: Upstream, plays: list[tuple[str, int]]) -> tuple[list[Client], bytes]:
    """Play the steps, then let everybody go on and end the stream; returns those who stayed, and what was said."""
    here = [Client()]
    run_for(upstream, here[0])
    (branch,) = upstream.asked
    said = b""
    for number, (step, argument) in enumerate(plays):
        if step == "join" and upstream.coalescer.flights:
            here.append(Client())
            run_for(upstream, here[-1])
        elif step == "chunk" and not upstream.paused:
            data = bytes([65 + number % 26]) * argument
            said += data
            branch.sink.on_chunk(branch, data)
        elif step in ("pause", "resume") and argument < len(here) and here[argument].call.run is not None:
            getattr(here[argument].call.run, step)()
        elif step == "leave" and argument < len(here) > 1 and here[argument].call.run is not None:
            leaving = here.pop(argument)
            assert leaving.call.run is not None
            leaving.call.run.cancel()
        here = [client for client in here if not client.errors]
        assert upstream.paused == (bool(here) and all(_is_paused(client) for client in here))
        if not here:
            return [], said
    branch.usage, branch.answered_ns = USED, 5
    branch.run = None
    branch.sink.on_end(branch, b"END")
    for client in here:
        if client.call.run is not None:
            client.call.run.resume()
    return here, said + b"END"


def _is_paused(client: Client) -> bool:
    return bool(getattr(client.call.run, "is_paused", False))


@given(steps)
def test_each_that_stays_has_every_byte_once(plays: list[tuple[str, int]]) -> None:
    upstream = Upstream(replay_bytes=1 << 20)

    clients, said = play(upstream, plays)

    assert clients
    assert {client.data for client in clients} == {said}
    assert [client.ends for client in clients] == [1] * len(clients)
    assert sorted(map(id, upstream.finished)) == sorted(id(client.call) for client in clients)
    assert not upstream.coalescer.flights
    assert not upstream.watch
    assert len(upstream.asked) == 1
    assert tuple(map(sum, zip(*(client.call.usage for client in clients), strict=True))) == USED


@given(steps, st.integers(1, 200))
def test_with_little_room_each_has_every_byte_or_an_error(plays: list[tuple[str, int]], replay_bytes: int) -> None:
    upstream = Upstream(replay_bytes)

    clients, said = play(upstream, plays)

    for client in clients:
        assert not client.errors
        assert client.data == said
    assert len(upstream.asked) == 1


@given(st.tuples(*[st.integers(0, 10**9)] * 4), st.integers(1, 50))
def test_shares_are_fair_and_their_sum_is_exact(total: tuple[int, int, int, int], parts: int) -> None:
    shares = split(total, parts)

    assert len(shares) == parts
    assert tuple(map(sum, zip(*shares, strict=True))) == total
    for kind in range(4):
        column = [share[kind] for share in shares]
        assert max(column) - min(column) <= 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 12), st.integers(0, 900), st.integers(0, 400)),
        max_size=120,
    )
)
def test_a_cache_stays_within_its_bytes_and_forgets_the_one_unused_for_longest(steps: list[tuple[str, int, int, int]]) -> None:
    memory = Memory(8192, ttl_s=1e-6)
    model: dict[bytes, tuple[Kept, int]] = {}
    now_ns = 1
    for step, number, size, passed_ns in steps:
        now_ns += passed_ns
        key = bytes([number])
        if step == "get":
            found = model.get(key)
            fresh = found if found is not None and now_ns < found[1] else None
            assert memory.get(key, now_ns) == (None if fresh is None else fresh[0])
            if found is not None:
                del model[key]
                if fresh is not None:
                    model[key] = fresh
        else:
            kept = Kept(200, b"", b"x" * size, False, "a", 0.0)
            memory.put(key, kept, now_ns)
            model.pop(key, None)
            if kept.size <= 1024:
                while sum(one.size for one, _ in model.values()) + kept.size > 8192:
                    del model[next(iter(model))]
                model[key] = (kept, now_ns + 1000)
        assert memory.used_bytes == sum(one.size for one, _ in model.values()) <= 8192
        assert len(memory) == len(model)
