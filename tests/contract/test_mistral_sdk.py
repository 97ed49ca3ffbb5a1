"""Mistral's own SDK at the door of OpenAI's dialect, which is Mistral's too: whole, streamed, with tools, formats and errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from dispatch.testing import MockProvider
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from tests.contract.inside import sidecar
from tests.contract.recordings import Player, cut_everywhere

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TURN: Any = [{"role": "user", "content": "What is the weather in K\u00f6ln? \U0001f600"}]
PARAMETERS: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
BEHAVIOURS: dict[str, Any] = {
    "chat": {"output_tokens": 6},
    "wrong": {"errors": {422: 1.0}},
    "full": {"errors": {429: 1.0}, "retry_after_s": 7.0},
    "breaks": {"faults": {"error_event": 1.0}, "output_tokens": 8},
}


@pytest.fixture
async def mock() -> AsyncIterator[MockProvider]:
    async with MockProvider(scenario={"models": BEHAVIOURS}) as provider:
        yield provider


@pytest.fixture
async def sdk(mock: MockProvider, tmp_path: Path) -> AsyncIterator[Mistral]:
    up = {"provider": "mistral", "base_url": mock.base_url}
    models = {name: {"endpoints": [name + "-1"], "retry": {"attempts": 1}} for name in BEHAVIOURS}
    config = {"endpoints": [{"name": name + "-1", "model": name, **up} for name in BEHAVIOURS], "models": models}
    async with sidecar(tmp_path, config) as port, Mistral(api_key="none", server_url=f"http://127.0.0.1:{port}") as client:
        yield client


async def asked(sdk: Mistral, **fields: Any) -> Any:
    """The whole answer. The SDK's types are unions with what it has no name for."""
    return await sdk.chat.complete_async(messages=TURN, **fields)


async def streamed(sdk: Mistral, **fields: Any) -> list[Any]:
    async with await sdk.chat.stream_async(messages=TURN, **fields) as events:
        return [event.data async for event in events]


async def test_a_chat_whole_and_streamed(sdk: Mistral) -> None:
    whole = await asked(sdk, model="chat", random_seed=3)
    chunks = await streamed(sdk, model="chat", random_seed=3)

    assert len("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).split()) == 6
    assert len(whole.choices[0].message.content.split()) == 6
    assert (whole.usage.completion_tokens, whole.choices[0].finish_reason) == (6, "stop")
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


async def test_tools_are_called_whole_and_in_a_stream_as_mistral_gives_them(sdk: Mistral, tmp_path: Path) -> None:
    whole = await asked(sdk, model="chat", tools=[WEATHER], tool_choice="required")
    # Its streams bring each call in one piece, and its SDK reads no other.
    call = {"id": "c1", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}, "index": 0}
    delta = {"role": "assistant", "content": "", "tool_calls": [call]}
    chunk = {
        "id": "a",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
    }
    chunk["choices"][0]["finish_reason"] = "tool_calls"  # type: ignore[index]  # a tree
    body = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(chunk).encode()
    async with Player() as player:
        one = {"name": "up", "provider": "mistral", "model": "m", "base_url": f"http://127.0.0.1:{player.port}/v1"}
        async with sidecar(tmp_path, {"endpoints": [one], "models": {"m": "up"}}) as port:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            player.play(cut_everywhere(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)))
            async with Mistral(api_key="none", server_url=f"http://127.0.0.1:{port}") as client:
                [piece] = (await streamed(client, model="m", tools=[WEATHER]))[0].choices[0].delta.tool_calls

    [called] = whole.choices[0].message.tool_calls
    assert (called.function.name, whole.choices[0].finish_reason) == ("get_weather", "tool_calls")
    assert json.loads(piece.function.arguments) == {"city": "Rome"}


