"""Limits that other gateways overran, by the threads that tell of it: checked before, charged after, or once per process."""

from __future__ import annotations

from typing import Any

from dispatch.config import build
from dispatch.routing import Board, Lease, Routing, Sizes, Slots, Ticket

NOW = 10**15
S = 10**9
MS = 10**6
WORKERS = 4


def config(limits: dict[str, Any], key_limits: dict[str, Any] | None = None) -> Any:
    return build(
        {
            "endpoints": [{"name": "a", "provider": "openai", "model": "m", "api_key": "env:KEY", "limits": limits}],
            "models": {"m": "a"},
            "keys": [{"name": "team", "key": "sha256:" + "0" * 64, "limits": key_limits or {}}],
        }
    )


def workers(found: Any) -> list[Routing]:
    """Several workers on one board."""
    sizes = Sizes.of(found, WORKERS)
    board, slots = Board.heap(sizes), Slots.of(found, sizes)
    return [Routing(board, worker, found, slots) for worker in range(WORKERS)]


def worst_minute(taken: list[tuple[int, int]]) -> int:
    """The most units in any 60 s: (instant, units)."""
    return max(sum(units for at, units in taken if first <= at < first + 60 * S) for first, _ in taken)


def test_tokens_are_charged_before_an_answer_is_there_and_not_after_it_litellm_18730() -> None:
    """There 663 tokens passed a limit of 100 a minute, because nothing was charged while answers were under way."""
    acquire = Routing.alone(config({"tokens_per_min": 100})).routers("m")[0].acquire
    taken, under_way = [], []
    for number in range(1_200):
        now = NOW + number * 100 * MS
        lease = acquire(0, 13, 20, now, number, 0)
        if isinstance(lease, Lease):
            taken.append((now, 33))
            under_way.append(lease)

    # One request larger than the burst passes alone on a full bucket: the limit, and one such request.
    assert worst_minute(taken) <= 100 + 33
    assert all(lease.settle(0, NOW + 200 * S, 13, 20, 0, 0) for lease in under_way)


def test_a_limit_is_one_limit_whatever_the_number_of_workers_litellm_34732_40095_40291_16011() -> None:
    """There each process or replica counted for itself, or looked before it counted."""
    everyone = workers(config({"requests_per_min": 600, "tokens_per_min": 60_000}))
    acquires = [routing.routers("m")[0].acquire for routing in everyone]
    taken = []
    for number in range(24_000):
        now = NOW + number * 5 * MS
        lease = acquires[number % WORKERS](0, 60, 40, now, number, 0)
        if isinstance(lease, Lease):
            lease.settle(0, now, 60, 40, 0, 0)
            taken.append((now, 1))

    assert worst_minute(taken) <= 600
    assert len(taken) >= 0.98 * 1_200


def test_a_keys_limit_holds_over_all_workers_too_litellm_34732_40095_40291_16011() -> None:
    everyone = workers(config({}, {"requests_per_min": 120, "concurrency": 8}))
    held = [everyone[number % WORKERS].admit(0, 0, 1, 1, NOW + number * S) for number in range(20)]
    tickets = [one for one in held if isinstance(one, Ticket)]

    assert len(tickets) == 8
    assert all(one.settle(0, NOW + 30 * S, 0, 1, 1, 0) for one in tickets)
    passed = []
    for number in range(2_400):
        now = NOW + 100 * S + number * 50 * MS
        one = everyone[number % WORKERS].admit(0, 0, 1, 1, now)
        if isinstance(one, Ticket):
            one.settle(0, now, 0, 1, 1, 0)
            passed.append((now, 1))
    assert worst_minute(passed) <= 120


def test_what_was_used_beyond_the_estimate_is_charged_as_well_litellm_18730() -> None:
    acquire = Routing.alone(config({"tokens_per_min": 6_000})).routers("m")[0].acquire
    taken = []
    for number in range(2_400):
        now = NOW + number * 50 * MS
        lease = acquire(0, 10, 10, now, number, 0)
        if isinstance(lease, Lease):
            # Four times what was thought.
            lease.settle(0, now, 40, 40, 0, 0)
            taken.append((now, 80))

    # The last one's surplus is known only after it has passed.
    assert worst_minute(taken) <= 6_000 + 2 * 80
