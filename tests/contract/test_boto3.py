"""AWS's own SDK as client: its Bedrock runtime pointed here by `endpoint_url`, in front of Bedrock and of others."""

from __future__ import annotations

import base64
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # botocore has no types

from tests.contract.boto import CHUNKS, CLAUDE, COMPLETION, MESSAGE, TURN, anyio_backend, asked, bedrock, config, events, streamed, whole
from tests.contract.exchanges import FRAMES, exchanges
from tests.contract.facts import payloads
from tests.contract.inside import sidecar
from tests.contract.recordings import Player, ask, cut_everywhere, cut_randomly, frame, head_and_body

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["anyio_backend"]

PNG = base64.b64decode("iVBORw0KGgo=")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: Any = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}}], "toolChoice": {"any": {}}}
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"


async def test_a_call_of_a_tool_is_the_same_whole_and_in_pieces(tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, config(player)) as port:
        player.play([head_and_body(json.dumps(COMPLETION).encode())])
        answer = await asked(port, whole(toolConfig=TOOLS))
        player.play(cut_everywhere(events(*CHUNKS)))
        found = await asked(port, streamed(toolConfig=TOOLS))
        sent = json.loads(player.received[-1][1])

    use = {"toolUseId": "call_1", "name": "get_weather", "input": {"city": "K\u00f6ln"}}
    assert answer["output"]["message"]["content"] == [{"text": "I look"}, {"toolUse": use}]
    assert (answer["stopReason"], answer["usage"]["cacheReadInputTokens"], answer["usage"]["inputTokens"]) == ("tool_use", 4, 5)
    # Each piece of the arguments is an event of its own.
    assert found == [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "I "}, "contentBlockIndex": 0}},
        {"contentBlockDelta": {"delta": {"text": "look"}, "contentBlockIndex": 0}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "call_1", "name": "get_weather"}}, "contentBlockIndex": 1}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": '{"city":'}}, "contentBlockIndex": 1}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": '"K\u00f6ln"}'}}, "contentBlockIndex": 1}},
        {"contentBlockStop": {"contentBlockIndex": 1}},
        {"messageStop": {"stopReason": "tool_use"}},
        {"metadata": {"usage": answer["usage"], "metrics": {"latencyMs": 0}}},
    ]
    assert sent["model"] == "upstream-5"
    assert sent["tools"][0]["function"]["parameters"] == SCHEMA
    assert (sent["tool_choice"], sent["stream"]) == ("required", True)


TURNS: Any = [
    {
        "role": "user",
        "content": [
            {"text": "and this?"},
            {"image": {"format": "png", "source": {"bytes": PNG}}},
            {"document": {"format": "pdf", "name": "a paper", "source": {"bytes": b"%PDF"}}},
            {"cachePoint": {"type": "default"}},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
            {"toolUse": {"toolUseId": "c1", "name": "get_weather", "input": {"city": "Rome"}}},
        ],
    },
    {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"json": {"sky": "blue"}}], "status": "error"}}]},
]
ASKED: Any = {
    "messages": TURNS,
    "system": [{"text": "be brief"}, {"cachePoint": {"type": "default"}}],
    "inferenceConfig": {"maxTokens": 4_000, "stopSequences": ["x"]},
    "toolConfig": {"tools": TOOLS["tools"]},
    "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2_000}, "top_k": 5},
}
SAID = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "thinking", "thinking": "so", "signature": "bmV3"}, {"type": "redacted_thinking", "data": "ZGF0YQ=="}],
    "stop_reason": "max_tokens",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 1},
}


