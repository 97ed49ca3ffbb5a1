"""Requests go to endpoints whose models can take them: by the catalogue of models, and by what the configuration says of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import Peer
from tests.integration.test_left_out import post
from tests.integration.upstream import ERROR, GOOD, Upstream, answer, once

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
URL = "data:image/png;base64,iVBORw0KGgo="
IMAGE = {"messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": URL}}]}]}
PLAIN = {"messages": [{"role": "user", "content": "hello"}]}
TOOLS = {**PLAIN, "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}
SCHEMA = {**PLAIN, "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}}
JSON = {**PLAIN, "response_format": {"type": "json_object"}}
LONG = {"messages": [{"role": "user", "content": "lorem ipsum " * 1_000}]}
BASE64 = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
ANTHROPICS = {"max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "image", "source": BASE64}]}]}
GOOGLES = {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]}]}


def two(first: Upstream, second: Upstream, **capabilities: Any) -> dict[str, Any]:
    """A pool of two, whose first cannot do something."""
    config = pool(first.base_url, second.base_url, strategy="round_robin", retry={"attempts": 1})
    config["endpoints"][0]["capabilities"] = capabilities
    return config


async def asked(config: dict[str, Any], body: dict[str, Any], path: str = CHAT, times: int = 4) -> list[tuple[int, bytes]]:
    async with Hosted(config) as hosted, Peer(hosted.port) as peer:
        replies = [await peer.ask(post(path, body)) for _ in range(times)]
    return [(reply.status, reply.body) for reply in replies]


@pytest.mark.parametrize(
    ("lacks", "path", "body"),
    [
        ({"reads": []}, CHAT, IMAGE),
        ({"reads": ["audio"]}, "/v1/messages", ANTHROPICS),
        ({"reads": []}, "/v1beta/models/m:generateContent", GOOGLES),
        ({"tools": False}, CHAT, TOOLS),
        ({"schema": False}, CHAT, SCHEMA),
        ({"context": 1_000}, CHAT, LONG),
    ],
    ids=["image", "image of Anthropic's", "image of Google's", "tools", "schema", "context"],
)
async def test_a_request_goes_to_those_that_can_take_it(lacks: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    async with Upstream(GOOD) as weak, Upstream(GOOD) as able:
        replies = await asked(two(weak, able, **lacks), body, path)

    assert [status for status, _ in replies] == [200] * 4
    assert (len(weak.requests), len(able.requests)) == (0, 4)


@pytest.mark.parametrize("body", [PLAIN, JSON], ids=["plain", "json"])
async def test_what_all_can_take_goes_to_all(body: dict[str, Any]) -> None:
    async with Upstream(GOOD) as weak, Upstream(GOOD) as able:
        replies = await asked(two(weak, able, reads=[], tools=False, schema=False, context=1_000), body)

    assert [status for status, _ in replies] == [200] * 4
    assert (len(weak.requests), len(able.requests)) == (2, 2)


@pytest.mark.parametrize(
    ("lacks", "body", "told"),
    [
        ({"reads": []}, IMAGE, "no endpoint of 'm' takes images"),
        ({"tools": False}, TOOLS, "no endpoint of 'm' takes tools"),
        ({"schema": False}, SCHEMA, "no endpoint of 'm' takes a JSON schema of the answer"),
        ({"context": 1_000}, LONG, "the prompt has about 3008 tokens, and no endpoint of 'm' reads more than 1000"),
    ],
    ids=["image", "tools", "schema", "context"],
)
async def test_what_none_can_take_is_refused_by_its_name(lacks: dict[str, Any], body: dict[str, Any], told: str) -> None:
    async with Upstream(GOOD) as upstream:
        config = pool(upstream.base_url)
        config["endpoints"][0]["capabilities"] = lacks
        ((status, text),) = await asked(config, body, times=1)

    error = json.loads(text)["error"]
    assert (status, error["type"], error["message"]) == (400, "invalid_request_error", told)
    assert not upstream.requests


async def test_a_prompt_that_may_still_fit_goes_to_the_model_that_reads_most() -> None:
    """About 3,008 tokens by estimate: 2,500 may be enough for them."""
    async with Upstream(GOOD) as small, Upstream(GOOD) as large:
        config = two(small, large, context=1_000)
        config["endpoints"][1]["capabilities"] = {"context": 2_500}
        replies = await asked(config, LONG)

    assert [status for status, _ in replies] == [200] * 4
    assert (len(small.requests), len(large.requests)) == (0, 4)


async def test_a_fallback_takes_what_the_first_pool_cannot() -> None:
    async with Upstream(GOOD) as weak, Upstream(GOOD) as able:
        config = two(weak, able, reads=[])
        names = [endpoint["name"] for endpoint in config["endpoints"]]
        config["models"]["m"] = {"fallback": [{"endpoints": [names[0]]}, {"endpoints": [names[1]]}]}
        replies = await asked(config, IMAGE)

    assert [status for status, _ in replies] == [200] * 4
    assert (len(weak.requests), len(able.requests)) == (0, 4)


async def test_a_retry_does_not_go_to_those_that_cannot() -> None:
    async with Upstream(GOOD) as weak, Upstream(once(answer(ERROR, 500))) as broken:
        config = two(weak, broken, reads=[])
        config["models"]["m"]["retry"] = {"attempts": 3, "base_s": 0.01, "cap_s": 0.02}
        replies = await asked(config, IMAGE, times=1)

    assert replies[0][0] >= 500
    assert not weak.requests


async def test_models_that_differ_by_the_catalogue_are_told_apart_and_leave_the_express_lane() -> None:
    config = pool("http://gateway.example/v1", "http://gateway.example/v1")
    for endpoint, model in zip(config["endpoints"], ("gpt-3.5-turbo", "gpt-4o-mini"), strict=True):
        endpoint |= {"provider": "openai", "model": model}
    config["models"]["alike"] = {"endpoints": ["b"]}
    async with Hosted(config) as hosted:
        generation = hosted.dispatcher.generation
        assert generation is not None
        assert generation.lane is not None
        on_lane = [entry.name for entry in generation.lane.models]

    assert on_lane == ["alike"]
