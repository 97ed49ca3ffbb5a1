"""Clouds that host the models of others: what is sent is what their SDKs send, and what came is told wherever it was cut."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from anthropic import AnthropicBedrock, AnthropicVertex
from dispatch.config import build
from dispatch.providers.base import find_provider

from tests.contract.exchanges import FRAMES, exchanges, frame_of, put
from tests.contract.inside import sidecar
from tests.contract.recordings import OWN, Player, cut_everywhere, cut_randomly, head_and_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "x"}],
    "stop_reason": "end_turn",
}
ANSWER = json.dumps({**MESSAGE, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}).encode()
CLAUDE = "claude-sonnet-4-5@20250929"
ON_BEDROCK = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def recorded(provider: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and contents of a provider's recordings."""
    folder = Path(os.environ.get("DISPATCH_WIRE_DIR") or OWN)
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    return [(row["file"], json.loads((folder / row["file"]).read_text())) for row in rows if row["provider"] == provider]


def test_gemini_on_vertex_is_asked_where_it_was_asked() -> None:
    for name, one in recorded("vertex"):
        path = re.sub(r"[?&]%24alt=[^&]*", "", one["request"]["path"])
        place = re.fullmatch(r"/(v1|v1beta1)/projects/(\w+)/locations/([\w-]+)/publishers/google/models/([^:]+):(.+)", path)
        assert place is not None, name
        version, project, location, model, verb = place.groups()
        if verb == "predict":
            continue
        options = {"project": project, "location": location, "api_version": version}
        endpoint = build({"endpoints": [{"name": "v", "provider": "vertex", "model": model, "options": options}]}).endpoints[0]
        provider = find_provider("vertex")
        door = {"generateContent": "generate", "streamGenerateContent?alt=sse": "generate_stream", "embedContent": "gemini_embed"}[verb]
        head = provider.head(endpoint, door, "")
        assert head is not None
        assert head.split(b"\r\n")[0].decode() == f"POST {path} HTTP/1.1", name
        assert provider.origin(endpoint).host == one["request"]["host"]


def clouds(player: Player) -> dict[str, Any]:
    root = f"http://127.0.0.1:{player.port}"
    endpoints = [
        {"name": "at-vertex", "provider": "vertex", "model": CLAUDE, "base_url": root, "options": {"project": "p", "location": "eu"}},
        {"name": "at-gemini", "provider": "vertex", "model": "gemini-x", "base_url": root, "options": {"project": "p"}},
        {"name": "at-bedrock", "provider": "bedrock", "model": ON_BEDROCK, "base_url": root},
        {"name": "at-nova", "provider": "bedrock", "model": "amazon.nova-lite-v1:0", "base_url": root},
        {
            "name": "at-anthropics",
            "provider": "bedrock",
            "model": "anthropic.claude-sonnet-5",
            "base_url": root,
            "options": {"api": "messages"},
        },
    ]
    names = ("vertex", "gemini", "bedrock", "nova", "anthropics")
    return {"endpoints": endpoints, "models": {name: {"endpoints": [f"at-{name}"], "retry": {"attempts": 1}} for name in names}}


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[tuple[Player, int]]:
    async with Player() as player, sidecar(tmp_path, clouds(player)) as port:
        yield player, port


async def sent_by_sdk(call: Any) -> tuple[str, dict[str, Any]]:
    """What an SDK sends: path and body."""
    async with Player() as player:
        player.play([head_and_body(ANSWER)])
        await asyncio.to_thread(call, f"http://127.0.0.1:{player.port}")
        head, body = player.received[0]
        return head.decode().split()[1], json.loads(body)


REQUEST: dict[str, Any] = {
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "h\u00e9"}],
    "system": "s",
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
}


async def test_claude_on_vertex_is_asked_as_anthropics_sdk_asks_it(path: tuple[Player, int]) -> None:
    player, port = path
    player.play([head_and_body(ANSWER)])
    answer = await put(port, "messages", "vertex", REQUEST)
    head, body = player.received[0]

    def call(root: str) -> None:
        sdk = AnthropicVertex(region="eu", project_id="p", access_token="t", base_url=f"{root}/v1")
        sdk.messages.create(model=CLAUDE, **REQUEST)

    expected_path, expected = await sent_by_sdk(call)
    assert (answer.status, json.loads(answer.body)) == (200, json.loads(ANSWER))
    assert head.decode().split()[1].lower().replace("%40", "@") == expected_path.replace("%40", "@")
    # The SDK's own version is for the newest models alone; the one that the cloud's pages give is taken by all.
    assert json.loads(body) == expected | {"anthropic_version": "vertex-2023-10-16"}


