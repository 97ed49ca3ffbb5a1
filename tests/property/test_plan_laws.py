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
from dispatch.cli import main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.hosted import Hosted, until
from tests.integration.models import Model, config
from tests.integration.peer import chat, events_of, post

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DEADLINE_S = 0.6
LATE_S = 5.0
"""A machine that builds something beside the test is allowed this much."""
NAMES = "abcd"

SOON = {"after": 0.05, "max_share": 1, "max_cost_share": 1}
INDEX = "INDEX"
"""Stands in plans for an index that the test makes."""
BUDGETED = {"cascade", "ensemble", "chain", "fanout", "retrieve"}

leaves = st.sampled_from([*NAMES, {"endpoints": ["a", "b"], "strategy": "round_robin"}])
"""Endpoints, and a pool that is hedged."""


def composed(plans: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(plans, min_size=2, max_size=3)
    doubt = st.sampled_from([{}, {"verify": {"regex": "yes"}}, {"verify": {"plan": "d"}}, {"samples": 2}, {"logprob_below": -0.5}])
    rules = st.sampled_from(
        [
            {"by": "vote"},
            {"by": "vote", "compare": "json"},
            {"by": "judge", "model": "d"},
            {"by": "fuse", "model": "c"},
            *({"by": "mixture", "model": "c", "layers": layers} for layers in (1, 2)),
        ]
    )
    return st.one_of(
        st.builds(lambda steps, when: {"cascade": {"steps": steps, "escalate_if": when}}, several, doubt),
        st.builds(lambda first, last: {"cascade": {"steps": [first, last]}}, several, plans),
        st.builds(lambda of, rule: {"ensemble": {"of": of, **rule}}, several, rules),
        st.builds(lambda one, samples: {"ensemble": {"of": [one], "by": "self_consistency", "samples": samples}}, plans, st.integers(2, 3)),
        st.builds(lambda steps: {"chain": {"steps": [{"plan": step, "prompt": "{input} {last}"} for step in steps]}}, several),
        st.builds(lambda work: {"fanout": {"work": work, "split": "list", "partial": True}}, plans),
        st.builds(lambda work: {"fanout": {"work": work, "split": "list", "join": "reduce", "reduce": "c"}}, plans),
        st.builds(lambda steps: {"fallback": steps}, several),
        st.builds(lambda plan: {"retrieve": {"index": INDEX, "plan": plan}}, plans),
        chosen(plans),
    )


def chosen(plans: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Plans that ask one of their parts."""
    return st.one_of(
        st.builds(lambda x, y: {"split": {"arms": {"x": x, "y": y}, "shares": {"x": 1, "y": 1}, "sticky": False}}, plans, plans),
        st.builds(
            lambda to, other: {"route": {"by": "rules", "rules": [{"when": {"turns": ">0"}, "to": to}], "default": other}}, plans, plans
        ),
        st.builds(lambda plan, other: {"schedule": {"periods": [{"plan": plan}], "default": other}}, plans, plans),
        st.builds(lambda plan, local: {"offline": {"plan": plan, "local": local}}, plans, plans),
    )


plans = composed(leaves | composed(leaves)) | chosen(composed(leaves))
behaviours = st.tuples(*[st.sampled_from(["yes", "no", '{"a": 1}', "[[2]]", "", 500, 503, None]) for _ in NAMES])


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("index")
    (folder / "notes.txt").write_text("One is less than two.\n\nTwo is more.\n")
    assert main(["index", str(folder / "notes.txt"), "--out", str(folder / "notes.db")]) == 0
    return str(folder / "notes.db")


def laid_out(plan: Any, index: str, models: list[Model], **settings_of: Any) -> dict[str, Any]:
    """A configuration with this plan, whose endpoints cost a dollar per million tokens and may all serve offline."""
    built = config(json.loads(json.dumps(plan).replace(INDEX, index)), *models, price=1.0, **settings_of)
    for endpoint in built["endpoints"]:
        endpoint["offline_ok"] = True
    return built


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=plans, says=behaviours, stream=st.booleans())
async def test_one_answer_in_time_and_nothing_left(plan: Any, says: tuple[Any, ...], stream: bool, index: str, tmp_path: Path) -> None:
    ledger = tmp_path / uuid4().hex
    async with AsyncExitStack() as stack:
        models = [await stack.enter_async_context(Model(said)) for said in says]
        settings_of = laid_out(plan, index, models, deadline_s=DEADLINE_S, queue={"max": 0}, hedge=SOON)
        settings_of["server"] = {"ledger": str(ledger)}
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
        cost = sum(line["cost_pico"] for line in delivered)
        # What one pool answered says nothing of money by itself.
        assert call.cost_pico == cost or (call.cost_pico == 0 and not plan.keys() & BUDGETED)
        if (told := reply.headers.get("x-dispatch-cost-usd")) and not stream:
            assert round(float(told) * 1e12) == cost
        for model, said in zip(models, says, strict=True):
            if said is None:
                await model.until(lambda model=model: model.left == len(model.requests))  # type: ignore[misc]  # bound now


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, calls=st.integers(1, 6), limit=st.sampled_from([{}, {"max_tokens": 10}]), stream=st.booleans())
async def test_a_budget_is_exceeded_by_one_call_at_most(plan: Any, calls: int, limit: Any, stream: bool, index: str) -> None:
    """However plans are nested, and however many calls they make at once: a call costs 110 tokens here, and 110 microdollars."""
    (kind,) = plan
    if kind not in BUDGETED:
        kind, plan = "chain", {"chain": {"steps": [{"plan": plan}, {"plan": "a"}]}}
    for budget in ({"tokens": 110 * calls}, {"dollars": 110e-6 * calls}):
        async with AsyncExitStack() as stack:
            models = [await stack.enter_async_context(Model("no")) for _ in NAMES]
            settings_of = laid_out({kind: {**plan[kind], "budget": budget}}, index, models)
            async with Hosted(settings_of) as hosted:
                await (await hosted.peer()).ask(chat(text="Do.\n\none\ntwo\nthree", stream=stream, **limit))
                await until(lambda hosted=hosted: hosted.reports)  # type: ignore[misc]  # bound now
                ((call, _, _),) = hosted.reports
                assert call.usage[0] + call.usage[1] <= 110 * (calls + 1)


def chosen_vectors(plans: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    means = st.lists(plans, min_size=2, max_size=3).map(lambda of: {"ensemble": {"of": of, "by": "mean"}})
    return means | chosen(means) | st.lists(means, min_size=2, max_size=2).map(lambda steps: {"fallback": steps})


VECTOR = {
    "raw": {
        "object": "list",
        "model": "up",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=chosen_vectors(leaves | chosen(leaves)), says=st.tuples(*[st.sampled_from([VECTOR, 500, None]) for _ in NAMES]))
async def test_the_laws_hold_for_means_of_vectors(plan: Any, says: tuple[Any, ...], index: str, tmp_path: Path) -> None:
    ledger = tmp_path / uuid4().hex
    async with AsyncExitStack() as stack:
        models = [await stack.enter_async_context(Model(said)) for said in says]
        settings_of = laid_out(plan, index, models, deadline_s=DEADLINE_S, queue={"max": 0})
        settings_of["server"] = {"ledger": str(ledger)}
        async with Hosted(settings_of) as hosted:
            began = monotonic()
            reply = await (await hosted.peer()).ask(post(json.dumps({"model": "m", "input": "x"}).encode(), path="/v1/embeddings"))
            assert monotonic() - began < DEADLINE_S + LATE_S
            await until(lambda: hosted.reports)
            ((call, _, _),) = hosted.reports
            assert reply.status == 200 or reply.error["message"]
            if reply.status == 200:
                assert json.loads(reply.body)["data"][0]["embedding"] == pytest.approx([0.6, 0.8])
        delivered = [
            line for text in ledger.with_suffix(".0").read_text().splitlines() if (line := json.loads(text))["outcome"] == "delivered"
        ]
        assert call.usage[0] == sum(line["tokens_in"] for line in delivered)
        assert call.cost_pico in (0, sum(line["cost_pico"] for line in delivered))
        for model, said in zip(models, says, strict=True):
            if said is None:
                await model.until(lambda model=model: model.left == len(model.requests))  # type: ignore[misc]  # bound now


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=leaves | composed(leaves), mirror=leaves | composed(leaves), says=behaviours, stream=st.booleans())
async def test_a_mirror_costs_nothing_and_does_not_outlive_the_deadline(
    plan: Any, mirror: Any, says: tuple[Any, ...], stream: bool, index: str
) -> None:
    async with AsyncExitStack() as stack:
        models = [await stack.enter_async_context(Model(said)) for said in says]
        both = {"shadow": {"plan": plan, "mirror": mirror}}
        async with Hosted(laid_out(both, index, models, deadline_s=DEADLINE_S, queue={"max": 0})) as hosted:
            began = monotonic()
            reply = await (await hosted.peer()).ask(chat(text="Do.\n\none\ntwo", stream=stream))
            assert monotonic() - began < DEADLINE_S + LATE_S
            await until(lambda: hosted.reports)
            ((call, _, _),) = hosted.reports
            assert reply.status == 200 or reply.error["message"]
            assert call.usage[0] <= 100 * call.attempts
            await until(lambda: not hosted.dispatcher.watch and not hosted._held())
            mirrored = sum(sum(row.attempts) for row in hosted.snapshot().endpoints.values()) - call.attempts
            assert monotonic() - began < DEADLINE_S + LATE_S
            # The mirror's tries are on the board, and in no client's report.
            call.attempts += mirrored
