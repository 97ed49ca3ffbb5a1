"""OpenAI's own client with the engine in process as its server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest
from dispatch import Client
from dispatch.testing import MockProvider

from tests.integration.clients import config_of, document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

TURN: Any = [{"role": "user", "content": "Say hi"}]


@pytest.fixture
async def mock() -> AsyncIterator[MockProvider]:
    async with MockProvider(reply="one two three", dimensions=4) as provider:
        yield provider


@pytest.fixture
async def sdk(mock: MockProvider, tmp_path: Path) -> AsyncIterator[openai.AsyncOpenAI]:
    async with Client(config_of(tmp_path, document(mock, retry={"attempts": 1}))) as client, client.openai() as made:
        yield made


async def test_whole_answers_have_text_usage_and_where_they_come_from(sdk: openai.AsyncOpenAI) -> None:
    raw = await sdk.chat.completions.with_raw_response.create(model="chat", messages=TURN)
    reply = raw.parse()

    assert reply.choices[0].message.content == "one two three"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 3
    assert (raw.headers["x-dispatch-endpoint"], raw.headers["x-dispatch-attempts"]) == ("east", "1")
    assert raw.headers["x-request-id"]


async def test_streams_come_in_pieces(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(model="chat", messages=TURN, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [3]
    assert stream.response.headers["x-dispatch-endpoint"] == "east"


async def test_usage_that_was_not_asked_for_does_not_appear(sdk: openai.AsyncOpenAI, mock: MockProvider) -> None:
    stream = await sdk.chat.completions.create(model="chat", messages=TURN, stream=True)

    assert all(chunk.choices and chunk.usage is None for chunk in [chunk async for chunk in stream])


async def test_tools_formats_embeddings_completions_responses_and_models(sdk: openai.AsyncOpenAI) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    called = await sdk.chat.completions.create(model="chat", messages=TURN, tools=tools, tool_choice="required")
    formatted = await sdk.chat.completions.create(model="chat", messages=TURN, response_format={"type": "json_object"})
    vectors = await sdk.embeddings.create(model="chat", input=["a", "b"])
    completed = await sdk.completions.create(model="chat", prompt="Say hi")
    responded = await sdk.responses.create(model="chat", input="Say hi")

    assert called.choices[0].message.tool_calls
    assert formatted.choices[0].message.content
    assert [len(row.embedding) for row in vectors.data] == [4, 4]
    assert completed.choices[0].text
    assert responded.output_text
    assert [model.id async for model in sdk.models.list()] == ["chat"]


async def test_leaving_a_stream_early_cancels_it_upstream(sdk: openai.AsyncOpenAI, mock: MockProvider) -> None:
    mock.configure(output_tokens=1000, tokens_per_s=50)

    async with await sdk.chat.completions.create(model="chat", messages=TURN, stream=True) as stream:
        await anext(stream)

    await mock.until_over(1)
    assert [entry.outcome for entry in mock.journal] == ["left"]


async def test_errors_are_the_sdks_own(sdk: openai.AsyncOpenAI, mock: MockProvider) -> None:
    with pytest.raises(openai.NotFoundError):
        await sdk.chat.completions.create(model="nobody", messages=TURN)
    with pytest.raises(openai.NotFoundError):
        await sdk.images.generate(model="chat", prompt="a cat")
    assert not list(mock.journal)

    mock.configure(script=[400, 500, 429])
    with pytest.raises(openai.BadRequestError):
        await sdk.chat.completions.create(model="chat", messages=TURN)
    with pytest.raises(openai.InternalServerError):
        await sdk.chat.completions.create(model="chat", messages=TURN, stream=True)
    with pytest.raises(openai.RateLimitError):
        await sdk.chat.completions.create(model="chat", messages=TURN)
    assert len(mock.journal) == 3


async def test_a_stream_that_breaks_raises(sdk: openai.AsyncOpenAI, mock: MockProvider) -> None:
    mock.configure(output_tokens=20, faults={"cut_fin": 1.0})
    stream = await sdk.chat.completions.create(model="chat", messages=TURN, stream=True)

    with pytest.raises(openai.APIError, match="stream"):
        [chunk async for chunk in stream]


async def test_its_timeout_and_its_deadline_hold(sdk: openai.AsyncOpenAI, mock: MockProvider) -> None:
    mock.configure(first_token_s=30)

    with pytest.raises(openai.APITimeoutError):
        await sdk.chat.completions.create(model="chat", messages=TURN, timeout=0.5)
    with pytest.raises(openai.APITimeoutError):
        await sdk.chat.completions.create(model="chat", messages=TURN, timeout=0.5, stream=True)
    with pytest.raises(openai.InternalServerError, match="deadline"):
        await sdk.chat.completions.create(model="chat", messages=TURN, extra_headers={"x-dispatch-deadline-ms": "500"})

    await mock.until_over(3)
    assert [entry.outcome for entry in mock.journal] == ["left"] * 3


async def test_many_at_once_are_all_answered(sdk: openai.AsyncOpenAI, mock: MockProvider) -> None:
    mock.configure(echo=True)
    asked = [{"role": "user", "content": f"number {n}"} for n in range(60)]

    replies = await asyncio.gather(*(sdk.chat.completions.create(model="chat", messages=[turn]) for turn in asked))  # type: ignore[list-item]  # a plain dict is what people write

    assert [reply.choices[0].message.content for reply in replies] == [turn["content"] for turn in asked]
