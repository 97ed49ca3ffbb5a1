"""Verdicts: retry, commit, admission, cost."""

from __future__ import annotations

from typing import Any

import pytest
from dispatch.config import Price, Retry
from dispatch.errors import Failure
from dispatch.policy.admit import Shed, Wait, admit
from dispatch.policy.commit import ErrorForm, ending, error_form, may_restart, must_release
from dispatch.policy.cost import Rates, cost_pico, estimate_tokens, expect_output_tokens, micro_dollars, rates
from dispatch.policy.retry import REACH, Again, GiveUp, Reach, is_stale, judge, may_fall_back, place_wait_s
from dispatch.schema import Usage


def verdict(failure: Failure = Failure.SERVER, **facts: Any) -> Again | GiveUp:
    given: dict[str, Any] = {"attempt": 1, "committed": False, "left_s": 60.0, "draw": 0.5, "retry": Retry()}
    return judge(failure, **(given | facts))


def test_the_table_names_every_failure() -> None:
    assert set(REACH) == set(Failure)


def test_the_wait_doubles_up_to_its_cap() -> None:
    retry = Retry(attempts=16, base_s=1, cap_s=8)
    waits = [verdict(attempt=attempt, draw=0.5, retry=retry) for attempt in range(1, 8)]

    assert waits == [Again(0.5), Again(1), Again(2), Again(4), Again(4), Again(4), Again(4)]


def test_retry_after_is_a_floor() -> None:
    assert verdict(retry_after_s=5) == Again(5)
    assert verdict(retry_after_s=0.01) == Again(0.125)
    # It holds where it is longer than our own cap, too.
    assert verdict(retry_after_s=30) == Again(30)


def test_another_endpoint_is_asked_at_once() -> None:
    assert verdict(Failure.RATE_LIMITED, retry_after_s=30, others=True) == Again(0)


def test_nothing_is_tried_after_the_client_has_content() -> None:
    assert {failure: verdict(failure, committed=True, others=True, stale=True) for failure in Failure} == dict.fromkeys(
        Failure, GiveUp("committed")
    )


@pytest.mark.parametrize(
    "failure",
    [
        Failure.NONE,
        Failure.CANCELLED,
        Failure.BAD_REQUEST,
        Failure.CONTEXT_LENGTH,
        Failure.CONTENT_FILTER,
        Failure.DEADLINE,
        Failure.TOO_LARGE,
    ],
)
def test_what_would_fail_again_is_not_tried_again(failure: Failure) -> None:
    assert verdict(failure, others=True) == GiveUp("final")


@pytest.mark.parametrize("failure", [Failure.QUOTA_EXHAUSTED, Failure.CREDENTIAL])
def test_an_empty_purse_is_tried_elsewhere_only(failure: Failure) -> None:
    assert verdict(failure) == GiveUp("endpoints")
    assert verdict(failure, others=True) == Again(0)


def test_what_may_have_been_executed_is_sent_again_only_when_told_so() -> None:
    assert verdict(Failure.UNKNOWN_EXECUTION, others=True) == GiveUp("unknown")
    assert verdict(Failure.UNKNOWN_EXECUTION, retry=Retry(unknown=True)) == Again(0.125)
    assert verdict(Failure.UNKNOWN_EXECUTION, stale=True) == Again(0.125)


@pytest.mark.parametrize(("idle_s", "ended_after_s", "stale"), [(1.1, 0.05, True), (1.0, 0.05, False), (9, 0.051, False), (0, 0, False)])
def test_a_stale_connection_was_idle_and_ended_at_once(idle_s: float, ended_after_s: float, stale: bool) -> None:
    assert is_stale(idle_s=idle_s, ended_after_s=ended_after_s) is stale


def test_attempts_are_counted_with_the_first() -> None:
    assert isinstance(verdict(attempt=2), Again)
    assert verdict(attempt=3) == GiveUp("attempts")
    assert verdict(retry=Retry(attempts=1)) == GiveUp("attempts")


def test_a_wait_that_ends_after_the_deadline_is_not_begun() -> None:
    assert verdict(retry_after_s=60, left_s=60) == GiveUp("deadline")
    assert verdict(left_s=0, others=True) == GiveUp("deadline")
    assert verdict(left_s=-1, draw=0) == GiveUp("deadline")


def test_a_fallback_is_for_what_other_models_may_do_better() -> None:
    may = {failure for failure in Failure if may_fall_back(failure, committed=False, left_s=1, retry=Retry())}

    assert may == {failure for failure in Failure if REACH[failure] > Reach.FALLBACK} - {Failure.UNKNOWN_EXECUTION}
    assert may_fall_back(Failure.UNKNOWN_EXECUTION, committed=False, left_s=1, retry=Retry(unknown=True))
    for failure in (Failure.CONTEXT_LENGTH, Failure.CONTENT_FILTER):
        assert not may_fall_back(failure, committed=False, left_s=1, retry=Retry())
    named = Retry(fallback_on=("content_filter",))
    assert may_fall_back(Failure.CONTENT_FILTER, committed=False, left_s=1, retry=named)
    assert not may_fall_back(Failure.CONTEXT_LENGTH, committed=False, left_s=1, retry=named)
    assert not may_fall_back(Failure.SERVER, committed=True, left_s=1, retry=Retry())
    assert not may_fall_back(Failure.SERVER, committed=False, left_s=0, retry=Retry())


