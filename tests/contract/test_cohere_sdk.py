"""Cohere's own SDK judges what its API is sent, and reads what is passed through."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cohere
import pytest
from cohere.core.unchecked_base_model import construct_type
from cohere.types import ChatMessageV2
from cohere.v2.client import AsyncV2Client

from tests.contract.inside import sidecar
from tests.contract.recordings import Player, ask, cut_everywhere, head_and_body

if TYPE_CHECKING:
    from pathlib import Path

TURN: Any = [{"role": "user", "content": "What is the weather in K\u00f6ln? \U0001f600"}]
PARAMETERS: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS, "strict": True}}
USAGE = {"billed_units": {"input_tokens": 1, "output_tokens": 2}, "tokens": {"input_tokens": 9, "output_tokens": 5}, "cached_tokens": 4}
SOURCE = {"type": "document", "id": "doc:0", "document": {"id": "doc:0", "title": "Weather", "text": "it rains"}}
CITATION = {"start": 0, "end": 4, "text": "Rain", "sources": [SOURCE], "type": "TEXT_CONTENT"}
WHOLE = {
    "id": "a1",
    "finish_reason": "COMPLETE",
    "message": {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Rain \U0001f327"}],
        "citations": [CITATION],
    },
    "usage": USAGE,
}
EVENTS: list[dict[str, Any]] = [
    {"type": "message-start", "id": "a1", "delta": {"message": {"role": "assistant", "content": [], "tool_calls": []}}},
    {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I look"}}},
    {
        "type": "tool-call-start",
        "index": 0,
        "delta": {"message": {"tool_calls": {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": ""}}}},
    },
    {"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": '{"city":'}}}}},
    {"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": '"Rome"}'}}}}},
    {"type": "tool-call-end", "index": 0},
    {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": USAGE}},
]


def stream(events: list[dict[str, Any]]) -> bytes:
    body = b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode()) for event in events)
    body += b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def config(player: Player) -> dict[str, Any]:
    one = {"name": "up", "provider": "cohere", "model": "command-a-reasoning", "base_url": f"http://127.0.0.1:{player.port}"}
    return {"endpoints": [one], "models": {"m": {"endpoints": ["up"], "retry": {"attempts": 1}}}}


async def test_an_answer_in_every_dialect_has_its_reasoning_sources_and_tokens(tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, config(player)) as port:
        player.play([head_and_body(json.dumps(WHOLE).encode())])
        openai = json.loads((await ask(port, "/v1/chat/completions", {"model": "m", "messages": TURN})).body)
        anthropic = json.loads((await ask(port, "/v1/messages", {"model": "m", "messages": TURN, "max_tokens": 9})).body)

    message = openai["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"], openai["model"]) == ("Rain \U0001f327", "hm", "command-a-reasoning")
    assert message["annotations"][0]["url_citation"]["title"] == "Weather"
    assert openai["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
    assert anthropic["content"][-1]["citations"][0]["source"] == "doc:0"
    assert (anthropic["usage"]["input_tokens"], anthropic["usage"]["output_tokens"]) == (5, 5)


async def test_a_stream_of_calls_cut_anywhere(tmp_path: Path) -> None:
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    async with Player() as player, sidecar(tmp_path, config(player)) as port:
        player.play(cut_everywhere(stream(EVENTS)))
        answer = await ask(port, "/v1/chat/completions", {"model": "m", "messages": TURN, **fields})

    found = [json.loads(line[6:]) for line in answer.body.split(b"\n") if line.startswith(b"data: {")]
    deltas = [choice["delta"] for chunk in found for choice in chunk["choices"]]
    assert answer.whole
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "I look"
    assert "".join(call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls", [])) == '{"city":"Rome"}'
    assert found[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert found[-1]["usage"]["prompt_tokens"] == 9


async def test_a_stream_that_ends_in_an_error_is_no_clean_answer(tmp_path: Path) -> None:
    failed = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "the GPU is gone"}}
    async with Player() as player, sidecar(tmp_path, config(player)) as port:
        player.play([stream([*EVENTS[:2], failed])])
        answer = await ask(port, "/v1/chat/completions", {"model": "m", "messages": TURN, "stream": True})
        player.play([head_and_body(json.dumps({**WHOLE, "finish_reason": "ERROR"}).encode())])
        whole = await ask(port, "/v1/chat/completions", {"model": "m", "messages": TURN})

    assert not answer.whole
    assert b"[DONE]" not in answer.body
    assert whole.status == 502


async def test_what_it_is_sent_is_what_its_sdk_would_send(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "and this?"}, image]},
        {"role": "assistant", "content": None, "reasoning_content": "I look", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": PARAMETERS}}
    choice = {"type": "function", "function": {"name": "get_weather"}}
    asked = {"messages": turns, "tools": [WEATHER], "tool_choice": choice, "response_format": form, "top_p": 0.5, "stop": ["x"]}
    more = {"reasoning_effort": "low", "documents": [{"id": "1", "data": {"text": "it rains"}}], "user": "someone"}
    async with Player() as player, sidecar(tmp_path, config(player)) as port:
        player.play([head_and_body(json.dumps(WHOLE).encode())])
        answer = await ask(port, "/v1/chat/completions", {"model": "m", **asked, **more})
        sent = json.loads(player.received[-1][1])

    assert answer.status == 200, answer.body
    assert set(sent) - {"stream"} <= set(AsyncV2Client.chat.__annotations__)
    kind: Any = ChatMessageV2
    for message in sent["messages"]:
        read: Any = construct_type(type_=kind, object_=message)
        assert read.role == message["role"]
        assert not read.model_extra
    assert sent["messages"][2]["tool_plan"] == "I look"
    assert (sent["tool_choice"], sent["strict_tools"], sent["p"], sent["stop_sequences"]) == ("REQUIRED", True, 0.5, ["x"])
    assert sent["thinking"] == {"type": "enabled", "token_budget": 1024}
    assert sent["response_format"] == {"type": "json_object", "json_schema": PARAMETERS}
    assert answer.headers["x-dispatch-dropped"] == "user"


@pytest.fixture
async def client(tmp_path: Path) -> Any:
    async with Player() as player, sidecar(tmp_path, config(player)) as port:
        sdk = cohere.AsyncClientV2("none", base_url=f"http://127.0.0.1:{port}", log_warning_experimental_features=False)
        yield sdk, player
        await sdk._client_wrapper.httpx_client.httpx_client.aclose()


async def test_its_own_dialect_is_passed_through(client: Any) -> None:
    sdk, player = client
    player.play([head_and_body(json.dumps(WHOLE).encode())])
    reply = await sdk.chat(model="m", messages=TURN)
    sent = json.loads(player.received[-1][1])
    player.play(cut_everywhere(stream(EVENTS)))
    events = [event.type async for event in sdk.chat_stream(model="m", messages=TURN)]

    assert (sent["model"], reply.message.content[1].text, reply.usage.cached_tokens) == ("command-a-reasoning", "Rain \U0001f327", 4)
    assert events == [event["type"] for event in EVENTS]


async def test_rerank_and_vectors_are_passed_through(client: Any) -> None:
    sdk, player = client
    ranked = {"id": "r", "results": [{"index": 1, "relevance_score": 0.9}], "meta": {"billed_units": {"search_units": 1}}}
    player.play([head_and_body(json.dumps(ranked).encode())])
    found = await sdk.rerank(model="m", query="x", documents=["a", "b"])
    vectors = {"id": "e", "embeddings": {"float": [[0.5, 1.0]]}, "texts": ["a"], "meta": {"billed_units": {"input_tokens": 2}}}
    player.play([head_and_body(json.dumps({**vectors, "response_type": "embeddings_by_type"}).encode())])
    embedded = await sdk.embed(model="m", texts=["a"], input_type="search_query", embedding_types=["float"])

    assert found.results[0].index == 1
    assert embedded.embeddings.float_ == [[0.5, 1.0]]


async def test_openais_embeddings_are_translated(client: Any, tmp_path: Path) -> None:
    _, player = client
    vectors = {"id": "e", "embeddings": {"float": [[0.5, 1.0]]}, "texts": ["a"], "meta": {"billed_units": {"input_tokens": 2}}}
    async with sidecar(tmp_path, config(player)) as port:
        player.play([head_and_body(json.dumps(vectors).encode())])
        plain = json.loads((await ask(port, "/v1/embeddings", {"model": "m", "input": "a", "dimensions": 2})).body)
        sent = json.loads(player.received[-1][1])
        packed = json.loads((await ask(port, "/v1/embeddings", {"model": "m", "input": ["a"], "encoding_format": "base64"})).body)
        tokens = await ask(port, "/v1/embeddings", {"model": "m", "input": [[1, 2]]})

    assert plain["data"][0]["embedding"] == [0.5, 1.0]
    assert plain["usage"]["prompt_tokens"] == 2
    assert sent == {
        "model": "command-a-reasoning",
        "texts": ["a"],
        "output_dimension": 2,
        "input_type": "search_document",
        "embedding_types": ["float"],
    }
    assert packed["data"][0]["embedding"] == "AAAAPwAAgD8="
    assert (tokens.status, json.loads(tokens.body)["error"]["param"]) == (400, "input")


async def test_an_error_is_read_by_the_sdk(client: Any) -> None:
    sdk, player = client
    body = json.dumps({"id": "x", "message": "too long"}).encode()
    player.play([b"HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)])
    with pytest.raises(cohere.BadRequestError) as wrong:
        await sdk.chat(model="m", messages=TURN)
    with pytest.raises(cohere.NotFoundError) as unknown:
        await sdk.chat(model="no-such-model", messages=TURN)

    assert wrong.value.body["message"] == "too long"
    assert "no-such-model" in unknown.value.body["message"]
