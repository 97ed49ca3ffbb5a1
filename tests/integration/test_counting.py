"""Tokens counted before they are sent, at doors whose endpoints do not count: exactly where OpenAI's tokenizer knows the model."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest
import tiktoken
from dispatch.server import counting

from tests.integration.hosted import Hosted
from tests.integration.test_left_out import post
from tests.integration.upstream import GOOD, Upstream, answer, once

pytestmark = pytest.mark.anyio

TEXT = "héllo"
BYTES = 3 + (3 + 4 + 6)
"""Of one message of a user, where each byte is a token."""
TOOL: Any = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
ENCODING = tiktoken.Encoding("bytes", pat_str=r"(?s).", mergeable_ranks={bytes([byte]): byte for byte in range(256)}, special_tokens={})


@pytest.fixture(autouse=True)
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the vocabularies that were asked for; none is fetched."""
    names: list[str] = []

    def get(name: str) -> tiktoken.Encoding:
        names.append(name)
        return ENCODING

    monkeypatch.setattr(tiktoken, "get_encoding", get)
    monkeypatch.setattr(counting, "_COUNTER", counting._Counter())
    return names


def config(upstream: Upstream, *models: str, provider: str = "openai_compatible") -> dict[str, Any]:
    endpoints = [
        {"name": f"e{at}", "provider": provider, "model": model, "base_url": upstream.base_url, "api_key": "env:UP_KEY"}
        for at, model in enumerate(models)
    ]
    return {"endpoints": endpoints, "models": {"m": {"endpoints": [one["name"] for one in endpoints]}}}


async def asked(hosted: Hosted, text: str = TEXT, **more: Any) -> tuple[int, bool]:
    """What Anthropic's SDK is told, and whether that is exact."""
    async with anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{hosted.port}", api_key="k", max_retries=0) as sdk:
        reply = await sdk.messages.with_raw_response.count_tokens(model="m", messages=[{"role": "user", "content": text}], **more)
        return (await reply.parse()).input_tokens, "x-dispatch-estimated" not in reply.headers


async def test_a_conversation_of_text_is_counted_exactly_at_every_door(fetched: list[str]) -> None:
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, "gpt-4o", "openai/gpt-5-mini")) as hosted:
        assert await asked(hosted) == (BYTES, True)
        contents: Any = {"contents": [{"role": "user", "parts": [{"text": TEXT}]}]}
        peer = await hosted.peer()
        for body in (contents, {"generateContentRequest": {"model": "models/m", **contents}}):
            total = await peer.ask(post("/v1beta/models/m:countTokens", body))
            assert json.loads(total.body) == {"totalTokens": BYTES}
            assert "x-dispatch-estimated" not in total.headers
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{hosted.port}/v1", api_key="k", max_retries=0) as sdk:
            reply = await sdk.responses.input_tokens.with_raw_response.count(model="m", input=TEXT)
        assert reply.parse().input_tokens == BYTES
        assert reply.parse().object == "response.input_tokens"
        assert "x-dispatch-estimated" not in reply.headers

    assert {*fetched} == {"o200k_base"}
    assert not upstream.requests


async def test_tools_are_counted_and_the_count_says_that_it_is_none() -> None:
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, "gpt-4o")) as hosted:
        tokens, is_exact = await asked(hosted, tools=[TOOL])

    assert tokens > BYTES + len(json.dumps(TOOL["input_schema"], separators=(",", ":")))
    assert not is_exact


@pytest.mark.parametrize("models", [("llama-3",), ("gpt-4o", "gpt-4"), ("gpt-4o", "llama-3")])
async def test_what_the_tokenizer_does_not_know_is_estimated(models: tuple[str, ...], fetched: list[str]) -> None:
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, *models)) as hosted:
        _, is_exact = await asked(hosted)

    assert not is_exact
    assert not fetched


async def test_a_vocabulary_that_cannot_be_fetched_is_not_asked_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def get(name: str) -> tiktoken.Encoding:
        tries.append(name)
        raise ConnectionError("no way out")

    monkeypatch.setattr(tiktoken, "get_encoding", get)
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, "gpt-4o")) as hosted:
        for _ in range(3):
            assert (await asked(hosted))[1] is False

    assert len(tries) == 1


async def test_without_the_extra_it_is_an_estimate(monkeypatch: pytest.MonkeyPatch, fetched: list[str]) -> None:
    monkeypatch.setattr(counting, "is_installed", lambda: False)
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, "gpt-4o")) as hosted:
        assert (await asked(hosted))[1] is False

    assert not fetched


async def test_openai_counts_itself(fetched: list[str]) -> None:
    counted = once(answer({"object": "response.input_tokens", "input_tokens": 77}))
    async with Upstream(counted) as upstream, Hosted(config(upstream, "gpt-4o", provider="openai")) as hosted:
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{hosted.port}/v1", api_key="k", max_retries=0) as sdk:
            assert (await sdk.responses.input_tokens.count(model="m", input=TEXT)).input_tokens == 77
        assert upstream.requests[0].startswith(b"POST /v1/responses/input_tokens HTTP/1.1\r\n")
        assert b'"model":"gpt-4o"' in upstream.requests[0].replace(b" ", b"")

    assert not fetched
