"""Several models at once: one answer, by a vote, a judge, a writer or the mean."""

from __future__ import annotations

import json
from math import isclose
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.config import build
from dispatch.errors import ConfigError, Failure

from tests.integration.hosted import Hosted
from tests.integration.models import Model, asked, config
from tests.integration.peer import chat, events_of, post
from tests.integration.test_cascades import ask, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.integration.peer import Reply

pytestmark = pytest.mark.anyio


def ensemble(count: int = 3, **rule: Any) -> dict[str, Any]:
    return {"ensemble": {"of": [*"abcdef"[:count]], **rule}}


@pytest.mark.parametrize("stream", [False, True])
async def test_most_votes_win(stream: bool) -> None:
    async with Model("Berlin.") as one, Model("Bonn") as two, Model("berlin") as three:
        reply, hosted = await ask(ensemble(), one, two, three, stream=stream)

        assert text_of(reply) == "Berlin."
        assert hosted.outcomes() == {Failure.NONE: 1}
        ((call, _, _),) = hosted.reports
        # Two that agree settle it, if the third has not come by then.
        assert call.usage[:2] in ((200, 20), (300, 30))
        if stream:
            assert events_of(reply.body)[-1] == "[DONE]"


async def test_a_vote_that_is_settled_cancels_who_is_still_out() -> None:
    async def says(_: dict[str, Any]) -> str:
        await slow.until(lambda: slow.requests)
        return "yes"

    async with Model(None) as slow, Model(says) as one, Model(says) as two:
        reply, hosted = await ask(ensemble(), one, two, slow)

        assert text_of(reply) == "yes"
        await slow.until(lambda: slow.left == 1)
        assert hosted.attempts("c") == {Failure.CANCELLED: 1}


async def test_weights_turn_a_vote() -> None:
    async with Model("a") as one, Model("b") as two, Model("a") as three:
        reply, _ = await ask(ensemble(weights=[1, 5, 1]), one, two, three)
        assert text_of(reply) == "b"


async def test_a_vote_weighs_how_sure_each_model_is() -> None:
    async with (
        Model(lambda _: {"content": "x", "logprob": -3.0}) as one,
        Model(lambda _: {"content": "x", "logprob": -3.0}) as two,
        Model(lambda _: {"content": "y", "logprob": -0.01}) as three,
    ):
        reply, _ = await ask(ensemble(weights="logprob"), one, two, three)
        assert text_of(reply) == "y"


async def test_json_is_voted_on_field_by_field() -> None:
    said = ['{"name": "Ada", "born": 1815, "x": 1}', '```json\n{"name": "Ada", "born": 1816}\n```', '{"born": 1815, "name": "Eda"}']
    async with Model(said[0]) as one, Model(said[1]) as two, Model(said[2]) as three:
        reply, _ = await ask(ensemble(compare="json"), one, two, three)
        assert json.loads(text_of(reply)) == {"name": "Ada", "born": 1815}


def call_of(name: str, arguments: str = "{}", *others: str) -> dict[str, Any]:
    """An answer that calls a tool, and others without arguments."""
    calls = [(name, arguments), *((other, "{}") for other in others)]
    return {
        "tool_calls": [{"id": f"call_{one}", "type": "function", "function": {"name": one, "arguments": given}} for one, given in calls],
        "finish": "tool_calls",
    }


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_of_a_tool_in_a_namespace_keeps_it(stream: bool) -> None:
    """As Codex has them: an answer that had come whole was told without, and Codex knew no such tool."""
    space = {
        "type": "namespace",
        "name": "mcp__weather",
        "tools": [{"type": "function", "name": "forecast", "parameters": {"type": "object"}}],
    }
    body = {"model": "m", "input": "hi", "tools": [space], "stream": stream}
    name = "mcp__weather_-_forecast"
    async with Model(lambda _: call_of(name)) as one, Model(lambda _: call_of(name)) as two:
        settings = config(ensemble(2), one, two)
        for endpoint in settings["endpoints"]:
            endpoint["doors"] = ["chat"]
        async with Hosted(settings) as hosted:
            reply = await (await hosted.peer()).ask(post(json.dumps(body).encode(), path="/v1/responses"))

    whole = next(event["response"] for event in events_of(reply.body)[::-1]) if stream else json.loads(reply.body)
    (call,) = whole["output"]
    assert (call["type"], call["namespace"], call["name"]) == ("function_call", "mcp__weather", "forecast")


