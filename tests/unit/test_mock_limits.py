"""What each way of enforcing a limit admits, against a brute-force count."""

from __future__ import annotations

import pytest
from dispatch.mock.limits import Limiter, Limits
from hypothesis import given
from hypothesis import strategies as st

steps = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 40)), max_size=120)


def admitted(limits: Limits, arrivals: list[tuple[float, int]]) -> list[tuple[float, int]]:
    limiter, now_s, taken = Limiter(limits, 0.0), 0.0, []
    for gap_s, tokens in arrivals:
        now_s += gap_s
        if limiter.admit(tokens, now_s) is None:
            taken.append((now_s, tokens))
            limiter.in_flight -= 1
    return taken


@given(steps)
def test_a_sliding_window_never_holds_more_than_the_limit(arrivals: list[tuple[float, int]]) -> None:
    taken = admitted(Limits(tokens_per_min=100, enforce="sliding_60s"), arrivals)

    for end_s, _ in taken:
        assert sum(tokens for at_s, tokens in taken if end_s - 60 < at_s <= end_s) <= 100


@given(steps)
def test_a_bucket_admits_at_most_its_size_plus_its_rate(arrivals: list[tuple[float, int]]) -> None:
    taken = admitted(Limits(tokens_per_min=120, enforce="bucket", burst_s=20), arrivals)

    for index, (start_s, _) in enumerate(taken):
        for end_s, _ in taken[index:]:
            within = sum(tokens for at_s, tokens in taken if start_s <= at_s <= end_s)
            assert within <= 40 + 2 * (end_s - start_s) + 1e-6


@given(steps)
def test_a_limit_per_second_holds_in_each_second(arrivals: list[tuple[float, int]]) -> None:
    taken = admitted(Limits(requests_per_min=120, enforce="per_second"), arrivals)

    for second in {int(at_s) for at_s, _ in taken}:
        assert sum(int(at_s) == second for at_s, _ in taken) <= 2


@pytest.mark.parametrize("enforce", ["bucket", "sliding_60s", "per_second"])
def test_a_refusal_tells_the_moment_of_admission(enforce: str) -> None:
    limits = Limits(requests_per_min=60, enforce=enforce, burst_s=1)  # type: ignore[arg-type]  # parametrised
    limiter, now_s = Limiter(limits, 0.0), 0.25
    refusal = None
    while refusal is None:
        refusal = limiter.admit(1, now_s)

    assert refusal.what == "requests"
    assert refusal.retry_after_s is not None
    assert limiter.admit(1, now_s + refusal.retry_after_s - 1e-3) is not None
    assert limiter.admit(1, now_s + refusal.retry_after_s + 1e-9) is None


def test_a_request_larger_than_the_limit_is_never_admitted() -> None:
    refusal = Limiter(Limits(tokens_per_min=100, enforce="sliding_60s"), 0.0).admit(101, 0.0)

    assert refusal is not None
    assert refusal.retry_after_s is None


def test_all_or_nothing_a_refusal_for_tokens_takes_no_request() -> None:
    limiter = Limiter(Limits(requests_per_min=2, tokens_per_min=10, enforce="sliding_60s"), 0.0)

    assert [limiter.admit(9, 0.0) is None, limiter.admit(9, 0.0) is None, limiter.admit(1, 0.0) is None] == [True, False, True]


def test_concurrency_counts_what_is_in_flight() -> None:
    limiter = Limiter(Limits(concurrency=1), 0.0)

    assert limiter.admit(1, 0.0) is None
    assert limiter.admit(1, 0.0) is not None
    limiter.in_flight -= 1
    assert limiter.admit(1, 0.0) is None


def test_headers_tell_limit_rest_and_reset() -> None:
    limiter = Limiter(Limits(requests_per_min=60, tokens_per_min=6000), 0.0)
    limiter.admit(100, 0.0)

    assert limiter.head(0.0) == (
        b"x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\nx-ratelimit-reset-requests: 1s\r\n"
        b"x-ratelimit-limit-tokens: 6000\r\nx-ratelimit-remaining-tokens: 5900\r\nx-ratelimit-reset-tokens: 1s\r\n"
    )
