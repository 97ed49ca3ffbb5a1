from __future__ import annotations

from typing import Any

import pytest
from dispatch.config import Config, build
from dispatch.errors import ConfigError, Failure
from dispatch.routing import (
    DURATION_BOUNDS_S,
    FAILURES,
    FIRST_TOKEN_BOUNDS_S,
    OVERHEAD_BOUNDS_S,
    REFUSED,
    Board,
    Lease,
    Refusal,
    Routing,
    Sizes,
    Slots,
    Ticket,
)
from msgspec.structs import replace

NOW = 10**15
S = 10**9


def config(*names: str, models: dict[str, Any] | None = None, keys: tuple[str, ...] = (), limits: dict[str, Any] | None = None) -> Config:
    return build(
        {
            "endpoints": [
                {"name": name, "provider": "openai", "model": "m", "api_key": "env:KEY", "limits": limits or {}} for name in names
            ],
            "models": models or {"chat": {"endpoints": list(names)}},
            "keys": [{"name": name, "key": f"sha256:{number:064x}", "limits": limits or {}} for number, name in enumerate(keys)],
        }
    )


def lease(routing: Routing, model: str = "chat", now: int = NOW, tried: int = 0) -> Lease:
    taken = routing.routers(model)[0].acquire(tried, 100, 50, now, 1, 0)
    assert isinstance(taken, Lease)
    return taken


def test_the_core_counts_failures_under_the_names_of_the_taxonomy() -> None:
    assert [failure.name.lower() for failure in Failure] == FAILURES
    assert [failure.value for failure in Failure] == list(range(REFUSED))


def test_a_lease_names_its_endpoint_and_is_settled_once() -> None:
    routing = Routing.alone(config("a", "b"))
    taken = lease(routing)

    assert routing.routers("chat")[0].endpoints[taken.position].name in "ab"
    assert taken.settle(Failure.NONE, NOW + S, 90, 40, 10, 0)
    assert not taken.settle(Failure.SERVER, NOW + S, 0, 0, 0, 0)


