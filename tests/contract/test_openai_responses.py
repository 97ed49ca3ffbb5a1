"""OpenAI's own SDK at the responses door, in front of endpoints that have no such door: chat, Anthropic's messages, Gemini's."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.contract.exchanges import configuration
from tests.contract.inside import sidecar
from tests.contract.recordings import Player, head_and_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a town.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    "strict": False,
}
PLACES = ('{"town":"Ulm"}', '{"town":"Bonn"}')


def events(*trees: dict[str, Any], named: bool = False, done: bool = False) -> list[bytes]:
    """A stream of these, one event a piece."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    lines = [(f"event: {tree['type']}\n" if named else "") + f"data: {json.dumps(tree)}\n\n" for tree in trees]
    return [head, *(line.encode() for line in lines), *([b"data: [DONE]\n\n"] if done else [])]


def chat_chunks() -> list[bytes]:
    def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
        return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    def call(at: int, arguments: str, **more: Any) -> dict[str, Any]:
        function: dict[str, Any] = {"arguments": arguments} | ({"name": "weather"} if more else {})
        return chunk(tool_calls=[{"index": at, "function": function, **more}])

    usage = {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}}
    first = [chunk(role="assistant", content=""), chunk(reasoning_content="Two"), chunk(content="Look"), chunk(content="ing.")]
    calls = [call(at, place[:5], id=f"call_{at}", type="function") for at, place in enumerate(PLACES)]
    # The rest of the first call comes when the second has begun.
    rest = [call(at, place[5:]) for at, place in enumerate(PLACES)]
    return events(*first, *calls, *rest, chunk("tool_calls"), {"id": "c1", "model": "m", "choices": [], "usage": usage}, done=True)


def message_events() -> list[bytes]:
    usage = {"input_tokens": 4, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 0, "output_tokens": 1}
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    trees: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        (
            {"type": "thinking", "thinking": ""},
            [{"type": "thinking_delta", "thinking": "Two"}, {"type": "signature_delta", "signature": "s1=="}],
        ),
        ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "Look"}, {"type": "text_delta", "text": "ing."}]),
        *(
            (
                {"type": "tool_use", "id": f"call_{at}", "name": "weather", "input": {}},
                [{"type": "input_json_delta", "partial_json": piece} for piece in (place[:5], place[5:])],
            )
            for at, place in enumerate(PLACES)
        ),
    ]
    for at, (block, deltas) in enumerate(blocks):
        trees.append({"type": "content_block_start", "index": at, "content_block": block})
        trees += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        trees.append({"type": "content_block_stop", "index": at})
    trees.append({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}})
    return events(*trees, {"type": "message_stop"}, named=True)


def generate_chunks() -> list[bytes]:
    def chunk(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"responseId": "g1", "modelVersion": "m", "candidates": [{"content": {"role": "model", "parts": [*parts]}, **more}]}

    calls = [{"functionCall": {"id": f"call_{at}", "name": "weather", "args": json.loads(place)}} for at, place in enumerate(PLACES)]
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 5, "cachedContentTokenCount": 3}
    first = [chunk({"text": "Two", "thought": True}), chunk({"text": "Look"}), chunk({"text": "ing."})]
    return events(*first, chunk(*calls), {**chunk(finishReason="STOP"), "usageMetadata": usage})


STREAMS = {"chat": chat_chunks, "messages": message_events, "generate": generate_chunks}


HAVE_CHAT = {"at-chat": ["chat"]}


def narrowed(config: dict[str, Any], doors: dict[str, list[str]]) -> dict[str, Any]:
    """The configuration with fewer doors at some endpoints."""
    for endpoint in config["endpoints"]:
        if endpoint["name"] in doors:
            endpoint["doors"] = doors[endpoint["name"]]
    return config


@asynccontextmanager
async def at_the_door(folder: Path, doors: dict[str, list[str]] | None = None) -> AsyncIterator[tuple[Player, openai.AsyncOpenAI]]:
    async with (
        Player() as player,
        sidecar(folder, narrowed(configuration(player), doors or {})) as port,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client,
    ):
        yield player, client


def sent(player: Player) -> Any:
    return json.loads(player.received[-1][1])


@pytest.mark.parametrize("upstream", STREAMS)
async def test_the_sdk_reads_reasoning_text_and_parallel_calls_of_a_stream(upstream: str, tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play(STREAMS[upstream]())
        async with client.responses.stream(model=upstream, input="The weather?", tools=[WEATHER]) as stream:
            kinds = [event.type async for event in stream]
            whole = await stream.get_final_response()

    assert whole.output_text == "Looking."
    assert [item.type for item in whole.output] == ["reasoning", "message", "function_call", "function_call"]
    calls = [item for item in whole.output if item.type == "function_call"]
    assert [(call.call_id, json.loads(call.arguments)) for call in calls] == [
        ("call_0", {"town": "Ulm"}),
        ("call_1", {"town": "Bonn"}),
    ]
    assert whole.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens, whole.usage.input_tokens_details.cached_tokens) == (7, 5, 3)
    assert whole.status == "completed"
    assert not whole.model_extra or whole.model_extra.get("store") is False
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == 4


