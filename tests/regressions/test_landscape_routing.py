"""Load that other routers counted wrongly, by the threads in which their users told of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from dispatch.config import build
from dispatch.config.plans import STRATEGIES
from dispatch.errors import Failure
from dispatch.routing import Lease, Routing

NOW = 10**15
S = 10**9
MS = 10**6
REPLICAS = 8
HASHES = ("maglev", "rendezvous", "ring_hash", "cache_aware")
BY_LOAD = ("least_work", "least_connections", "peak_ewma")


def routing(strategy: str, **pool: Any) -> Routing:
    names = [f"e{number}" for number in range(REPLICAS)]
    endpoints = [{"name": name, "provider": "openai", "model": "m", "api_key": "env:KEY"} for name in names]
    return Routing.alone(build({"endpoints": endpoints, "models": {"m": {"endpoints": names, "strategy": strategy, **pool}}}))


def take(all_of_it: Routing, number: int, *, tried: int = 0, now: int = NOW, key: int = 0) -> Lease:
    draw = number * 0x9E3779B97F4A7C15 % 2**64
    lease = all_of_it.routers("m")[0].acquire(tried, 100, 50, now, draw, key)
    assert isinstance(lease, Lease)
    return lease


def in_flight(all_of_it: Routing) -> list[int]:
    return [state.in_flight for state in all_of_it.snapshot(NOW).endpoints.values()]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_way_to_pick_counts_what_it_sends_sglang_15473_vllm_router_179(strategy: str) -> None:
    """There one code path never counted its load, and one of eight got all of it."""
    all_of_it = routing(strategy)
    held = [take(all_of_it, number, key=number * 2**40 + 1) for number in range(400)]

    assert sum(in_flight(all_of_it)) == 400
    assert Counter(lease.position for lease in held) == Counter(dict(enumerate(in_flight(all_of_it))))
    assert max(in_flight(all_of_it)) < 2.5 * 400 / REPLICAS
    assert all(lease.settle(0, NOW + S, 100, 50, 0, 0) for lease in held)
    assert in_flight(all_of_it) == [0] * REPLICAS


@pytest.mark.parametrize("strategy", BY_LOAD)
def test_load_counts_from_the_choice_on_and_not_from_the_answer_sglang_27547(strategy: str) -> None:
    """There a burst went to the first worker as a whole, because load was added when answers came."""
    all_of_it = routing(strategy, choices=0)
    held = [take(all_of_it, number) for number in range(REPLICAS * 10)]
    assert max(in_flight(all_of_it)) <= 12
    assert len(held) == REPLICAS * 10


@pytest.mark.parametrize("strategy", BY_LOAD)
def test_the_busiest_is_not_asked_while_others_are_idle_sglang_14532_9484_vllm_router_254(strategy: str) -> None:
    """There a comparison the wrong way round, or on stale numbers, sent everything to who had most."""
    all_of_it = routing(strategy, choices=0)
    others = (1 << REPLICAS) - 1 & ~0b1
    busy = [take(all_of_it, number, tried=others) for number in range(50)]
    quick = [take(all_of_it, number, now=NOW + number * MS) for number in range(7)]

    assert {lease.position for lease in busy} == {0}
    assert 0 not in {lease.position for lease in quick}


@pytest.mark.parametrize("strategy", BY_LOAD)
def test_a_stream_is_load_until_it_ends_and_not_until_it_begins_vllm_router_254(strategy: str) -> None:
    all_of_it = routing(strategy)
    held = [take(all_of_it, number) for number in range(40)]
    for lease in held:
        lease.first_byte(NOW + 100 * MS)

    assert sum(in_flight(all_of_it)) == 40
    state = all_of_it.snapshot(NOW).endpoints.values()
    assert (sum(one.prefill_tokens for one in state), sum(one.decode_tokens for one in state)) == (0, 40 * 50)


@pytest.mark.parametrize("strategy", HASHES[:3])
def test_who_lost_its_keys_gets_them_back_and_nobody_starves_sglang_14305(strategy: str) -> None:
    """There the replica with the smallest tree got the fewest requests, and so an ever smaller tree."""
    all_of_it = routing(strategy)
    keys = [number * 0x9E3779B97F4A7C15 % 2**64 | 1 for number in range(400)]
    homes = [take(all_of_it, number, key=key).position for number, key in enumerate(keys)]
    shares = Counter(homes)

    assert len(shares) == REPLICAS
    assert min(shares.values()) > 400 / REPLICAS / 3
    assert [take(all_of_it, number, key=key).position for number, key in enumerate(keys)] == homes


def test_a_verdict_about_health_never_touches_what_is_under_way_vllm_router_197() -> None:
    """There each health check set the load of live replicas to zero."""
    all_of_it = routing("least_connections")
    others = (1 << REPLICAS) - 1 & ~0b1
    held = [take(all_of_it, number, tried=others) for number in range(20)]
    for lease in held[:6]:
        lease.settle(Failure.SERVER, NOW + S, 0, 0, 0, 0)
    opened = all_of_it.snapshot(NOW + S)
    probe = take(all_of_it, 99, tried=others, now=NOW + 5 * S)
    probe.settle(0, NOW + 6 * S, 100, 50, 0, 0)
    closed = all_of_it.snapshot(NOW + 6 * S)

    assert (opened.gauges["e0"].breaker, opened.endpoints["e0"].in_flight) == ("open", 14)
    assert (closed.gauges["e0"].breaker, closed.endpoints["e0"].in_flight) == ("closed", 14)
    assert all(lease.settle(0, NOW + 7 * S, 100, 50, 0, 0) for lease in held[6:])
    assert all_of_it.snapshot(NOW + 7 * S).endpoints["e0"].in_flight == 0