async def test_tool_calls_are_voted_on_as_calls() -> None:
    async with (
        Model(lambda _: call_of("look", '{"b": 2, "a": 1}')) as one,
        Model(lambda _: call_of("jump", "{}")) as two,
        Model(lambda _: call_of("look", '{"a":1,"b":2}')) as three,
    ):
        reply, _ = await ask(ensemble(), one, two, three)
        (call,) = json.loads(reply.body)["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == "look"


def calls_of(reply: Reply) -> list[str]:
    if reply.headers["content-type"].startswith("text/event-stream"):
        chunks = [event for event in events_of(reply.body) if event != "[DONE]"]
        made = [call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls") or ()]
        return [call["function"]["name"] for call in made if call["function"].get("name")]
    (choice,) = json.loads(reply.body)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    return [call["function"]["name"] for call in choice["message"]["tool_calls"]]


@pytest.mark.parametrize("stream", [False, True])
async def test_each_call_of_a_tool_is_voted_on_by_itself(stream: bool) -> None:
    async with (
        Model(lambda _: call_of("look", '{"at": 1}', "jump")) as one,
        Model(lambda _: call_of("look", '{"at": 1}', "sing")) as two,
        Model(lambda _: call_of("look", '{"at": 2}', "jump", "sing")) as three,
    ):
        reply, _ = await ask(ensemble(), one, two, three, stream=stream)

        # Nobody made just these three calls.
        assert calls_of(reply) == ["look", "jump", "sing"]
        if not stream:
            (call, *_) = json.loads(reply.body)["choices"][0]["message"]["tool_calls"]
            assert json.loads(call["function"]["arguments"]) == {"at": 1}


async def test_calls_that_nobody_shares_are_those_of_the_first() -> None:
    async with Model(lambda _: call_of("a")) as one, Model(lambda _: call_of("b")) as two, Model("no call") as three:
        reply, _ = await ask(ensemble(), one, two, three)

        assert calls_of(reply) == ["a"]


async def test_broken_arguments_are_compared_as_they_are() -> None:
    async with (
        Model(lambda _: call_of("look", "<1>")) as one,
        Model(lambda _: call_of("look", "<2>")) as two,
        Model(lambda _: call_of("look", "<2>")) as three,
    ):
        plan = ensemble(3)
        reply, _ = await ask(plan, one, two, three)

        (call,) = json.loads(reply.body)["choices"][0]["message"]["tool_calls"]
        assert call["function"]["arguments"] == "<2>"


async def test_a_profile_weighs_votes(tmp_path: Path) -> None:
    measured = tmp_path / "profiles.json"
    measured.write_text(json.dumps({"c": {"profile": {"accuracy": 0.1}, "seconds": 1.0}}))
    async with Model("x") as one, Model("y") as two, Model("y") as three:
        setting = config(ensemble(weights="profile.accuracy", profiles=str(measured)), one, two, three)
        for end, accuracy in zip(setting["endpoints"], (0.9, 0.7, 0.7), strict=True):
            end["profile"] = {"accuracy": accuracy}
        async with Hosted(setting) as hosted:
            reply = await (await hosted.peer()).ask(chat())

    # 0.9 against 0.7 + 0.1, as measured.
    assert text_of(reply) == "x"


async def test_models_that_fail_have_no_vote() -> None:
    async with Model(500) as one, Model("b") as two, Model("b") as three:
        reply, hosted = await ask(ensemble(), one, two, three)
        assert text_of(reply) == "b"
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_too_few_answers_are_an_error() -> None:
    async with Model(500) as one, Model("b") as two, Model(500) as three:
        reply, _ = await ask(ensemble(least=2), one, two, three)
        assert reply.status == 502
        assert "1 of 3 models answered, 2 are needed" in reply.error["message"]


async def test_a_vote_of_empty_answers_falls_back_to_the_first() -> None:
    async with Model("") as one, Model("...") as two, Model("") as three:
        reply, _ = await ask(ensemble(), one, two, three)
        assert reply.headers["x-dispatch-fallback"] == "empty_vote"
        assert text_of(reply) == ""


async def test_samples_of_one_model_vote() -> None:
    said = iter(["so 7", "8", "It is 7.0", "7", "9"])
    async with Model(lambda _: next(said)) as one:
        reply, _ = await ask(ensemble(1, by="self_consistency", samples=5, compare="number"), one)
        assert "7" in text_of(reply)
        # The third seven settles it.
        assert 3 <= len(one.requests) <= 5
        assert asked(one)["temperature"] == 0.7


def says_best(text: str, answers: Sequence[str] = ("bad", "good")) -> Any:
    """A judge that always likes one text."""

    def judge(body: dict[str, Any]) -> str:
        prompt = body["messages"][-1]["content"]
        return f"[[{1 if prompt.index(text) < min(prompt.index(other) for other in answers if other != text) else 2}]]"

    return judge


@pytest.mark.parametrize("stream", [False, True])
async def test_a_judge_chooses_by_what_is_said_and_not_by_place(stream: bool) -> None:
    async with Model("bad") as one, Model("good") as two, Model(says_best("good")) as judge:
        reply, _ = await ask(ensemble(2, by="judge", model="c"), one, two, judge, stream=stream)

        assert text_of(reply) == "good"
        assert "x-dispatch-fallback" not in reply.headers
        assert len(judge.requests) == 2


@pytest.mark.parametrize(
    ("said", "fallback"), [("[[1]]", "judge_undecided"), ("who knows", "judge_nonsense"), ("[[9]]", "judge_nonsense"), (500, "no_judge")]
)
async def test_a_judge_of_no_use_falls_back_to_the_first(said: Any, fallback: str) -> None:
    async with Model("one") as one, Model("two") as two, Model(said) as judge:
        reply, _ = await ask(ensemble(2, by="judge", model="c"), one, two, judge)

        assert text_of(reply) == "one"
        assert reply.headers["x-dispatch-fallback"] == fallback


@pytest.mark.parametrize("stream", [False, True])
async def test_a_writer_fuses_what_the_others_say_as_it_writes(stream: bool) -> None:
    async with Model("first answer") as one, Model("second answer") as two, Model("the fused one") as writer:
        reply, _ = await ask(ensemble(2, by="fuse", model="c"), one, two, writer, stream=stream)

        assert text_of(reply).replace(" ", "") == "thefusedone"
        body = asked(writer)
        assert body.get("stream", False) is stream
        assert "first answer" in body["messages"][0]["content"]
        assert "second answer" in body["messages"][0]["content"]
        assert body["messages"][1] == {"role": "user", "content": "hi"}


async def test_a_mixture_shows_each_round_the_answers_of_the_last() -> None:
    async with Model("alpha") as one, Model("beta") as two, Model("omega") as writer:
        reply, _ = await ask(ensemble(2, by="mixture", layers=2, model="c"), one, two, writer)

        assert text_of(reply) == "omega"
        assert [len(model.requests) for model in (one, two, writer)] == [2, 2, 1]
        assert "beta" in asked(one)["messages"][0]["content"]


async def test_without_the_writer_the_first_answer_is_given() -> None:
    async with Model("first") as one, Model("second") as two, Model(500) as writer:
        reply, _ = await ask(ensemble(2, by="fuse", model="c"), one, two, writer)

        assert text_of(reply) == "first"
        assert reply.headers["x-dispatch-fallback"] == "no_writer"


def vector(*values: float) -> dict[str, Any]:
    data = [{"object": "embedding", "index": 0, "embedding": [*values]}]
    return {"raw": {"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 4, "total_tokens": 4}}}


async def test_the_mean_of_embeddings() -> None:
    async with Model(vector(2.0, 0.0)) as one, Model(vector(0.0, 5.0)) as two:
        async with Hosted(config(ensemble(2, by="mean"), one, two)) as hosted:
            reply = await (await hosted.peer()).ask(post(json.dumps({"model": "m", "input": "x"}).encode(), path="/v1/embeddings"))

        found = json.loads(reply.body)["data"][0]["embedding"]
        assert all(isclose(value, 0.5**0.5) for value in found)


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("/api/embed", {"model": "m", "input": "x"}, lambda tree: tree["embeddings"]),
        ("/v1beta/models/m:embedContent", {"content": {"parts": [{"text": "x"}]}}, lambda tree: [tree["embedding"]["values"]]),
        (
            "/v1beta/models/m:batchEmbedContents",
            {"requests": [{"model": "models/m", "content": {"parts": [{"text": "x"}]}}]},
            lambda tree: [one["values"] for one in tree["embeddings"]],
        ),
    ],
)
async def test_the_mean_of_embeddings_at_other_doors(path: str, body: dict[str, Any], found: Callable[[Any], list[list[float]]]) -> None:
    async with Model(vector(2.0, 0.0)) as one, Model(vector(0.0, 5.0)) as two:
        async with Hosted(config(ensemble(2, by="mean"), one, two)) as hosted:
            reply = await (await hosted.peer()).ask(post(json.dumps(body).encode(), path=path))

        assert reply.status == 200
        assert found(json.loads(reply.body)) == [pytest.approx([0.5**0.5] * 2)]
        assert reply.headers["x-dispatch-branches"].count("=4+0") == 2


async def test_answers_without_vectors_have_no_mean() -> None:
    async with Model({"raw": {"object": "list", "data": [{"embedding": None}]}}) as one, Model(vector(0.0, 5.0)) as two:
        async with Hosted(config(ensemble(2, by="mean"), one, two)) as hosted:
            reply = await (await hosted.peer()).ask(post(json.dumps({"model": "m", "input": "x"}).encode(), path="/v1/embeddings"))

        assert (reply.status, reply.error["code"]) == (502, "upstream_error")
        assert "no vectors that could be read" in reply.error["message"]


async def test_a_chat_is_nothing_to_take_the_mean_of() -> None:
    async with Model("x") as one, Model("y") as two:
        reply, _ = await ask(ensemble(2, by="mean"), one, two)
        assert reply.status == 400


async def test_the_key_pays_for_each_answer_that_went_into_the_one(tmp_path: Path) -> None:
    async with Model("x") as one, Model("y") as two, Model(500) as three:
        settings = config(ensemble(), one, two, three) | {"server": {"ledger": str(tmp_path / "ledger")}}
        async with Hosted(settings) as hosted:
            reply = await (await hosted.peer()).ask(chat())
        lines = [json.loads(line) for line in (tmp_path / "ledger.0").read_text().splitlines()]

    assert sorted(line["outcome"] for line in lines) == ["delivered", "delivered", "wasted"]
    assert reply.headers["x-dispatch-branches"].count("100+10") == 2


@pytest.mark.parametrize(
    ("plan", "path", "reason"),
    [
        (ensemble(1), "models.m.ensemble.of", "at least 2"),
        (ensemble(2, by="judge"), "models.m.ensemble.model", "needs a plan that judges"),
        (ensemble(2, model="c"), "models.m.ensemble.model", "vote does not use it"),
        (ensemble(2, weights=[1]), "models.m.ensemble.weights", "one for each"),
        (ensemble(2, weights=[0, 0]), "models.m.ensemble.weights", "nobody has a vote"),
        (ensemble(2, weights="profile.wit"), "models.m.ensemble.weights", "of[0], of[1]: no endpoint has 'wit'"),
        (ensemble(2, weights="wit"), "models.m.ensemble.weights", "profile"),
        (ensemble(2, profiles="x.json"), "models.m.ensemble.profiles", "weights: profile.accuracy"),
        (ensemble(2, weights="profile.wit", profiles="/nowhere"), "models.m.ensemble.profiles", "cannot read"),
        (ensemble(2, least=3), "models.m.ensemble.least", "only 2"),
        (ensemble(2, by="fuse", model="c", prompt="no place"), "models.m.ensemble.prompt", "{answers}"),
        (ensemble(2, by="votes"), "models.m.ensemble.by", "vote"),
        (ensemble(2, by="self_consistency"), "models.m.ensemble.of", "expected one"),
    ],
)
async def test_a_bad_ensemble_stops_the_start(plan: dict[str, Any], path: str, reason: str) -> None:
    async with Model("x") as one, Model("y") as two, Model("z") as three:
        with pytest.raises(ConfigError) as refused:
            build(config(plan, one, two, three))
    assert refused.value.path == path
    assert reason in refused.value.reason
