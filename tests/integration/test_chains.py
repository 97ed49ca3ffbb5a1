"""Steps that use what the ones before them said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dispatch.config import build
from dispatch.errors import ConfigError, Failure

from tests.integration.hosted import Hosted
from tests.integration.models import Model, asked, config
from tests.integration.peer import post
from tests.integration.test_cascades import ask, text_of

pytestmark = pytest.mark.anyio


def chain(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"chain": {"steps": [*steps], **more}}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_step_is_asked_with_what_was_said_before(stream: bool) -> None:
    steps = (
        {"plan": "a", "prompt": "Facts of: {input}", "name": "facts"},
        {"plan": "b", "prompt": "Rank {last}"},
        {"plan": "c", "system": "Use {facts}."},
    )
    async with Model("F {last}") as one, Model("R") as two, Model("the end") as three:
        reply, hosted = await ask(chain(*steps), one, two, three, stream=stream)

        assert text_of(reply).replace(" ", "") == "theend"
        assert asked(one)["messages"] == [{"role": "user", "content": "Facts of: hi"}]
        assert asked(two)["messages"] == [{"role": "user", "content": "Rank F {last}"}]
        assert asked(three)["messages"] == [{"role": "system", "content": "Use F {last}."}, {"role": "user", "content": "hi"}]
        assert (asked(two).get("stream"), asked(three).get("stream", False)) == (None, stream)
        ((call, outcome, _),) = hosted.reports
        assert (outcome, call.usage[:2]) == (Failure.NONE, (300, 30))


async def test_other_words_leave_images_where_they_are() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    turns: list[dict[str, Any]] = [{"role": "user", "content": "before"}, {"role": "assistant", "content": "yes"}]
    turns.append({"role": "user", "content": [{"type": "text", "text": "what is it?"}, image]})
    async with (
        Model("a cat") as one,
        Model("done") as two,
        Hosted(config(chain({"plan": "a", "prompt": "Look."}, {"plan": "b"}), one, two)) as hosted,
    ):
        await (await hosted.peer()).ask(post(json.dumps({"model": "m", "messages": turns}).encode()))

        assert asked(one)["messages"] == [*turns[:2], {"role": "user", "content": [{"type": "text", "text": "Look."}, image]}]
        assert asked(two)["messages"] == turns


async def test_a_step_that_fails_fails_the_request() -> None:
    async with Model("x") as one, Model(500) as two, Model("y") as three:
        reply, _ = await ask(chain({"plan": "a"}, {"plan": "b"}, {"plan": "c"}), one, two, three)
        assert reply.status in {500, 502}
        assert not three.requests


async def test_anthropic_clients_have_chains_too() -> None:
    body = {"model": "m", "max_tokens": 9, "system": "Be kind.", "messages": [{"role": "user", "content": "hi"}]}
    async with (
        Model("one") as one,
        Model("two") as two,
        Hosted(config(chain({"plan": "a", "prompt": "Think: {input}"}, {"plan": "b", "system": "Use {last}."}), one, two)) as hosted,
    ):
        reply = await (await hosted.peer()).ask(post(json.dumps(body).encode(), "anthropic-version: 2023-06-01", path="/v1/messages"))

        assert json.loads(reply.body)["content"][0]["text"] == "two"
        assert asked(one)["messages"][-1] == {"role": "user", "content": "Think: hi"}
        system = [turn["content"] for turn in asked(two)["messages"] if turn["role"] == "system"]
        assert "Use one." in str(system)
        assert "Be kind." in str(system)


@pytest.mark.parametrize(
    ("plan", "path", "reason"),
    [
        (chain({"plan": "a"}), "models.m.chain.steps", "at least two"),
        (chain({"plan": "a"}, {}), "models.m.chain.steps[1].plan", "missing"),
        (chain({"plan": "a"}, {"plan": "b", "prompt": "{facts}"}), "models.m.chain.steps[1].prompt", "{facts} is not known here"),
        (chain({"plan": "a", "name": "last"}, {"plan": "b"}), "models.m.chain.steps[0].name", "not taken"),
        (chain({"plan": "a"}, {"plan": "m"}), "models.m.chain.steps[1].plan", "lead back"),
    ],
)
async def test_a_bad_chain_stops_the_start(plan: dict[str, Any], path: str, reason: str) -> None:
    async with Model("x") as one, Model("y") as two:
        with pytest.raises(ConfigError) as refused:
            build(config(plan, one, two))
    assert refused.value.path == path
    assert reason in refused.value.reason