def test_what_was_done_is_read_by_name() -> None:
    routing = Routing.alone(config("a", keys=("team",)))
    ticket = routing.admit(routing.models["chat"], routing.keys["team"], 100, 50, NOW)
    assert isinstance(ticket, Ticket)
    held = lease(routing)
    during = routing.snapshot(NOW)
    held.first_byte(NOW + S // 4)
    held.settle(Failure.NONE, NOW + 2 * S, 90, 40, 10, 0)
    ticket.settle(Failure.NONE, NOW + 2 * S, 25_000, 90, 40, 10)
    after = routing.snapshot(NOW + 2 * S)

    assert (during.endpoints["a"].in_flight, during.endpoints["a"].prefill_tokens, during.endpoints["a"].decode_tokens) == (1, 100, 50)
    assert (during.keys["team"].in_flight, during.models["chat"].in_flight) == (1, 1)
    assert (after.endpoints["a"].in_flight, after.endpoints["a"].tokens, after.endpoints["a"].attempts[0]) == (0, [90, 40, 10], 1)
    assert (after.keys["team"].requests, after.keys["team"].tokens) == (1, [90, 40, 10])
    assert after.models["chat"].outcomes[Failure.NONE] == 1
    pair = after.pairs["chat", "a"]
    assert (pair.first_token.sum_ns, pair.duration.sum_ns, after.overhead.sum_ns) == (S // 4, 2 * S, 25_000)
    assert [len(pair.first_token.counts), len(pair.duration.counts), len(after.overhead.counts)] == [
        len(bounds) + 1 for bounds in (FIRST_TOKEN_BOUNDS_S, DURATION_BOUNDS_S, OVERHEAD_BOUNDS_S)
    ]


def test_limits_of_the_configuration_hold_and_a_refusal_says_until_when() -> None:
    routing = Routing.alone(config("a", limits={"requests_per_min": 6, "burst_s": 0.5}))
    lease(routing)
    refusal = routing.routers("chat")[0].acquire(0, 100, 50, NOW, 1, 0)

    assert isinstance(refusal, Refusal)
    assert refusal.why == "requests_per_min"
    assert 10 * S <= refusal.retry_after_ns < 10.1 * S
    assert isinstance(routing.routers("chat")[0].acquire(0, 1, 1, NOW + refusal.retry_after_ns, 1, 0), Lease)
    assert routing.snapshot(NOW).gauges["a"].remaining == [("requests_per_min", 0)]
    assert repr(refusal).startswith('Refusal(why="requests_per_min", retry_after_ns=10')


def test_a_plan_of_two_pools_has_two_routers_and_one_budget_each() -> None:
    routing = Routing.alone(config("a", "b", "c", models={"chat": {"fallback": [{"endpoints": ["a", "b"]}, "c"]}}))
    first, second = routing.routers("chat")

    assert [endpoint.name for endpoint in first.endpoints + second.endpoints] == ["a", "b", "c"]
    assert [first.retry_allowed(NOW) and bool(first.acquire(0, 1, 1, NOW, 1, 0)) for _ in range(12)].count(True) == 10
    assert second.retry_allowed(NOW)
    assert repr(second) == "Router(round_robin, c)"


def test_a_reload_keeps_rows_by_name_and_never_gives_one_away() -> None:
    routing = Routing.alone(config("a", "b", keys=("team",)))
    old = lease(routing, tried=0b10)
    reloaded = routing.reloaded(0, config("new", "a", keys=("other", "team")))

    assert reloaded.snapshot(NOW).endpoints["a"].in_flight == 1
    assert reloaded.snapshot(NOW).endpoints["new"].in_flight == 0
    assert (reloaded.keys["team"], reloaded.keys["other"]) == (routing.keys["team"], 1)
    assert old.settle(Failure.NONE, NOW, 1, 1, 0, 0)
    assert reloaded.snapshot(NOW).endpoints["a"].attempts[0] == 1


def test_slots_travel_as_text() -> None:
    first = config("a", "b")
    slots = Slots.of(first, Sizes.of(first))

    assert Slots.decode(slots.encode()) == slots


def test_a_configuration_that_outgrows_the_board_needs_a_restart() -> None:
    small = config(*(f"e{number}" for number in range(64)))
    routing = Routing(Board.heap(Sizes(endpoints=64)), 0, small, Slots.of(small, Sizes(endpoints=64)))

    with pytest.raises(ConfigError, match=r"endpoints: needs a restart: .* 64 rows"):
        routing.reloaded(0, config("one-more"))


def test_a_strategy_that_the_core_does_not_have_is_named_with_its_pool() -> None:
    known = config("a", models={"chat": {"endpoints": ["a"]}})
    chat = known.models["chat"]
    # The configuration refuses it first; the core does not rely on that.
    broken = replace(known, models={"chat": replace(chat, plan=replace(chat.plan, strategy="best"))})

    with pytest.raises(ConfigError, match=r"pools\[0\]\.strategy: .*best"):
        Routing.alone(broken)


@pytest.mark.parametrize("value", [-1, 2**63, 1.5, None])
def test_numbers_out_of_range_are_refused_before_anything_is_taken(value: Any) -> None:
    routing = Routing.alone(config("a"))
    with pytest.raises((OverflowError, TypeError)):
        routing.routers("chat")[0].acquire(0, 1, 1, value, 1, 0)

    assert routing.snapshot(NOW).endpoints["a"].in_flight == 0


def test_unknown_numbers_are_refused() -> None:
    routing = Routing.alone(config("a"))
    held = lease(routing)

    with pytest.raises(ValueError, match="no failure 200"):
        held.settle(200, NOW, 0, 0, 0, 0)
    with pytest.raises(IndexError, match="no model"):
        routing.admit(9, -1, 0, 0, NOW)
    with pytest.raises(IndexError, match="no key"):
        routing.admit(0, 5, 0, 0, NOW)
    assert held.settle(Failure.NONE, NOW, 0, 0, 0, 0)


def test_waiters_are_counted() -> None:
    routing = Routing.alone(config("a"))
    model = routing.models["chat"]
    turns = routing.turns(model)
    turns.join(1)
    turns.join(2)
    turns.leave()
    routing.refuse(model, -1)

    assert turns.depth == 1
    assert routing.snapshot(NOW).models["chat"].queued == 1
    assert routing.snapshot(NOW).models["chat"].outcomes[REFUSED] == 1


def test_positions_beyond_64_can_be_left_out() -> None:
    names = [f"e{number}" for number in range(100)]
    routing = Routing.alone(config(*names))
    all_but_70 = (1 << 100) - 1 - (1 << 70)

    assert lease(routing, tried=all_but_70).position == 70


def test_a_lost_lease_gives_its_place_back() -> None:
    routing = Routing.alone(config("a", limits={"concurrency": 1}))
    for _ in range(3):
        lease(routing)

    assert routing.snapshot(NOW).endpoints["a"].attempts[Failure.CANCELLED] == 3