@pytest.mark.parametrize("dialect", ["openai_compatible", "anthropic"])
async def test_calls_that_come_in_pieces_are_read_by_the_sdk(dialect: str, tmp_path: Path) -> None:
    """Its types want a name in every piece; OpenAI's streams, and what is translated to them, have it in the first alone."""
    async with Player() as player:
        root = f"http://127.0.0.1:{player.port}" + ("/v1" if dialect == "openai_compatible" else "")
        one = {"name": "up", "provider": dialect, "model": "m", "base_url": root, "api_key": "env:UP_KEY"}
        async with sidecar(tmp_path, {"endpoints": [one], "models": {"m": "up"}}, {"UP_KEY": "sk"}) as port:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            body = in_pieces(dialect)
            player.play(cut_everywhere(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)))
            async with Mistral(api_key="none", server_url=f"http://127.0.0.1:{port}") as client:
                chunks = await streamed(client, model="m", tools=[WEATHER])
            # Others get what the provider sent.
            player.play([head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)])
            async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as plain:
                stream = await plain.chat.completions.create(model="m", messages=TURN, tools=[WEATHER], stream=True)
                others = [call async for one in stream for choice in one.choices for call in choice.delta.tool_calls or ()]

    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert "".join(call.function.name for call in calls) == "get_weather"
    assert json.loads("".join(call.function.arguments for call in calls)) == {"city": "Rome"}
    assert len(calls) > 2
    assert {call.function.name for call in others if call.function} == {"get_weather", None}
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "tool_calls"


def in_pieces(dialect: str) -> bytes:
    """The stream of a call whose arguments come in three pieces."""
    pieces = ['{"ci', 'ty": "Ro', 'me"}']
    if dialect == "anthropic":
        usage = {"input_tokens": 3, "output_tokens": 2}
        message = {"id": "a", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
        block = {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        events: list[Any] = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
        ]
        events += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
        events += [{"type": "content_block_stop", "index": 0}]
        events += [{"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage}, {"type": "message_stop"}]
        return b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": ""}}
    calls = [first, *({"index": 0, "function": {"arguments": piece}} for piece in pieces)]
    deltas: list[Any] = [{"role": "assistant", "content": None}, *({"tool_calls": [call]} for call in calls), {}]  # type: ignore[no-redef]
    chunks = [
        {
            "id": "a",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
        }
        for delta in deltas
    ]
    chunks[-1]["choices"][0]["finish_reason"] = "tool_calls"  # type: ignore[index]  # a tree
    return b"".join(f"data: {json.dumps(one)}\n\n".encode() for one in chunks) + b"data: [DONE]\n\n"


async def test_its_own_fields_reach_the_provider(sdk: Mistral, mock: MockProvider) -> None:
    await sdk.chat.complete_async(model="chat", messages=TURN, safe_prompt=True, response_format={"type": "json_object"}, random_seed=1)

    sent = json.loads(mock.journal[-1].body)
    assert (sent["safe_prompt"], sent["random_seed"], sent["response_format"]["type"]) == (True, 1, "json_object")


async def test_models_are_listed(sdk: Mistral) -> None:
    listed: Any = await sdk.models.list_async()

    assert {model.id for model in listed.data} == set(BEHAVIOURS)


@pytest.mark.parametrize(("model", "status"), [("no-such-model", 404), ("wrong", 422), ("full", 429)])
async def test_an_error_has_its_status(sdk: Mistral, model: str, status: int) -> None:
    with pytest.raises(Exception, match=r".") as whole:
        await sdk.chat.complete_async(model=model, messages=TURN)
    with pytest.raises(Exception, match=r".") as stream:
        await streamed(sdk, model=model)

    assert getattr(whole.value, "status_code", None) == getattr(stream.value, "status_code", None) == status


async def test_a_stream_that_breaks_raises(sdk: Mistral) -> None:
    with pytest.raises(Exception, match=r"error|incomplete|closed|validat"):
        await streamed(sdk, model="breaks")


async def test_an_unknown_path_is_an_error_of_the_sdk(sdk: Mistral) -> None:
    with pytest.raises(SDKError):
        await sdk.fim.complete_async(model="chat", prompt="def f(")
