"""Ollama's own SDK takes this for an Ollama, in front of providers that speak OpenAI's dialect and Ollama's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import ollama
import pytest
from dispatch.testing import MockProvider

from tests.contract.inside import sidecar
from tests.contract.recordings import Player, ask, cut_everywhere, head_and_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TURN: Any = [{"role": "user", "content": "What is the weather in K\u00f6ln? \U0001f600"}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PARAMETERS: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": PARAMETERS}}
BEHAVIOURS: dict[str, Any] = {
    "chat": {"output_tokens": 6},
    "echo-back": {"echo": True},
    "full": {"errors": {429: 1.0}, "retry_after_s": 7.0},
    "wrong": {"errors": {422: 1.0}},
    "breaks": {"faults": {"error_event": 1.0}, "output_tokens": 8},
}
LINES = [
    {"message": {"role": "assistant", "content": "", "thinking": "h\u00e9"}, "done": False},
    {"message": {"role": "assistant", "content": "Rain \U0001f327"}, "done": False},
    {"message": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}, "done": False},
    {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 4, "eval_count": 2},
]


@pytest.fixture
async def mock() -> AsyncIterator[MockProvider]:
    async with MockProvider(scenario={"models": BEHAVIOURS}) as provider:
        yield provider


@pytest.fixture
async def sdk(mock: MockProvider, tmp_path: Path) -> AsyncIterator[ollama.AsyncClient]:
    up = {"provider": "openai_compatible", "base_url": mock.base_url}
    models = {name: {"endpoints": [name + "-1"], "retry": {"attempts": 1}} for name in BEHAVIOURS}
    config = {"endpoints": [{"name": name + "-1", "model": name, **up} for name in BEHAVIOURS], "models": models}
    async with sidecar(tmp_path, config) as port:
        client = ollama.AsyncClient(f"http://127.0.0.1:{port}")
        yield client
        await client._client.aclose()


async def test_a_chat_has_text_reason_and_counts(sdk: ollama.AsyncClient) -> None:
    reply = await sdk.chat("chat", TURN)

    assert len((reply.message.content or "").split()) == 6
    assert (reply.done, reply.done_reason, reply.eval_count, reply.model) == (True, "stop", 6, "chat")
    assert reply.prompt_eval_count


async def test_a_stream_says_what_the_whole_says(sdk: ollama.AsyncClient) -> None:
    options = {"seed": 3, "temperature": 0.5, "num_predict": 100, "num_ctx": 8192}
    whole = await sdk.chat("chat", TURN, options=options)
    pieces = [piece async for piece in await sdk.chat("chat", TURN, options=options, stream=True)]
    generated = [piece async for piece in await sdk.generate("chat", TURN[0]["content"], stream=True)]

    assert "".join(piece.message.content or "" for piece in pieces) == whole.message.content
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert (pieces[-1].done_reason, pieces[-1].eval_count) == ("stop", 6)
    assert len("".join(piece.response or "" for piece in generated).split()) == 6


async def test_what_it_asks_reaches_the_provider(sdk: ollama.AsyncClient, mock: MockProvider) -> None:
    options = {"num_predict": 7, "temperature": 0, "seed": 1, "stop": ["x"], "num_ctx": 8192}
    turn: Any = [{"role": "user", "content": "what is it?", "images": [PIXEL]}]
    await sdk.chat("chat", turn, options=options, format=PARAMETERS, keep_alive="5m")

    sent = json.loads(mock.journal[-1].body)
    assert (sent["max_tokens"], sent["temperature"], sent["seed"], sent["stop"]) == (7, 0, 1, ["x"])
    assert sent["messages"][0]["content"][1]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"
    assert sent["response_format"]["json_schema"]["schema"] == PARAMETERS
    assert not {"options", "keep_alive", "num_ctx"} & set(sent)


async def test_a_prompt_has_its_system_text_and_a_default_stream(sdk: ollama.AsyncClient, mock: MockProvider) -> None:
    reply = await sdk.generate("chat", "hello", system="be brief")

    sent = json.loads(mock.journal[-1].body)
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert (reply.done_reason, len((reply.response or "").split())) == ("stop", 6)


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_called_and_their_results_sent_back(sdk: ollama.AsyncClient, mock: MockProvider, stream: bool) -> None:
    call: Any = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Rome"}}}]}
    turn = [*TURN, call, {"role": "tool", "content": "sunny", "tool_name": "get_weather"}]
    if stream:
        async for _ in await sdk.chat("chat", turn, tools=[WEATHER], stream=True):
            pass
    else:
        await sdk.chat("chat", turn, tools=[WEATHER])

    sent = json.loads(mock.journal[-1].body)
    asked, result = sent["messages"][1:]
    assert json.loads(asked["tool_calls"][0]["function"]["arguments"]) == {"city": "Rome"}
    assert result == {"role": "tool", "tool_call_id": asked["tool_calls"][0]["id"], "content": "sunny"}
    assert sent["tools"][0]["function"]["name"] == "get_weather"


async def test_vectors(sdk: ollama.AsyncClient) -> None:
    reply = await sdk.embed("chat", ["a", "b"])

    assert len(reply.embeddings) == 2
    assert reply.prompt_eval_count


async def test_models_are_listed_and_shown(sdk: ollama.AsyncClient) -> None:
    listed = await sdk.list()
    shown = await sdk.show("chat")
    running = await sdk.ps()

    assert {model.model for model in listed.models} == set(BEHAVIOURS)
    assert "tools" in (shown.capabilities or [])
    assert not running.models


@pytest.mark.parametrize(("model", "status"), [("no-such-model", 404), ("full", 429), ("wrong", 422)])
async def test_an_error_is_an_object_with_a_text(sdk: ollama.AsyncClient, model: str, status: int) -> None:
    with pytest.raises(ollama.ResponseError) as refused:
        await sdk.chat(model, TURN)
    with pytest.raises(ollama.ResponseError) as streamed:
        async for _ in await sdk.chat(model, TURN, stream=True):
            pass

    assert refused.value.status_code == streamed.value.status_code == status
    assert refused.value.error
    assert not refused.value.error.startswith("{")


async def test_a_stream_that_breaks_raises_after_what_came(sdk: ollama.AsyncClient) -> None:
    words: list[str] = []

    async def read() -> None:
        async for piece in await sdk.chat("breaks", TURN, stream=True):
            words.append(piece.message.content or "")  # noqa: PERF401  # what came before the exception counts

    with pytest.raises(ollama.ResponseError, match="breaks-1"):
        await read()

    assert words


def native(player: Player, **options: Any) -> dict[str, Any]:
    up = {"provider": "ollama", "model": "qwen3:8b", "base_url": f"http://127.0.0.1:{player.port}", "options": options}
    return {"endpoints": [{"name": "up", **up}], "models": {"m": {"endpoints": ["up"], "retry": {"attempts": 1}}}}


def lines(found: list[dict[str, Any]]) -> bytes:
    body = b"".join(json.dumps({"model": "qwen3:8b", "created_at": "2026-01-02T03:04:05.678Z", **line}).encode() + b"\n" for line in found)
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        len(body),
        body,
    )


async def test_an_ollama_behind_it_is_passed_through(tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, native(player, options={"num_ctx": 9000})) as port:
        client = ollama.AsyncClient(f"http://127.0.0.1:{port}")
        player.play(cut_everywhere(lines(LINES)))
        pieces = [piece async for piece in await client.chat("m", TURN, stream=True, think=True, options={"mirostat": 1})]
        sent = json.loads(player.received[-1][1])
        await client._client.aclose()

    assert sent["model"] == "qwen3:8b"
    assert (sent["options"], sent["think"], sent["messages"]) == ({"mirostat": 1}, True, TURN)
    assert [piece.message.content for piece in pieces] == ["", "Rain \U0001f327", "", ""]
    assert pieces[0].message.thinking == "h\u00e9"
    assert [call.function.arguments for piece in pieces for call in piece.message.tool_calls or ()] == [{"a": 1}]
    assert pieces[-1].prompt_eval_count == 4


async def test_an_error_in_a_stream_of_an_ollama_is_raised(tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, native(player)) as port:
        client = ollama.AsyncClient(f"http://127.0.0.1:{port}")
        player.play([lines([LINES[1], {"error": "out of memory"}])])

        async def read() -> None:
            async for _ in await client.chat("m", TURN, stream=True):
                pass

        with pytest.raises(ollama.ResponseError, match="out of memory"):
            await read()
        await client._client.aclose()


async def test_what_an_ollama_is_sent_is_what_its_sdk_would_send(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "and this?"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": PARAMETERS}}
    asked = {"model": "m", "messages": turns, "tools": [WEATHER], "response_format": form, "max_tokens": 9, "reasoning_effort": "none"}
    whole = {"model": "qwen3:8b", "created_at": "2026-01-02T03:04:05.678Z", **LINES[3], "message": {"role": "assistant", "content": "x"}}
    async with Player() as player, sidecar(tmp_path, native(player, keep_alive="10m", options={"num_ctx": 9000})) as port:
        player.play([head_and_body(json.dumps(whole).encode())])
        answer = await ask(port, "/v1/chat/completions", asked)
        sent = json.loads(player.received[-1][1])

    assert answer.status == 200, answer.body
    ollama._types.ChatRequest.model_validate(sent)
    assert sent["options"] == {"num_predict": 9, "num_ctx": 9000}
    assert (sent["keep_alive"], sent["think"], sent["stream"], sent["format"]) == ("10m", False, False, PARAMETERS)
    assert sent["messages"][1] == {"role": "user", "content": "and this?", "images": [PIXEL]}
    assert sent["messages"][2]["tool_calls"] == [{"id": "c1", "function": {"name": "get_weather", "arguments": {"city": "Rome"}}}]
    assert sent["messages"][3] == {"role": "tool", "content": "sunny", "tool_name": "get_weather", "tool_call_id": "c1"}
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "x"


async def test_what_an_ollama_cannot_do_is_refused_by_name(tmp_path: Path) -> None:
    refused = {}
    async with Player() as player, sidecar(tmp_path, native(player)) as port:
        for name, value in (("n", 2), ("logit_bias", {"1": 2}), ("tool_choice", "required"), ("web_search_options", {})):
            answer = await ask(port, "/v1/chat/completions", {"model": "m", "messages": TURN, "tools": [WEATHER], name: value})
            refused[name] = (answer.status, json.loads(answer.body)["error"]["param"])

    assert refused == {name: (400, name) for name in refused}
