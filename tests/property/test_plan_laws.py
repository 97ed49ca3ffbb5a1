"""The laws of every plan over several models, for plans nested at random over models that answer, fail and hang.

One answer or one clear error, within the deadline; nothing is left under way anywhere, and upstream has seen every loser close; the
client's call cost what its parts cost; a budget is exceeded by one call at most.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.hosted import Hosted, until
from tests.integration.models import Model, config
from tests.integration.peer import chat, events_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DEADLINE_S = 0.6
LATE_S = 5.0
"""A machine that builds something beside the test is allowed this much."""
NAMES = "abcd"

leaves = st.sampled_from(NAMES)


def composed(plans: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(plans, min_size=2, max_size=3)
    doubt = st.sampled_from([{}, {"verify": {"regex": "yes"}}, {"samples": 2}, {"logprob_below": -0.5}])
    rules = st.sampled_from(
        [{"by": "vote"}, {"by": "vote", "compare": "json"}, {"by": "judge", "model": "d"}, {"by": "fuse", "model": "c"}]
    )
    return st.one_of(
        st.builds(lambda steps, when: {"cascade": {"steps": steps, "escalate_if": when}}, several, doubt),
        st.builds(lambda of, rule: {"ensemble": {"of": of, **rule}}, several, rules),
        st.builds(lambda steps: {"chain": {"steps": [{"plan": step, "prompt": "{input} {last}"} for step in steps]}}, several),
        st.builds(lambda work: {"fanout": {"work": work, "split": "list", "partial": True}}, plans),
        st.builds(lambda steps: {"fallback": steps}, several),
    )


plans = composed(leaves | composed(leaves))
behaviours = st.tuples(*[st.sampled_from(["yes", "no", '{"a": 1}', "[[2]]", "", 500, 503, None]) for _ in NAMES])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=plans, says=behaviours, stream=st.booleans())
async def test_one_answer_in_time_and_nothing_left(plan: Any, says: tuple[Any, ...], stream: bool, tmp_path: Path) -> None:
    ledger = tmp_path / uuid4().hex
    async with AsyncExitStack() as stack:
        models = [await stack.enter_async_context(Model(said)) for said in says]
        settings_of = config(plan, *models, deadline_s=DEADLINE_S, queue={"max": 0}) | {"server": {"ledger": str(ledger)}}
        async with Hosted(settings_of) as hosted:
            began = monotonic()
            reply = await (await hosted.peer()).ask(chat(text="Do.\n\none\ntwo", stream=stream))
            took_s = monotonic() - began
            await until(lambda: hosted.reports)
            ((call, outcome, _),) = hosted.reports

            assert took_s < DEADLINE_S + LATE_S
            assert reply.status == 200 or reply.error["message"]
            if reply.status == 200:
                assert outcome == 0
                assert reply.is_whole
                assert not stream or events_of(reply.body)[-1] == "[DONE]"
            # `Hosted` asserts when it ends that no lease, ticket or connection is left.
        lines = [json.loads(line) for line in ledger.with_suffix(".0").read_text().splitlines()]
        delivered = [line for line in lines if line["outcome"] == "delivered"]
        assert call.attempts == len(lines)
        assert call.usage[0] == sum(line["tokens_in"] for line in delivered)
        assert call.usage[1] == sum(line["tokens_out"] for line in delivered)
        for model, said in zip(models, says, strict=True):
            if said is None:
                await model.until(lambda model=model: model.left == len(model.requests))  # type: ignore[misc]  # bound now


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    plan=composed(leaves | composed(leaves)), calls=st.integers(1, 6), limit=st.sampled_from([{}, {"max_tokens": 10}]), stream=st.booleans()
)
async def test_a_budget_is_exceeded_by_one_call_at_most(plan: Any, calls: int, limit: Any, stream: bool) -> None:
    """However plans are nested, and however many calls they make at once: a call costs 110 tokens here, and 110 microdollars."""
    (kind,) = plan
    if kind == "fallback":
        # It has no budget.
        return
    for budget in ({"tokens": 110 * calls}, {"dollars": 110e-6 * calls}):
        async with AsyncExitStack() as stack:
            models = [await stack.enter_async_context(Model("no")) for _ in NAMES]
            settings_of = config({kind: {**plan[kind], "budget": budget}}, *models, price=1.0)
            async with Hosted(settings_of) as hosted:
                await (await hosted.peer()).ask(chat(text="Do.\n\none\ntwo\nthree", stream=stream, **limit))
                await until(lambda hosted=hosted: hosted.reports)  # type: ignore[misc]  # bound now
                ((call, _, _),) = hosted.reports
                assert call.usage[0] + call.usage[1] <= 110 * (calls + 1)