@pytest.mark.parametrize("upstream", STREAMS)
async def test_each_event_is_numbered_and_content_is_not_held_back(upstream: str, tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play(STREAMS[upstream]())
        stream = await client.responses.create(model=upstream, input="The weather?", tools=[WEATHER], stream=True)
        found = [event async for event in stream]

    assert [event.sequence_number for event in found] == [*range(len(found))]
    texts = [event.delta for event in found if event.type == "response.output_text.delta"]
    assert texts == ["Look", "ing."]


async def test_reasoning_that_anthropic_signed_goes_back_to_it_whole(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play(message_events())
        async with client.responses.stream(model="messages", input="The weather?", tools=[WEATHER]) as stream:
            whole = await stream.get_final_response()
        history: list[Any] = [{"role": "user", "content": "The weather?"}, *(item.model_dump(exclude_none=True) for item in whole.output)]
        history += [{"type": "function_call_output", "call_id": f"call_{at}", "output": "rain"} for at in range(2)]
        player.play(message_events())
        async with client.responses.stream(model="messages", input=history, tools=[WEATHER], store=False) as stream:
            await stream.until_done()

    turns = sent(player)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"][0] == {"type": "thinking", "thinking": "Two", "signature": "s1=="}
    assert [block["type"] for block in turns[1]["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block["tool_use_id"] for block in turns[2]["content"]] == ["call_0", "call_1"]


CODEX: Any = {
    "instructions": "You are a coding agent.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions/>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List the files."}]},
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "ls"}],
            "content": None,
            "encrypted_content": "gAAAAB-of-OpenAI",
        },
        {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "call_a"},
        {"type": "function_call", "name": "shell", "arguments": '{"command":["pwd"]}', "call_id": "call_b"},
        {"type": "function_call_output", "call_id": "call_a", "output": "a.txt"},
        {"type": "function_call_output", "call_id": "call_b", "output": "/"},
    ],
    "tools": [
        {"type": "function", "name": "shell", "description": "Run.", "strict": False, "parameters": {"type": "object", "properties": {}}}
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0199",
    "text": {"verbosity": "low"},
}
"""What Codex CLI sends in the second turn of a task."""


