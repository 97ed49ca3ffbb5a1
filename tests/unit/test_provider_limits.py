"""What providers say of their limits, in their own fields, and what the core makes of it."""

from __future__ import annotations

import pytest
from dispatch.config import build
from dispatch.policy.provider_limits import Left, left
from dispatch.routing import Lease, Refusal, Routing

NOW = 10**15
S = 10**9
WALL_S = 1_700_000_000.0


def read(fields: dict[bytes, bytes]) -> list[Left]:
    return list(left(fields.get, WALL_S))


def test_openai_says_what_is_left_and_for_how_long() -> None:
    fields = {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-limit-tokens": b"150000",
        b"x-ratelimit-remaining-tokens": b"149984",
        b"x-ratelimit-reset-tokens": b"1m6.5s",
    }

    assert read(fields) == [Left(0, 59, 60, 1.0), Left(1, 149_984, 150_000, 66.5)]


def test_anthropic_says_it_by_kind_and_with_an_instant() -> None:
    fields = {
        b"anthropic-ratelimit-requests-remaining": b"0",
        b"anthropic-ratelimit-requests-limit": b"50",
        b"anthropic-ratelimit-requests-reset": b"2023-11-14T22:13:32Z",
        b"anthropic-ratelimit-input-tokens-remaining": b"12000",
        b"anthropic-ratelimit-output-tokens-remaining": b"7",
        b"anthropic-ratelimit-output-tokens-reset": b"2023-11-14T22:13:00Z",
    }

    assert read(fields) == [Left(0, 0, 50, 12.0), Left(2, 12_000, 0, 0.0), Left(4, 7, 0, 0.0)]


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [(b"20ms", 0.02), (b"6m0s", 300.0), (b"1h", 300.0), (b"soon", 0.0), (b"\xff", 0.0), (b"2099-01-01T00:00:00", 300.0), (b"", 0.0)],
)
def test_a_reset_is_a_span_or_an_instant_and_never_too_long(reset: bytes, seconds: float) -> None:
    found = read({b"x-ratelimit-remaining-requests": b"1", b"x-ratelimit-reset-requests": reset})

    assert found == [Left(0, 1, 0, seconds)]


@pytest.mark.parametrize("value", [b"", b"-1", b"many", b"1e9", b"9" * 20])
def test_what_is_no_number_is_left_out(value: bytes) -> None:
    assert read({b"x-ratelimit-remaining-tokens": value}) == []


def routing(**limits: int) -> Routing:
    endpoint = {"name": "a", "provider": "openai", "model": "m", "api_key": "env:KEY", "limits": limits}
    return Routing.alone(build({"endpoints": [endpoint], "models": {"m": "a"}}))


def taken(routing: Routing, now: int) -> Lease | Refusal:
    return routing.routers("m")[0].acquire(0, 100, 0, now, 1, 0)


def test_nothing_left_until_an_instant_is_a_pause_until_then() -> None:
    all_of_it = routing(requests_per_min=6_000)
    lease = taken(all_of_it, NOW)
    assert isinstance(lease, Lease)
    lease.learn(0, 0, 6_000, 2 * S, NOW)
    refusal = taken(all_of_it, NOW + 1)

    assert isinstance(refusal, Refusal)
    assert refusal.why == "cooling"
    assert refusal.retry_after_ns == 2 * S - 1
    assert isinstance(taken(all_of_it, NOW + 2 * S), Lease)


def test_a_bucket_holds_no_more_than_the_provider_says_is_left() -> None:
    all_of_it = routing(requests_per_min=6_100)
    lease = taken(all_of_it, NOW)
    assert isinstance(lease, Lease)
    lease.learn(0, 3, 0, 0, NOW)
    lease.learn(0, 50, 0, 0, NOW)
    lease.learn(1, 3, 0, 0, NOW)
    lease.learn(99, 3, 0, 0, NOW)

    assert [isinstance(taken(all_of_it, NOW), Lease) for _ in range(5)] == [True, True, True, False, False]


def test_a_limit_below_the_configured_one_is_taken_over() -> None:
    all_of_it = routing(requests_per_min=600)
    lease = taken(all_of_it, NOW)
    assert isinstance(lease, Lease)
    lease.learn(0, 5, 300, 0, NOW)

    assert all_of_it.snapshot(NOW).gauges["a"].found_share == 0.5
