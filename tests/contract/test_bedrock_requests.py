"""Recorded requests of every dialect on their way to Bedrock: Converse gets what botocore's model of it allows."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import botocore.session  # type: ignore[import-untyped]  # botocore has no types
import pytest
from botocore.validate import ParamValidator  # type: ignore[import-untyped]  # the same
from pydantic import TypeAdapter, ValidationError

from tests.contract.exchanges import configuration, exchanges, frame_of, put
from tests.contract.inside import sidecar
from tests.contract.recordings import Player, head_and_body
from tests.contract.test_translated_requests import FIELDS, SCHEMAS

if TYPE_CHECKING:
    from pathlib import Path

MODELS = {
    "claude": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "nova": "us.amazon.nova-2-lite-v1:0",
    "qwen": "qwen.qwen3-32b-v1:0",
}
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "x"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def faults(shape: Any, value: Any, where: str) -> list[str]:
    """What botocore leaves to the service: words of enumerations, patterns, lengths."""
    if shape.type_name == "structure" and isinstance(value, dict):
        return [
            one for name, inside in value.items() if name in shape.members for one in faults(shape.members[name], inside, f"{where}.{name}")
        ]
    if shape.type_name == "list":
        return [one for at, inside in enumerate(value) for one in faults(shape.member, inside, f"{where}[{at}]")]
    if shape.type_name != "string":
        return []
    rules = shape.metadata
    found = [f"{where}: {value!r} is no {shape.name}"] if shape.enum and value not in shape.enum else []
    if "pattern" in rules and not re.fullmatch(rules["pattern"], value):
        found.append(f"{where}: {value!r} does not match {rules['pattern']}")
    if not rules.get("min", 0) <= len(value) <= rules.get("max", 1 << 30):
        found.append(f"{where}: {len(value)} characters")
    return found


def with_bedrock(player: Player, api: str) -> dict[str, Any]:
    config = configuration(player)
    fields = {"provider": "bedrock", "base_url": f"http://127.0.0.1:{player.port}", "options": {"api": api}, "drop_unsupported": True}
    config["endpoints"] += [{"name": f"bedrock-{name}", "model": model, **fields} for name, model in MODELS.items()]
    config["models"] |= {name: {"endpoints": [f"bedrock-{name}"], "retry": {"attempts": 1}} for name in MODELS}
    return config


def asked() -> list[Any]:
    return [
        one
        for one in exchanges()
        if one.request
        and one.dialect in FIELDS
        and (one.request.get("messages") or one.request.get("contents"))
        and one.recording.status == 200
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", MODELS)
async def test_a_translated_request_is_one_that_botocore_would_send(model: str, tmp_path: Path) -> None:
    operation = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse")
    wrong: list[str] = []
    async with Player() as player, sidecar(tmp_path, with_bedrock(player, "converse")) as port:
        for one in asked():
            assert one.request is not None
            player.play([head_and_body(json.dumps(ANSWER).encode())])
            answer = await put(port, one.dialect, model, {**one.request, "stream": False})
            if not player.received:
                wrong.append(f"{one.name}: {answer.status} {answer.body[:300]!r}")
                continue
            head, raw = player.received[-1]
            path = head.decode().split()[1]
            sent = {"modelId": unquote(path.split("/")[2]), **json.loads(raw)}
            assert (path.split("/")[3], sent["modelId"]) == ("converse", MODELS[model])
            report = ParamValidator().validate(sent, operation.input_shape)
            if report.has_errors():
                wrong.append(f"{one.name}: {report.generate_report()[:400]}")
            wrong += [f"{one.name}: {fault}" for fault in faults(operation.input_shape, sent, "")]
            for turn in sent["messages"]:
                wrong += [f"{one.name}: a blank text" for block in turn["content"] if block.get("text", "x").strip() == ""]

    assert not wrong, f"{len(wrong)} of {len(asked())}:\n" + "\n".join(wrong[:8])


@pytest.mark.timeout(300)
async def test_a_request_for_invoke_model_is_anthropics_but_for_model_stream_and_version(tmp_path: Path) -> None:
    adapter: TypeAdapter[Any] = SCHEMAS["messages", False]
    message = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": "end_turn"}
    body = json.dumps({**message, "usage": {"input_tokens": 1, "output_tokens": 1}}).encode()
    wrong: list[str] = []
    async with Player() as player, sidecar(tmp_path, with_bedrock(player, "invoke")) as port:
        for one in asked():
            assert one.request is not None
            player.play([head_and_body(body)])
            answer = await put(port, one.dialect, "claude", {**one.request, "stream": False})
            if not player.received:
                wrong.append(f"{one.name}: {answer.status} {answer.body[:300]!r}")
                continue
            head, raw = player.received[-1]
            sent = json.loads(raw)
            assert b"/invoke http" in head
            assert (sent.pop("anthropic_version"), "model" in sent, "stream" in sent) == ("bedrock-2023-05-31", False, False)
            if one.dialect == "messages":
                wanted = {name: value for name, value in one.request.items() if name not in {"model", "stream"}}
                wrong += [] if sent == wanted else [f"{one.name}: not unchanged"]
                continue
            try:
                adapter.validate_python(sent | {"model": "m"})
            except ValidationError as error:
                wrong.append(f"{one.name}: {str(error)[:400]}")
            wrong += [f"{one.name}: the field {name}" for name in set(sent) - FIELDS["messages"]]

    assert not wrong, f"{len(wrong)} of {len(asked())}:\n" + "\n".join(wrong[:8])


async def test_a_stream_of_invoke_model_is_anthropics_for_a_client_of_it(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "1", "usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "h\u00e9"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 2}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}},
    ]
    chunks = b"".join(frame_of("chunk", json.dumps({"bytes": encoded(event), "p": "abc"}).encode()) for event in events)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ncontent-length: %d\r\n\r\n" % len(chunks)
    async with Player() as player, sidecar(tmp_path, with_bedrock(player, "invoke")) as port:
        player.play([head + chunks])
        request = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9, "stream": True, "future_field": [1]}
        answer = await put(port, "messages", "claude", request)
        sent_head, sent = player.received[-1]

    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.whole
    named = [block.split(b"\n") for block in answer.body.strip().split(b"\n\n")]
    assert [(name.decode(), json.loads(data[6:])) for name, data in named] == [(f"event: {event['type']}", event) for event in events]
    assert b"/invoke-with-response-stream http" in sent_head
    assert json.loads(sent)["future_field"] == [1]


def encoded(event: object) -> str:
    return base64.b64encode(json.dumps(event).encode()).decode()