async def test_claude_on_bedrock_is_asked_as_anthropics_sdk_asks_it(path: tuple[Player, int]) -> None:
    player, port = path
    player.play([head_and_body(ANSWER)])
    answer = await put(port, "messages", "bedrock", REQUEST)
    head, body = player.received[0]

    def call(root: str) -> None:
        sdk = AnthropicBedrock(aws_region="us-east-1", api_key="k", base_url=root)
        sdk.messages.create(model=ON_BEDROCK, **REQUEST)

    expected_path, expected = await sent_by_sdk(call)
    assert (answer.status, json.loads(answer.body)) == (200, json.loads(ANSWER))
    assert head.decode().split()[1] == expected_path.replace(":", "%3a").lower()
    assert json.loads(body) == expected | {"anthropic_version": "bedrock-2023-05-31"}


async def test_anthropics_own_api_on_bedrock_is_passed_through(path: tuple[Player, int]) -> None:
    player, port = path
    player.play([head_and_body(ANSWER)])
    answer = await put(port, "messages", "anthropics", {**REQUEST, "model": "x", "future": 1})
    head, body = player.received[0]

    assert head.startswith(b"post /anthropic/v1/messages http/1.1\r\n")
    assert json.loads(body) == {**REQUEST, "model": "anthropic.claude-sonnet-5", "future": 1}
    assert json.loads(answer.body) == json.loads(ANSWER)


async def test_other_dialects_reach_claude_on_vertex(path: tuple[Player, int]) -> None:
    player, port = path
    player.play([head_and_body(ANSWER)])
    answer = await put(port, "chat", "vertex", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5})

    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "x"
    assert json.loads(player.received[0][1]) == {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
    }


async def test_gemini_on_vertex_answers_its_own_door_unchanged(path: tuple[Player, int]) -> None:
    player, port = path
    for one in exchanges():
        if one.provider != "vertex" or one.recording.status != 200 or one.recording.stream:
            continue
        player.play(cut_randomly(head_and_body(one.recording.body), random.Random(one.name)))
        answer = await put(port, "generate", "gemini", {"contents": [{"parts": [{"text": "x"}]}]})
        assert json.loads(answer.body) == json.loads(one.recording.body), one.name


START = [("messageStart", b'{"role":"assistant"}'), ("contentBlockDelta", '{"contentBlockIndex":0,"delta":{"text":"h\u00e9"}}'.encode())]


def framed(*events: tuple[str, bytes], error: str = "", said: str = "") -> bytes:
    body = b"".join(frame_of(name, payload) for name, payload in events)
    if error:
        body += frame_of(error, json.dumps({"message": said}).encode(), "exception")
    return f"HTTP/1.1 200 OK\r\ncontent-type: {FRAMES}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("client", ["chat", "messages", "generate"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("throttlingException", "Too many requests, please wait before trying again."),
        ("modelStreamErrorException", "The model failed."),
        ("internalServerException", "Something went wrong."),
        ("validationException", "Input is too long for requested model."),
    ],
)
async def test_an_exception_in_a_stream_is_told_and_is_no_clean_end(path: tuple[Player, int], client: str, error: str, said: str) -> None:
    player, port = path
    ask: dict[str, Any] = {"stream": True, "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    if client == "generate":
        ask = {"stream": True, "contents": [{"parts": [{"text": "x"}]}]}
    player.play(cut_everywhere(framed(*START, error=error, said=said)))
    late = await put(port, client, "nova", ask)
    player.play([framed(START[0], error=error, said=said)])
    early = await put(port, client, "nova", ask)

    assert (late.status, late.whole) == (200, False)
    assert "h\u00e9" in late.body.decode()
    assert said in late.body.decode()
    assert early.status in {400, 413, 429, 502, 503}
    assert said in early.body.decode()


async def test_a_frame_that_is_broken_is_no_clean_end(path: tuple[Player, int]) -> None:
    player, port = path
    whole = framed(*START, ("messageStop", b'{"stopReason":"end_turn"}'))
    broken = bytearray(whole)
    broken[-1] ^= 1
    player.play([bytes(broken)])
    answer = await put(port, "chat", "nova", {"stream": True, "messages": [{"role": "user", "content": "x"}]})

    assert (answer.status, answer.whole) == (200, False)
    assert b"framing is broken" in answer.body
    assert b"[DONE]" not in answer.body


async def test_a_stream_that_ends_inside_a_frame_is_no_clean_end(path: tuple[Player, int]) -> None:
    player, port = path
    body = framed(*START).partition(b"\r\n\r\n")[2]
    cut = body + frame_of("contentBlockDelta", b'{"delta":{"text":"lost"}}')[:-5]
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {FRAMES}\r\ncontent-length: {len(cut)}\r\n\r\n".encode()
    player.play([head + cut])
    answer = await put(port, "chat", "nova", {"stream": True, "messages": [{"role": "user", "content": "x"}]})

    assert not answer.whole
    assert b"without a finish reason" in answer.body
