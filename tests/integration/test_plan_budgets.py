"""What a plan may spend: held when calls are made at once, inside other plans, and told as what it is when it is spent."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hosted import Hosted, until
from tests.integration.models import Model, asked, config
from tests.integration.peer import chat
from tests.integration.test_cascades import text_of

if TYPE_CHECKING:
    from tests.integration.peer import Reply

pytestmark = pytest.mark.anyio

CALL = 110
"""Tokens of each call here."""


async def ask(plan: dict[str, Any], *models: Model, price: float | None = None, **fields: Any) -> tuple[Reply, Hosted]:
    async with Hosted(config(plan, *models, price=price)) as hosted:
        reply = await (await hosted.peer()).ask(chat(**fields))
        assert reply.is_whole
    return reply, hosted


class Together:
    """Models that answer once all of them have been asked, or after ten seconds, if nobody else comes."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.most = 0
        self._now = 0
        self._all = asyncio.Event()

    async def says(self, _: dict[str, Any]) -> str:
        self._now += 1
        self.most = max(self.most, self._now)
        if self._now == self.count:
            self._all.set()
        try:
            await asyncio.wait_for(self._all.wait(), 10)
        except TimeoutError:
            pass
        finally:
            self._now -= 1
        return "yes"


@pytest.mark.parametrize(
    ("budget", "fields", "at_once"),
    [
        ({"tokens": 100_000}, {"max_tokens": 10}, 3),
        ({"dollars": 1.0}, {"max_tokens": 10}, 3),
        ({"seconds": 30}, {}, 3),
        ({"tokens": 100_000}, {}, 1),
        ({"tokens": 120}, {"max_tokens": 10}, 1),
        ({"dollars": 0.00012}, {"max_tokens": 10}, 1),
    ],
)
async def test_calls_are_made_at_once_while_the_most_that_they_cost_fits(
    budget: dict[str, Any], fields: dict[str, Any], at_once: int
) -> None:
    together = Together(at_once)
    async with Model(together.says) as one, Model(together.says) as two, Model(together.says) as three:
        plan = {"ensemble": {"of": ["a", "b", "c"], "by": "fuse", "model": "a", "budget": budget}}
        reply, _ = await ask(plan, one, two, three, price=1.0, **fields)

    assert reply.status == 200
    assert together.most == at_once


async def test_what_costs_nothing_needs_no_money() -> None:
    together = Together(2)
    async with Model(together.says) as one, Model(together.says) as two:
        await ask({"ensemble": {"of": ["a", "b"], "by": "fuse", "model": "a", "budget": {"dollars": 0.01}}}, one, two, price=0.0)

    assert together.most == 2


@pytest.mark.parametrize(("calls", "asks"), [(1, 1), (2, 2), (3, 3)])
async def test_calls_of_an_ensemble_end_where_its_budget_does(calls: int, asks: int) -> None:
    async with Model("a") as one, Model("b") as two, Model("c") as three:
        plan = {"ensemble": {"of": ["a", "b", "c"], "budget": {"tokens": CALL * calls}}}
        reply, _ = await ask(plan, one, two, three)

        # Who was not asked has no vote; nobody has most, so the first one's is taken.
        assert text_of(reply) == "a"
        assert sum(len(model.requests) for model in (one, two, three)) == asks


async def test_a_budget_holds_for_the_plans_inside() -> None:
    async with Model("a") as one, Model("b") as two, Model("c") as three:
        inside = {"ensemble": {"of": ["a", "b", "c"]}}
        doubt = {"verify": {"regex": "nothing like it"}}
        plan = {"cascade": {"steps": [inside, "a"], "escalate_if": doubt, "budget": {"tokens": CALL + 1}}}
        reply, hosted = await ask(plan, one, two, three)

        assert text_of(reply) == "a"
        assert sum(len(model.requests) for model in (one, two, three)) == 2
        ((call, _, _),) = hosted.reports
        assert call.usage[:2] == (200, 20)


async def test_the_budget_of_a_plan_inside_is_not_that_of_the_plan_around_it() -> None:
    async with Model("a") as one, Model("b") as two:
        inside = {"chain": {"steps": [{"plan": "a"}, {"plan": "a"}], "budget": {"tokens": 1}}}
        reply, _ = await ask({"cascade": {"steps": [inside, "b"]}}, one, two)

        assert text_of(reply) == "b"
        assert len(one.requests) == 1


async def test_time_inside_is_not_the_time_around_it() -> None:
    async with Model(None) as one, Model("b") as two:
        inside = {"chain": {"steps": [{"plan": "a"}, {"plan": "a"}], "budget": {"seconds": 0.2}}}
        reply, _ = await ask({"fallback": [inside, "b"]}, one, two)

        assert text_of(reply) == "b"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("budget", [{"tokens": 1}, {"dollars": 1e-9}, {"seconds": 0.2}])
async def test_a_spent_budget_is_no_reason_to_come_back(budget: dict[str, Any], stream: bool) -> None:
    async with Model(None if "seconds" in budget else "a") as one, Model("b") as two:
        plan = {"chain": {"steps": [{"plan": "a"}, {"plan": "b"}], "budget": budget}}
        reply, _ = await ask(plan, one, two, price=1.0, stream=stream)

        assert (reply.status, reply.error["code"]) == (502, "upstream_error")
        assert reply.headers["x-should-retry"] == "false"
        assert "retry-after" not in reply.headers
        assert not two.requests


async def test_who_waits_for_the_budget_leaves_with_the_client() -> None:
    async with Model(None) as one, Model("b") as two:
        plan = {"ensemble": {"of": ["a", "b"], "by": "fuse", "model": "b", "budget": {"tokens": 1000}}}
        async with Hosted(config(plan, one, two)) as hosted:
            peer = await hosted.peer()
            await peer.send(chat())
            await one.until(lambda: one.requests)
            peer.sock.close()
            await one.until(lambda: one.left == 1)
            await until(lambda: hosted.reports)

        assert not two.requests


async def test_pictures_that_are_only_named_have_no_bound() -> None:
    together = Together(1)
    parts = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, {"type": "text", "text": "What is it?"}]
    async with Model(together.says) as one, Model(together.says) as two:
        plan = {"ensemble": {"of": ["a", "b"], "by": "fuse", "model": "a", "budget": {"tokens": 100_000}}}
        await ask(plan, one, two, max_tokens=10, messages=[{"role": "user", "content": parts}])

        assert json.dumps(parts[0]) in json.dumps(asked(two))
    assert together.most == 1
