"""What a decision costs from Python: take a place under three limits, settle it."""

from __future__ import annotations

import random
from itertools import cycle
from typing import Any

import pytest
from dispatch.config import build
from dispatch.routing import Lease, Router, Routing, Ticket

NOW_NS = 10**15
LATER_NS = NOW_NS + 1_000_000
LIMITS = {"requests_per_min": 10**9, "tokens_per_min": 10**12, "concurrency": 1_000}
ROUNDS = {"rounds": 100, "iterations": 2_000, "warmup_rounds": 5}
"""Many calls a round: one alone takes no longer than reading the clock around it."""


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


@pytest.mark.benchmark(group="acquire and settle, three limits")
@pytest.mark.parametrize("endpoints", [1, 16, 64])
@pytest.mark.parametrize("strategy", ["round_robin", "least_connections", "least_work", "rendezvous"])
def test_acquire_and_settle(benchmark: Any, strategy: str, endpoints: int) -> None:
    """An attempt that succeeds: requests, tokens and concurrency are reserved, tokens reconciled."""
    everything = _routing(strategy, endpoints)
    router: Router = everything.routers("chat")[0]
    acquire = router.acquire
    draws = cycle([random.Random(1).getrandbits(64) for _ in range(1_000)])

    def one() -> None:
        lease = acquire(0, 100, 50, NOW_NS, next(draws), 77)
        lease.settle(0, LATER_NS, 90, 40, 0, 0)  # type: ignore[union-attr]  # a Refusal would raise

    assert isinstance(acquire(0, 100, 50, NOW_NS, 1, 77), Lease)
    before = _attempts(everything)
    benchmark.pedantic(one, **ROUNDS)
    assert _attempts(everything) > before
    assert all(state.in_flight == 0 for state in everything.snapshot(NOW_NS).endpoints.values())


@pytest.mark.benchmark(group="admit and settle, three limits")
def test_admit_and_settle(benchmark: Any) -> None:
    """A client's request on its key and its model."""
    everything = _routing("round_robin", 1)
    admit, model, key = everything.admit, everything.models["chat"], everything.keys["team"]

    def one() -> None:
        ticket = admit(model, key, 100, 50, NOW_NS)
        ticket.settle(0, LATER_NS, 20_000, 90, 40, 0)  # type: ignore[union-attr]  # a Refusal would raise

    assert isinstance(admit(model, key, 100, 50, NOW_NS), Ticket)
    benchmark.pedantic(one, **ROUNDS)
    assert everything.snapshot(NOW_NS).keys["team"].requests > 1
