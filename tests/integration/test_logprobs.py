"""Plans that go by how sure a model says that it is: at every door, whichever dialect the endpoint speaks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.testing import MockProvider

from tests.integration.hosted import Hosted
from tests.integration.models import Model, asked
from tests.integration.peer import chat, post

if TYPE_CHECKING:
    from tests.integration.peer import Peer, Reply

pytestmark = pytest.mark.anyio

SURE = -0.5
"""What the small model says of each of its tokens."""
DOORS = ["chat", "completions", "responses", "messages", "generate", "converse", "ollama", "ollama_generate"]
TURN = [{"role": "user", "content": "hi"}]


def cascade(below: float) -> dict[str, Any]:
    return {"cascade": {"steps": ["small", "large"], "escalate_if": {"logprob_below": below}}}


def config(mock: MockProvider, **plans: Any) -> dict[str, Any]:
    ends = [
        {"name": name, "provider": "openai_compatible", "model": name, "base_url": mock.base_url, "doors": ["chat"]}
        for name in ("small", "large")
    ]
    return {"endpoints": ends, "models": plans}


def models() -> MockProvider:
    said = {"small": {"reply": "a few small words", "logprob": SURE}, "large": {"reply": "LARGE", "logprob": -0.01}}
    return MockProvider(scenario={"models": said})


def request(door: str, model: str, *, stream: bool = False, **more: Any) -> bytes:
    """The same question at a door, with `more` in its body."""
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "chat": ("/v1/chat/completions", {"model": model, "messages": TURN}),
        "completions": ("/v1/completions", {"model": model, "prompt": "hi", "max_tokens": 9}),
        "responses": ("/v1/responses", {"model": model, "input": "hi"}),
        "messages": ("/v1/messages", {"model": model, "max_tokens": 9, "messages": TURN}),
        "generate": (f"/v1beta/models/{model}:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}),
        "converse": (f"/model/{model}/converse", {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
        "ollama": ("/api/chat", {"model": model, "messages": TURN}),
        "ollama_generate": ("/api/generate", {"model": model, "prompt": "hi"}),
    }
    path, body = bodies[door]
    if door == "generate" and stream:
        path = path.replace(":generateContent", ":streamGenerateContent") + "?alt=sse"
    elif door == "converse" and stream:
        path += "-stream"
    elif door not in ("generate", "converse"):
        body["stream"] = stream
    return post(json.dumps(body | more).encode(), path=path)


async def why(peer: Peer, reply: Reply) -> dict[str, Any]:
    name = reply.headers["x-dispatch-decision"]
    found = await peer.ask(f"GET /admin/decision?id={name} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
    step: dict[str, Any] = json.loads(found.body)["steps"][0]
    return step


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("door", DOORS)
async def test_the_threshold_decides_at_every_door(door: str, stream: bool) -> None:
    async with models() as mock, Hosted(config(mock, above=cascade(SURE - 0.01), below=cascade(SURE + 0.01))) as hosted:
        peer = await hosted.peer()
        accepted = await peer.ask(request(door, "above", stream=stream))
        assert [entry.model for entry in mock.journal] == ["small"]
        escalated = await peer.ask(request(door, "below", stream=stream))
        assert [entry.model for entry in mock.journal] == ["small", "small", "large"]
        steps = [await why(peer, reply) for reply in (accepted, escalated)]

    assert accepted.is_whole
    assert escalated.is_whole
    assert accepted.headers["x-dispatch-endpoint"] == "small"
    assert (b"few" in accepted.body, b"LARGE" in accepted.body) == (True, False)
    assert (escalated.headers["x-dispatch-endpoint"], escalated.headers["x-dispatch-attempts"]) == ("large", "2")
    assert (b"few" in escalated.body, b"LARGE" in escalated.body) == (False, True)
    assert steps[0]["why"] == "answered"
    assert steps[0]["details"]["logprobs"] == ["small mean logprob -0.5, threshold -0.51"]
    assert steps[1]["why"] == "small in doubt: mean logprob -0.5 is below -0.49; answered"
    assert steps[1]["details"]["logprobs"] == ["small mean logprob -0.5, threshold -0.49"]
    first, _, last = (json.loads(entry.body) for entry in mock.journal)
    assert first["logprobs"] is True
    assert "logprobs" not in last


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("door", DOORS)
async def test_a_client_that_asked_for_no_logprobs_gets_none(door: str, stream: bool) -> None:
    async with models() as mock, Hosted(config(mock, m=cascade(-1))) as hosted:
        reply = await (await hosted.peer()).ask(request(door, "m", stream=stream))

    assert reply.headers["x-dispatch-endpoint"] == "small"
    assert b'"logprob"' not in reply.body
    assert str(SURE).encode() not in reply.body
    assert "x-dispatch-dropped" not in reply.headers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_client_that_asked_for_logprobs_gets_them(stream: bool) -> None:
    async with models() as mock, Hosted(config(mock, m=cascade(-1))) as hosted:
        reply = await (await hosted.peer()).ask(chat(stream=stream, logprobs=True, top_logprobs=2))

    assert reply.headers["x-dispatch-endpoint"] == "small"
    assert str(SURE).encode() in reply.body
    assert json.loads(mock.journal[0].body)["top_logprobs"] == 2


@pytest.mark.parametrize("door", ["chat", "messages"])
async def test_an_endpoint_that_cannot_tell_is_asked_and_in_doubt(door: str) -> None:
    """A wish of the plan is no reason to refuse: before, an endpoint of Anthropic's was never asked by OpenAI's door."""
    said: dict[str, Any] = {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": "c",
        "content": [{"type": "text", "text": "small"}],
    }
    said |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1}}
    async with Model({"raw": said}) as small, models() as mock:
        settings = config(mock, m=cascade(-50))
        settings["endpoints"][0] = {"name": "small", "provider": "anthropic", "model": "c", "base_url": small.base_url.removesuffix("/v1")}
        async with Hosted(settings) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(request(door, "m"))
            step = await why(peer, reply)

    assert "logprobs" not in asked(small)
    assert b"LARGE" in reply.body
    assert step["why"] == "small in doubt: no logprobs; answered"
    assert reply.headers["x-dispatch-branches"] == "small=3+1, large=1+1"


@pytest.mark.parametrize("door", ["chat", "messages", "generate"])
async def test_votes_weigh_the_same_at_every_door(door: str) -> None:
    """Two unsure votes (each exp(-1.5), 0.22) against one that is sure (0.99)."""
    said = {"small": {"reply": "no", "logprob": -1.5}, "large": {"reply": "yes", "logprob": -0.01}}
    plan = {"ensemble": {"of": ["small", "small", "large"], "by": "vote", "weights": "logprob"}}
    async with MockProvider(scenario={"models": said}) as mock, Hosted(config(mock, m=plan)) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(request(door, "m"))
        step = await why(peer, reply)

    assert reply.headers["x-dispatch-endpoint"] == "large"
    assert step["details"]["votes"] == [
        "part 0 small 0.2231, mean logprob -1.5",
        "part 1 small 0.2231, mean logprob -1.5",
        "part 2 large 0.99, mean logprob -0.01",
    ]


async def test_a_plan_around_another_one_goes_by_the_answer_that_was_accepted_inside() -> None:
    outer = {"cascade": {"steps": [cascade(-1), "large"], "escalate_if": {"logprob_below": SURE - 0.01}}}
    strict = {"cascade": {"steps": [cascade(-1), "large"], "escalate_if": {"logprob_below": SURE + 0.01}}}
    async with models() as mock, Hosted(config(mock, m=outer, strict=strict)) as hosted:
        peer = await hosted.peer()
        ends = [
            (await peer.ask(request(door, model))).headers["x-dispatch-endpoint"]
            for model in ("m", "strict")
            for door in ("chat", "messages")
        ]

    assert ends == ["small", "small", "large", "large"]


async def test_a_step_that_fails_is_told_in_the_record() -> None:
    broken = MockProvider(scenario={"models": {"small": {"errors": {500: 1.0}}}})
    async with broken as mock, Hosted(config(mock, m=cascade(-1) | {"retry": {"attempts": 1}})) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(request("chat", "m"))
        step = await why(peer, reply)

    assert reply.status == 200
    assert step["why"].startswith("step 0 failed: ")