@pytest.mark.parametrize("upstream", STREAMS)
async def test_a_request_of_codex_reaches_endpoints_of_every_dialect(upstream: str, tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play(STREAMS[upstream]())
        stream = await client.responses.create(model=upstream, **CODEX)
        kinds = [event.type async for event in stream]

    assert kinds[-1] == "response.completed"
    raw = player.received[-1][1]
    # What OpenAI encrypted, nobody else can read.
    assert b"gAAAAB" not in raw
    assert raw.count(b"call_a") >= (2 if upstream != "generate" else 0)
    if upstream == "chat":
        assert [one["role"] for one in sent(player)["messages"]] == ["system", "system", "user", "assistant", "tool", "tool"]
        assert len(sent(player)["messages"][3]["tool_calls"]) == 2


@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "background", "prompt"])
async def test_what_needs_a_stored_response_is_refused_by_its_name(field: str, tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play([head_and_body(b"{}")])
        values: dict[str, Any] = {"previous_response_id": "resp_1", "conversation": "conv_1", "background": True, "prompt": {"id": "p"}}
        with pytest.raises(openai.BadRequestError) as told:
            await client.responses.create(model="chat", input="x", **{field: values[field]})

    assert told.value.param == field
    assert not player.received


async def test_an_error_inside_the_stream_is_raised_by_the_sdk(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        player.play([*chat_chunks()[:4], b'data: {"error":{"message":"out of memory","type":"server_error"}}\n\n'])
        with pytest.raises(openai.APIError):
            async for _ in await client.responses.create(model="chat", input="x", stream=True):
                pass


async def test_a_whole_answer_that_was_cut_says_so(tmp_path: Path) -> None:
    async with at_the_door(tmp_path) as (player, client):
        choice = {"index": 0, "message": {"role": "assistant", "content": "Once"}, "finish_reason": "length"}
        player.play([head_and_body(json.dumps({"id": "1", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 1}}).encode())])
        whole = await client.responses.create(model="chat", input="x", max_output_tokens=1)

    assert (whole.status, whole.output_text) == ("incomplete", "Once")
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("upstream", STREAMS)
async def test_a_prompt_is_a_message_where_there_are_only_chats(upstream: str, tmp_path: Path) -> None:
    async with at_the_door(tmp_path, HAVE_CHAT) as (player, client):
        player.play(STREAMS[upstream]())
        stream = await client.completions.create(model=upstream, prompt="The weather?", stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        raw = player.received[-1][1]
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(model=upstream, prompt="x", suffix="y")

    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "Looking."
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 7
    assert b"The weather?" in raw
    assert refused.value.param == "suffix"


async def test_a_whole_completion_is_the_text_of_a_chat(tmp_path: Path) -> None:
    async with at_the_door(tmp_path, HAVE_CHAT) as (player, client):
        choice = {"index": 0, "message": {"role": "assistant", "content": "Once"}, "finish_reason": "length"}
        player.play([head_and_body(json.dumps({"id": "1", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 1}}).encode())])
        whole = await client.completions.create(model="chat", prompt="x")

    assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("Once", "length")
    assert sent(player)["max_tokens"] == 16


SPACE: Any = {
    "type": "namespace",
    "name": "multi_agent",
    "description": "Agents of your own.",
    "tools": [
        {
            "type": "function",
            "name": "spawn",
            "description": "Begin one.",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
        {"type": "function", "name": "wait", "parameters": {"type": "object", "properties": {}}, "strict": False},
    ],
}


@pytest.mark.parametrize("provider", ["openai_compatible", "anthropic"])
async def test_codex_has_tools_in_a_namespace_which_no_other_dialect_knows(provider: str, tmp_path: Path) -> None:
    async with Player() as player:
        root = f"http://127.0.0.1:{player.port}"
        one: dict[str, Any] = {"name": "e", "provider": provider, "model": "x", "api_key": "env:THEIRS"}
        one |= {"base_url": root} if provider == "anthropic" else {"base_url": f"{root}/v1", "doors": ["chat"]}
        config = {"endpoints": [one], "models": {"m": "e"}}
        async with (
            sidecar(tmp_path, config, {"THEIRS": "sk-theirs"}) as port,
            openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-ours", max_retries=0) as client,
        ):
            player.play([head_and_body(json.dumps(called(provider)).encode())])
            made = await client.responses.create(model="m", input="Go", tools=[SPACE, WEATHER], store=False)
            call: Any = made.output[0]
            items: Any = [{"role": "user", "content": "Go"}, call.model_dump(exclude_none=True)]
            items.append({"type": "function_call_output", "call_id": "c1", "output": "begun"})
            await client.responses.create(model="m", input=items, tools=[SPACE, WEATHER], store=False)
            whole, after = (json.loads(body) for _, body in player.received)
            player.play(streamed_call(provider))
            stream = await client.responses.create(model="m", input="Go", tools=[SPACE, WEATHER], store=False, stream=True)
            told: list[Any] = [event async for event in stream]

    tools = [tool.get("function", tool) for tool in whole["tools"]]
    assert [tool["name"] for tool in tools] == ["multi_agent_-_spawn", "multi_agent_-_wait", "weather"]
    assert tools[0]["description"] == "Agents of your own.\n\nBegin one."
    assert "multi_agent_-_spawn" in json.dumps(after["messages"])
    assert (call.type, call.name, call.namespace) == ("function_call", "spawn", "multi_agent")
    items = [event.item for event in told if event.type in {"response.output_item.added", "response.output_item.done"}]
    assert {(item.name, item.namespace) for item in items} == {("spawn", "multi_agent")}
    assert told[-1].type == "response.completed"
    assert told[-1].response.output[0].namespace == "multi_agent"


def called(provider: str) -> dict[str, Any]:
    name = "multi_agent_-_spawn"
    if provider == "anthropic":
        content = [{"type": "tool_use", "id": "c1", "name": name, "input": {}}]
        usage = {"input_tokens": 4, "output_tokens": 1}
        return {
            "id": "a",
            "type": "message",
            "role": "assistant",
            "model": "x",
            "content": content,
            "stop_reason": "tool_use",
            "usage": usage,
        }
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    usage = {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}
    return {"id": "a", "object": "chat.completion", "created": 1, "model": "x", "choices": [choice], "usage": usage}


def streamed_call(provider: str) -> list[bytes]:
    name = "multi_agent_-_spawn"
    if provider == "anthropic":
        usage = {"input_tokens": 4, "output_tokens": 1}
        start = {"id": "a", "type": "message", "role": "assistant", "model": "x", "content": [], "usage": usage}
        block = {"type": "tool_use", "id": "c1", "name": name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": "{}"}
        return events(
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage},
            {"type": "message_stop"},
            named=True,
        )
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    chunks = [{"tool_calls": [call]}, {}]
    trees = [{"id": "a", "model": "x", "choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in chunks]
    trees[-1]["choices"][0]["finish_reason"] = "tool_calls"  # type: ignore[index]  # a tree
    return events(*trees, done=True)
