"""Laws of the verdicts, over all their arguments."""

from __future__ import annotations

from typing import Any

from dispatch.config import Price, Retry
from dispatch.errors import Failure
from dispatch.policy.cost import cost_pico, rates
from dispatch.policy.retry import REACH, Again, Reach, judge
from dispatch.providers.classify import classify, describe
from dispatch.schema import Usage
from hypothesis import given
from hypothesis import strategies as st

RETRIES = st.builds(
    Retry,
    attempts=st.integers(1, 16),
    base_s=st.floats(0.001, 1_000),
    cap_s=st.floats(0.001, 1_000),
    unknown=st.booleans(),
)
FACTS = st.fixed_dictionaries(
    {
        "attempt": st.integers(1, 20),
        "committed": st.booleans(),
        "left_s": st.floats(-1, 1_000),
        "draw": st.floats(0, 1, exclude_max=True),
        "retry": RETRIES,
        "retry_after_s": st.none() | st.floats(0, 1_000),
        "others": st.booleans(),
        "stale": st.booleans(),
    }
)
FAILURES = st.sampled_from(list(Failure))


@given(FAILURES, FACTS)
def test_what_is_tried_again_may_be(failure: Failure, facts: dict[str, Any]) -> None:
    verdict = judge(failure, **facts)
    if not isinstance(verdict, Again):
        return

    assert not facts["committed"]
    assert REACH[failure] >= Reach.ELSEWHERE
    assert facts["attempt"] < facts["retry"].attempts
    assert 0 <= verdict.after_s < facts["left_s"]
    assert facts["others"] or REACH[failure] is Reach.ANYWHERE
    assert failure is not Failure.UNKNOWN_EXECUTION or facts["retry"].unknown or facts["stale"]


@given(FAILURES, FACTS)
def test_the_wait_is_between_its_floor_and_its_cap(failure: Failure, facts: dict[str, Any]) -> None:
    verdict = judge(failure, **facts)
    if not isinstance(verdict, Again) or facts["others"]:
        return

    floor_s = facts["retry_after_s"] or 0.0
    retry: Retry = facts["retry"]
    assert floor_s <= verdict.after_s <= max(floor_s, min(retry.cap_s, retry.base_s * 2 ** (facts["attempt"] - 1)))


@given(FAILURES, FACTS, st.floats(0, 1_000))
def test_more_time_never_takes_a_retry_away(failure: Failure, facts: dict[str, Any], more_s: float) -> None:
    if isinstance(judge(failure, **facts), Again):
        assert isinstance(judge(failure, **(facts | {"left_s": facts["left_s"] + more_s})), Again)


@given(FAILURES, FACTS)
def test_the_same_facts_have_the_same_verdict(failure: Failure, facts: dict[str, Any]) -> None:
    assert judge(failure, **facts) == judge(failure, **facts)


TOKENS = st.integers(0, 10**9)
USAGES = st.builds(Usage, input_tokens=TOKENS, output_tokens=TOKENS, cached_tokens=TOKENS)
PRICES = st.builds(Price, input=st.floats(0, 1_000), output=st.floats(0, 1_000), cached_input=st.none() | st.floats(0, 1_000))


@given(st.lists(USAGES, max_size=8), PRICES, st.randoms())
def test_sums_of_money_do_not_depend_on_their_order(usages: list[Usage], price: Price, random: Any) -> None:
    costs = [cost_pico(usage, rates(price)) for usage in usages]
    total = sum(costs)
    random.shuffle(costs)

    assert sum(costs) == total >= 0


@given(st.integers(100, 599), st.sampled_from([b"", b"application/json", b"text/html", b"text/event-stream", b"\xff"]), st.binary())
def test_any_answer_is_classified(status: int, content_type: bytes, body: bytes) -> None:
    verdict = classify(status, content_type, body)

    assert status < 300 or verdict is not Failure.NONE
    assert describe(body) == describe(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "type", "code", "message", "innererror", "detail", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.integers(200, 599), JSON)
def test_any_json_is_classified(status: int, tree: object) -> None:
    import msgspec

    classify(status, b"application/json", msgspec.json.encode(tree))
