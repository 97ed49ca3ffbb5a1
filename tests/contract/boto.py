"""AWS's own SDK as client of a sidecar, and the answers of others in front of which the sidecar stands, for the tests of its doors."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import boto3  # type: ignore[import-untyped]  # boto3 has no types
import pytest
from botocore.config import Config  # type: ignore[import-untyped]  # the same

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.recordings import Player

__all__ = [
    "CALL",
    "CHUNKS",
    "CLAUDE",
    "COMPLETION",
    "MESSAGE",
    "TURN",
    "anyio_backend",
    "asked",
    "bedrock",
    "config",
    "delta",
    "events",
    "made",
    "streamed",
    "whole",
]

TURN: Any = [{"role": "user", "content": [{"text": "What is the weather in K\u00f6ln? \U0001f600"}]}]
USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 4}}
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def client_of(url: str, keys: dict[str, Any] | None = None, attempts: int = 1, **more: Any) -> Any:
    """The SDK's client, with keys that are nobody's."""
    own = {"aws_access_key_id": "AKIDOFCLIENT", "aws_secret_access_key": "s3cr3t"} | (keys or {})
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts})
    return boto3.Session(region_name="us-east-1", **own).client("bedrock-runtime", endpoint_url=url, config=config, **more)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


async def asked(port: int, told: Callable[[Any], Any], **more: Any) -> Any:
    """What `told` makes of a client, in a thread of its own."""
    return await asyncio.to_thread(made, f"http://127.0.0.1:{port}", told, **more)


def made(url: str, told: Callable[[Any], Any], **more: Any) -> Any:
    with closing(client_of(url, **more)) as client:
        return told(client)


def whole(model: str = "m", **fields: Any) -> Callable[[Any], Any]:
    return lambda client: client.converse(modelId=model, **{"messages": TURN, **fields})


def streamed(model: str = "m", **fields: Any) -> Callable[[Any], list[Any]]:
    def told(client: Any) -> list[Any]:
        with closing(client.converse_stream(modelId=model, **{"messages": TURN, **fields})["stream"]) as stream:
            return list(stream)

    return told


def config(player: Player, provider: str = "openai_compatible", **fields: Any) -> dict[str, Any]:
    root = f"http://127.0.0.1:{player.port}"
    one = {"name": "up", "provider": provider, "model": "upstream-5", "base_url": f"{root}/v1" if provider == "openai_compatible" else root}
    return {"endpoints": [{**one, **fields}], "models": {"m": {"endpoints": ["up"], "retry": {"attempts": 1}}}}


def events(*trees: dict[str, Any], name: bool = False, end: bytes = b"data: [DONE]\n\n") -> bytes:
    """Server-sent events as an answer."""
    body = b"".join(
        (b"event: %b\n" % tree["type"].encode() if name else b"") + b"data: %b\n\n" % json.dumps(tree).encode() for tree in trees
    )
    body += end
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "1", "model": "m", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def piece(text: str, **call: Any) -> dict[str, Any]:
    return delta(tool_calls=[{"index": 0, "function": {"arguments": text}, **call}])


CALL = [
    delta(content="I "),
    delta(content="look"),
    piece("", id="call_1", type="function", function={"name": "get_weather", "arguments": ""}),
    piece('{"city":'),
    piece('"K\u00f6ln"}'),
]
CHUNKS = [*CALL, delta("tool_calls"), {"id": "1", "model": "m", "choices": [], "usage": USAGE}]
MESSAGE = {
    "role": "assistant",
    "content": "I look",
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"K\u00f6ln"}'}}],
}
COMPLETION = {"id": "1", "model": "m", "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "tool_calls"}], "usage": USAGE}


def bedrock(player: Player, **fields: Any) -> dict[str, Any]:
    return config(player, "bedrock", **{"model": CLAUDE, "options": {"region": "eu-west-1"}, **fields})