async def test_everything_in_a_request_reaches_anthropics_api_and_its_reasoning_comes_back(tmp_path: Path) -> None:
    async with Player() as player, sidecar(tmp_path, config(player, "anthropic", model="claude-sonnet-4-5")) as port:
        player.play([head_and_body(json.dumps(SAID).encode())])
        answer = await asked(port, whole(**ASKED))
        sent = json.loads(player.received[-1][1])

    mark = {"type": "ephemeral"}
    assert sent["system"] == [{"type": "text", "text": "be brief", "cache_control": mark}]
    text, image, document = sent["messages"][0]["content"]
    assert (text, image["source"]["data"]) == ({"type": "text", "text": "and this?"}, base64.b64encode(PNG).decode())
    assert (document["source"]["media_type"], document["title"], document["cache_control"]) == ("application/pdf", "a paper", mark)
    assert sent["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Rome"}},
    ]
    result = {"type": "tool_result", "tool_use_id": "c1", "content": '{"sky":"blue"}', "is_error": True}
    assert sent["messages"][2]["content"] == [result]
    assert (sent["thinking"], sent["top_k"], sent["stop_sequences"]) == ({"type": "enabled", "budget_tokens": 2_000}, 5, ["x"])
    hidden, shown = {"redactedContent": b"data"}, {"text": "so", "signature": "bmV3"}
    assert answer["output"]["message"]["content"] == [{"reasoningContent": {"reasoningText": shown}}, {"reasoningContent": hidden}]
    assert answer["stopReason"] == "max_tokens"
    assert answer["usage"] == {
        "inputTokens": 3,
        "outputTokens": 2,
        "totalTokens": 13,
        "cacheReadInputTokens": 7,
        "cacheWriteInputTokens": 1,
    }


async def test_hidden_reasoning_of_any_form_comes_back_as_it_was(tmp_path: Path) -> None:
    detail = {"type": "reasoning.encrypted", "data": "gAAA-_no base64"}
    said = {**COMPLETION, "choices": [{"index": 0, "message": {**MESSAGE, "reasoning_details": [detail]}, "finish_reason": "tool_calls"}]}
    async with Player() as player:
        settings = config(player)
        settings["endpoints"] += config(player, "anthropic", name="other", model="claude-sonnet-4-5")["endpoints"]
        settings["models"]["n"] = {"endpoints": ["other"]}
        async with sidecar(tmp_path, settings) as port:
            player.play([head_and_body(json.dumps(said).encode())])
            answer = await asked(port, whole())
            player.play([head_and_body(json.dumps(SAID).encode())])
            await asked(port, whole("n", messages=[*TURN, answer["output"]["message"], *TURN]))
            sent = json.loads(player.received[-1][1])

    assert sent["messages"][1]["content"][0] == {"type": "redacted_thinking", "data": "gAAA-_no base64"}


@pytest.mark.parametrize("name", [CLAUDE, ARN, "provider/model:free"])
async def test_a_models_name_may_hold_what_a_path_may_not(name: str, tmp_path: Path) -> None:
    async with Player() as player:
        settings = config(player)
        settings["models"] = {name: {"endpoints": ["up"]}}
        async with sidecar(tmp_path, settings) as port:
            player.play([head_and_body(json.dumps(COMPLETION).encode())])
            answer = await asked(port, whole(name))
            plain = await ask(port, f"/model/{name}/converse", {"messages": [{"role": "user", "content": [{"text": "x"}]}]})

    assert (answer["stopReason"], plain.status) == ("tool_use", 200)


SPOKEN = [one for one in exchanges() if one.dialect == "converse" and "invoke" not in one.name and one.said is not None]


@pytest.mark.timeout(120)
async def test_bedrocks_own_answers_come_through_unchanged_wherever_they_are_cut(tmp_path: Path) -> None:
    wrong = []
    async with Player() as player, sidecar(tmp_path, bedrock(player, api_key="env:ITS_KEY"), {"ITS_KEY": "its-key"}) as port:
        for one in SPOKEN:
            chance = random.Random(one.name)
            player.play(cut_randomly(frame(one.recording, chance, "chunked"), chance))
            verb = "converse-stream" if one.recording.stream else "converse"
            request = one.request or {"messages": [{"role": "user", "content": [{"text": "x"}]}]}
            answer = await ask(port, f"/model/m/{verb}", request)
            head, sent = player.received[-1]
            was, found = ((payloads if one.recording.stream else json.loads)(body) for body in (one.recording.body, answer.body))
            assert head.startswith(f"post /model/{CLAUDE.replace(':', '%3a')}/{verb} http".encode())
            assert b"\r\nauthorization: bearer its-key\r\n" in head
            assert answer.headers["content-type"] == (FRAMES if one.recording.stream else one.recording.content_type)
            if was != found or json.loads(sent) != request or not answer.whole:
                wrong.append(one.name)

    assert not wrong


