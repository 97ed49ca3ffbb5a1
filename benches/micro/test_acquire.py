"""What a decision costs from Python: take a place under three limits, settle it. A thousand times each run: us are ns for a pair."""

from __future__ import annotations

import random
from typing import Any

import pytest
from dispatch.config import build
from dispatch.routing import Lease, Router, Routing, Ticket

NOW_NS = 10**15
LATER_NS = NOW_NS + 1_000_000
LIMITS = {"requests_per_min": 10**9, "tokens_per_min": 10**12, "concurrency": 1_000}
PAIRS = 1_000
"""Pairs of calls in each measured run, so that what is read as microseconds is nanoseconds for a pair, and the harness weighs nothing."""
ROUNDS = {"rounds": 100, "iterations": 2, "warmup_rounds": 5}


def _routing(strategy: str, endpoints: int) -> Routing:
    names = [f"e{number}" for number in range(endpoints)]
    return Routing.alone(
        build(
            {
                "endpoints": [{"name": name, "provider": "openai", "model": "m", "api_key": "env:KEY", "limits": LIMITS} for name in names],
                "models": {"chat": {"strategy": strategy, "endpoints": names}},
                "keys": [{"name": "team", "key": "sha256:" + "0" * 64, "limits": LIMITS}],
            }
        )
    )


def _attempts(everything: Routing) -> int:
    return sum(sum(state.attempts) for state in everything.snapshot(NOW_NS).endpoints.values())


@pytest.mark.benchmark(group="1,000 x acquire and settle, three limits")
@pytest.mark.parametrize("endpoints", [1, 16, 64])
@pytest.mark.parametrize("strategy", ["round_robin", "least_connections", "least_work", "rendezvous"])
def test_acquire_and_settle(benchmark: Any, strategy: str, endpoints: int) -> None:
    """An attempt that succeeds: requests, tokens and concurrency are reserved, tokens reconciled."""
    everything = _routing(strategy, endpoints)
    router: Router = everything.routers("chat")[0]
    acquire = router.acquire
    chance = random.Random(1)
    draws = [chance.getrandbits(64) for _ in range(PAIRS)]

    def pairs() -> None:
        for draw in draws:
            lease = acquire(0, 100, 50, NOW_NS, draw, 77)
            lease.settle(0, LATER_NS, 90, 40, 0, 0)  # type: ignore[union-attr]  # a Refusal would raise

    assert isinstance(acquire(0, 100, 50, NOW_NS, 1, 77), Lease)
    before = _attempts(everything)
    benchmark.pedantic(pairs, **ROUNDS)
    assert _attempts(everything) > before
    assert all(state.in_flight == 0 for state in everything.snapshot(NOW_NS).endpoints.values())


@pytest.mark.benchmark(group="1,000 x admit and settle, three limits")
def test_admit_and_settle(benchmark: Any) -> None:
    """A client's request on its key and its model."""
    everything = _routing("round_robin", 1)
    admit, model, key = everything.admit, everything.models["chat"], everything.keys["team"]

    def pairs() -> None:
        for _ in range(PAIRS):
            ticket = admit(model, key, 100, 50, NOW_NS)
            ticket.settle(0, LATER_NS, 20_000, 90, 40, 0)  # type: ignore[union-attr]  # a Refusal would raise

    assert isinstance(admit(model, key, 100, 50, NOW_NS), Ticket)
    benchmark.pedantic(pairs, **ROUNDS)
    assert everything.snapshot(NOW_NS).keys["team"].requests > 1