@pytest.mark.parametrize(
    ("facts", "failure"),
    [
        ({"terminated": True}, Failure.NONE),
        ({"ended": True}, Failure.BROKEN),
        ({"ended": True, "finished": True}, Failure.NONE),
        ({"finished": True}, None),
        ({"finished": True, "waited_s": 1.9}, None),
        ({"finished": True, "waited_s": 2.0}, Failure.NONE),
        ({"finished": True, "waited_s": 0.1, "has_usage": True}, Failure.NONE),
        ({"waited_s": 99.0, "has_usage": True}, None),
        ({}, None),
    ],
)
def test_a_stream_is_whole_or_broken(facts: dict[str, Any], failure: Failure | None) -> None:
    assert ending(**({"terminated": False, "finished": False, "ended": False} | facts)) is failure


def test_a_client_hears_something_after_a_while() -> None:
    assert not must_release(released=False, held_s=14.9, keepalive_s=15)
    assert must_release(released=False, held_s=15, keepalive_s=15)
    assert not must_release(released=True, held_s=99, keepalive_s=15)
    assert may_restart(committed=False)
    assert not may_restart(committed=True)


def test_an_error_takes_the_form_that_is_left() -> None:
    assert error_form(head_sent=False, stream=True) is ErrorForm.RESPONSE
    assert error_form(head_sent=True, stream=True) is ErrorForm.EVENT
    assert error_form(head_sent=True, stream=False) is ErrorForm.ABORT


FACTS: dict[str, Any] = {
    "can_help": True,
    "retry_after_s": None,
    "eta_s": None,
    "left_s": 60,
    "service_s": 0,
    "wait_max_s": 10,
    "is_full": False,
}


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({}, Wait()),
        ({"left_s": 4}, Wait()),
        ({"left_s": 0}, Shed(504, "deadline_exceeded", None)),
        ({"can_help": False}, Shed(503, "no_endpoint_available", None)),
        ({"retry_after_s": 9}, Wait()),
        ({"retry_after_s": 11}, Shed(429, "rate_limit_exceeded", 11)),
        ({"retry_after_s": 3, "left_s": 2}, Shed(429, "rate_limit_exceeded", 3)),
        # Half of the longest wait is left when it comes back.
        ({"eta_s": 12}, Shed(429, "rate_limit_exceeded", 7)),
        ({"eta_s": 3, "left_s": 4}, Wait()),
        # It would be served, but not be whole by then.
        ({"eta_s": 3, "left_s": 4, "service_s": 2}, Shed(429, "rate_limit_exceeded", 1)),
        ({"is_full": True, "eta_s": 8}, Shed(429, "queue_full", 3)),
        ({"is_full": True}, Shed(429, "queue_full", 1)),
    ],
)
def test_a_request_without_a_place_waits_if_it_can_be_served_in_time(facts: dict[str, Any], verdict: Wait | Shed) -> None:
    assert admit(**FACTS | facts) == verdict


def test_money_is_exact() -> None:
    price = rates(Price(input=2.5, output=10, cached_input=1.25))
    usage = Usage(input_tokens=1_000, output_tokens=100, cached_tokens=400)

    # Sound is text where nothing else is said.
    assert price == Rates(2_500_000, 10_000_000, 1_250_000, audio_input=2_500_000, audio_output=10_000_000)
    assert cost_pico(usage, price) == 600 * 2_500_000 + 400 * 1_250_000 + 100 * 10_000_000
    assert micro_dollars(cost_pico(usage, price)) == 3_000
    assert rates(Price(input=0.15)).cached_input == 150_000
    assert rates(None) == Rates()
    assert micro_dollars(500_000) == 1
    assert micro_dollars(499_999) == 0


def test_more_cached_than_sent_is_never_a_refund() -> None:
    assert cost_pico(Usage(input_tokens=1, cached_tokens=9), rates(Price(input=1, cached_input=0.5))) == 500_000


def test_tokens_are_estimated_from_bytes() -> None:
    assert [estimate_tokens(size) for size in (0, 1, 4, 5, 4_000)] == [8, 9, 9, 10, 1_008]
    assert expect_output_tokens(0, 1) == 256
    assert expect_output_tokens(16, 2) == 32
    assert expect_output_tokens(4_096, 0) == 256
    assert expect_output_tokens(4_096, 1, learned=700) == 700


@pytest.mark.parametrize("why", ["capacity", "concurrency"])
def test_a_retry_looks_now_and_then_for_a_place_whose_end_nobody_knows(why: str) -> None:
    retry = Retry(cap_s=2)

    def wait_s(known_s: float, why: str, since_s: float) -> float:
        return place_wait_s(known_s, why, since_s=since_s, draw=0.5, retry=retry)

    assert 0 < wait_s(-1, why, 0) == wait_s(-1, why, 1.9) < 0.2
    assert wait_s(-1, why, 2) < 0
    assert wait_s(-1, "breaker", 0) < 0
    assert wait_s(3, why, 0) == 3