async def test_a_request_for_bedrock_goes_as_it_came_under_a_signature_of_its_own(tmp_path: Path) -> None:
    keys = {"region": "eu-west-1", "access_key_id": "env:A_KEY", "secret_access_key": "env:A_SECRET"}
    said = {"output": {"message": {"role": "assistant", "content": [{"text": "x"}]}}, "stopReason": "end_turn", "metrics": {"latencyMs": 7}}
    body = json.dumps({**said, "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "trace": {"new": 1}}).encode()
    rail = {"guardrailIdentifier": "gr1", "guardrailVersion": "1"}
    fields: Any = {"guardrailConfig": rail, "additionalModelRequestFields": {"unheard_of": 1}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_KEY", "AKIDOFENDPOINT")
        patch.setenv("A_SECRET", "s")
        async with Player() as player, sidecar(tmp_path, bedrock(player, options=keys)) as port:
            player.play([head_and_body(body)])
            answer = await asked(port, whole(**fields))
            head, sent = player.received[-1]

    assert (answer["metrics"], json.loads(sent)) == ({"latencyMs": 7}, {"messages": TURN, **fields})
    assert head.count(b"authorization: ") == 1
    assert b"\r\nauthorization: aws4-hmac-sha256 credential=akidofendpoint/" in head
    assert b"/eu-west-1/bedrock/aws4_request" in head


async def test_an_endpoints_guardrail_looks_at_what_is_passed_through(tmp_path: Path) -> None:
    rail = {"id": "gr1", "version": "2"}
    said = {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "guardrail_intervened", "usage": {}, "metrics": {}}
    async with (
        Player() as player,
        sidecar(tmp_path, bedrock(player, api_key="env:ITS_KEY", options={"region": "r", "guardrail": rail}), {"ITS_KEY": "k"}) as port,
    ):
        player.play([head_and_body(json.dumps(said).encode())])
        answer = await asked(port, whole(inferenceConfig={"maxTokens": 9}))
        sent = json.loads(player.received[-1][1])
        player.play([])
        with pytest.raises(ClientError, match="guardrail of its own") as refused:
            await asked(port, whole(guardrailConfig={"guardrailIdentifier": "weak", "guardrailVersion": "1"}))

    own = {"guardrailIdentifier": "gr1", "guardrailVersion": "2", "trace": "disabled"}
    assert sent == {"messages": TURN, "inferenceConfig": {"maxTokens": 9}, "guardrailConfig": own}
    assert answer["stopReason"] == "guardrail_intervened"
    assert refused.value.response["Error"]["Code"] == "ValidationException"


async def test_what_the_endpoint_cannot_do_is_refused_by_name_or_left_out(tmp_path: Path) -> None:
    wishes: Any = {"promptVariables": {"a": {"text": "b"}}, "performanceConfig": {"latency": "optimized"}}
    async with Player() as player:
        async with sidecar(tmp_path, config(player)) as port:
            with pytest.raises(ClientError, match="promptVariables: ") as refused:
                await asked(port, whole(**wishes))
        async with sidecar(tmp_path, config(player, drop_unsupported=True)) as port:
            player.play([head_and_body(json.dumps(COMPLETION).encode())])
            answer = await asked(
                port, whole(**wishes, additionalModelRequestFields={"repetition_penalty": 1.1, "seed": 3, "model": "dear"})
            )
            sent = json.loads(player.received[-1][1])

    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-dispatch-dropped"] == "promptVariables, performanceConfig, model"
    # What its own fields are is for the server to say, but for those that are ours.
    assert (sent["repetition_penalty"], sent["seed"], sent["model"]) == (1.1, 3, "upstream-5")
