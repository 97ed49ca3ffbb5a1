"""OpenAI's own SDK takes this for OpenAI: what it reads from every door, asynchronous and synchronous."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from anyio.to_thread import run_sync

from tests.contract.sdk_hosts import BEHAVIOURS, TURN, WEATHER, Forecast, anyio_backend, config, mock, sdk, sidecar, sync_sdk

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.testing import MockProvider

__all__ = ["anyio_backend", "config", "mock", "sdk", "sidecar", "sync_sdk"]


async def test_a_chat_has_text_usage_and_the_providers_own_model(sdk: openai.AsyncOpenAI) -> None:
    reply = await sdk.chat.completions.create(model="chat", messages=TURN)

    assert len((reply.choices[0].message.content or "").split()) == 6
    assert (reply.model, reply.choices[0].finish_reason) == ("chat", "stop")
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 6


async def test_the_text_comes_back_character_by_character(sdk: openai.AsyncOpenAI) -> None:
    text = 'Tab\t "quote" \\ \u00e9 \U0001f600 \u2028 \n end'
    turn: Any = [{"role": "user", "content": text}]
    whole = await sdk.chat.completions.create(model="echo-back", messages=turn)
    stream = await sdk.chat.completions.create(model="echo-back", messages=turn, stream=True)

    assert whole.choices[0].message.content == text
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == text


async def test_an_answer_says_what_happened_on_the_way(sdk: openai.AsyncOpenAI) -> None:
    raw = await sdk.chat.completions.with_raw_response.create(model="chat", messages=TURN)

    assert raw.headers["x-dispatch-endpoint"] == "at-chat"
    assert raw.parse().choices


async def test_what_the_provider_fails_at_first_is_tried_again_here(sdk: openai.AsyncOpenAI, mock: MockProvider) -> None:
    before = sum(entry.model == "flaky" for entry in mock.journal)
    reply = await sdk.chat.completions.create(model="flaky", messages=TURN)

    assert reply.choices[0].message.content
    # The script is over after the first of the two ways.
    assert sum(entry.model == "flaky" for entry in mock.journal) - before == (3 if before == 0 else 1)


@pytest.mark.parametrize("wants_usage", [False, True])
async def test_a_stream_says_the_same_as_a_whole_answer(sdk: openai.AsyncOpenAI, wants_usage: bool) -> None:
    extra: Any = {"stream_options": {"include_usage": True}} if wants_usage else {}
    whole = await sdk.chat.completions.create(model="chat", messages=TURN, seed=3)
    chunks = [chunk async for chunk in await sdk.chat.completions.create(model="chat", messages=TURN, seed=3, stream=True, **extra)]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    # Asked for upstream in any case, but shown only to those who asked.
    assert chunks[-1].usage == (whole.usage if wants_usage else None)
    assert all(chunk.choices for chunk in chunks[: len(chunks) - wants_usage])


async def test_a_tool_is_called_whole_and_streamed(sdk: openai.AsyncOpenAI) -> None:
    reply = await sdk.chat.completions.create(model="chat", messages=TURN, tools=[WEATHER], tool_choice="required")
    stream = await sdk.chat.completions.create(model="chat", messages=TURN, tools=[WEATHER], tool_choice="required", stream=True)
    pieces = [piece async for chunk in stream for piece in chunk.choices[0].delta.tool_calls or []]
    call: Any = (reply.choices[0].message.tool_calls or [])[0]

    assert (call.function.name, reply.choices[0].finish_reason) == ("get_weather", "tool_calls")
    assert json.loads(call.function.arguments)["city"]
    assert [piece.function.name for piece in pieces if piece.function and piece.function.name] == ["get_weather"]
    assert "".join(piece.function.arguments or "" for piece in pieces if piece.function) == call.function.arguments


async def test_the_tools_result_is_carried_back(sdk: openai.AsyncOpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    turns: Any = [*TURN, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}]
    reply = await sdk.chat.completions.create(model="chat", messages=turns, tools=[WEATHER])

    assert reply.choices[0].message.tool_calls is None
    assert reply.choices[0].message.content


async def test_response_format_is_parsed_into_a_type(sdk: openai.AsyncOpenAI) -> None:
    reply = await sdk.chat.completions.parse(model="chat", messages=TURN, response_format=Forecast)
    plain = await sdk.chat.completions.create(model="chat", messages=TURN, response_format={"type": "json_object"})
    async with sdk.chat.completions.stream(model="chat", messages=TURN, response_format=Forecast) as stream:
        last = await stream.get_final_completion()

    assert isinstance(reply.choices[0].message.parsed, Forecast)
    assert last.choices[0].message.parsed == reply.choices[0].message.parsed
    assert isinstance(json.loads(plain.choices[0].message.content or ""), dict)


async def test_several_choices_stream_side_by_side(sdk: openai.AsyncOpenAI) -> None:
    texts = ["", "", ""]
    async for chunk in await sdk.chat.completions.create(model="chat", messages=TURN, n=3, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""

    assert texts[0]
    assert len(set(texts)) == 1


async def test_completions_whole_and_streamed(sdk: openai.AsyncOpenAI) -> None:
    whole = await sdk.completions.create(model="chat", prompt="Once", seed=1)
    stream = await sdk.completions.create(model="chat", prompt="Once", seed=1, stream=True)

    assert whole.choices[0].text == "".join([chunk.choices[0].text async for chunk in stream])


async def test_embeddings_in_both_encodings(sdk: openai.AsyncOpenAI) -> None:
    packed = await sdk.embeddings.create(model="chat", input=["a", "b", "a"], dimensions=32)
    plain = await sdk.embeddings.create(model="chat", input="a", dimensions=32, encoding_format="float")
    vectors = [item.embedding for item in packed.data]

    assert vectors[0] == vectors[2] != vectors[1]
    assert plain.data[0].embedding == pytest.approx(vectors[0])


async def test_responses_whole_streamed_and_with_a_tool(sdk: openai.AsyncOpenAI) -> None:
    whole = await sdk.responses.create(model="chat", input="Hi")
    events = [event async for event in await sdk.responses.create(model="chat", input="Hi", stream=True)]
    last: Any = events[-1]
    tool: Any = {"type": "function", **WEATHER["function"]}
    called: Any = await sdk.responses.create(model="chat", input="Hi", tools=[tool])
    parts: list[Any] = [event async for event in await sdk.responses.create(model="chat", input="Hi", tools=[tool], stream=True)]

    assert len(whole.output_text.split()) == 6
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert last.type == "response.completed"
    assert last.response.usage.output_tokens == 6
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == last.response.output_text
    arguments = "".join(part.delta for part in parts if part.type == "response.function_call_arguments.delta")
    assert arguments == called.output[0].arguments != ""


async def test_models_are_those_of_the_configuration(sdk: openai.AsyncOpenAI) -> None:
    assert {model.id async for model in sdk.models.list()} == {*BEHAVIOURS, "dead"}


def whole_and_streamed(sdk: openai.OpenAI) -> None:
    whole = sdk.chat.completions.create(model="chat", messages=TURN, seed=2)
    streamed = "".join(
        chunk.choices[0].delta.content or "" for chunk in sdk.chat.completions.create(model="chat", messages=TURN, seed=2, stream=True)
    )
    assert streamed == whole.choices[0].message.content != ""


def tools_and_formats(sdk: openai.OpenAI) -> None:
    stream = sdk.chat.completions.create(model="chat", messages=TURN, tools=[WEATHER], tool_choice="required", stream=True)
    pieces = [piece for chunk in stream for piece in chunk.choices[0].delta.tool_calls or []]
    assert json.loads("".join(piece.function.arguments or "" for piece in pieces if piece.function))["city"]
    assert sdk.chat.completions.parse(model="chat", messages=TURN, response_format=Forecast).choices[0].message.parsed


def other_doors(sdk: openai.OpenAI) -> None:
    assert sdk.completions.create(model="chat", prompt="x").choices[0].text
    assert len(sdk.embeddings.create(model="chat", input=["a", "b"], dimensions=8).data) == 2
    assert sdk.responses.create(model="chat", input="x").output_text
    assert [event.type for event in sdk.responses.create(model="chat", input="x", stream=True)][-1] == "response.completed"
    assert "chat" in [model.id for model in sdk.models.list()]


def errors_and_timeouts(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(model="no-such-model", messages=TURN)
    with pytest.raises(openai.UnprocessableEntityError):
        sdk.chat.completions.create(model="status-422", messages=TURN)
    with pytest.raises(openai.APITimeoutError):
        sdk.chat.completions.create(model="hangs", messages=TURN, timeout=0.5)
    with pytest.raises(openai.APIError, match="at-breaks"):
        list(sdk.chat.completions.create(model="breaks", messages=TURN, stream=True))


def pages_and_early_leave(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.with_streaming_response.create(model="chat", messages=TURN) as response:
        assert response.headers["x-dispatch-attempts"] == "1"
    with sdk.chat.completions.create(model="chat", messages=TURN, stream=True) as stream:
        next(stream)
    assert sdk.chat.completions.create(model="chat", messages=TURN).choices


@pytest.mark.parametrize("use", [whole_and_streamed, tools_and_formats, other_doors, errors_and_timeouts, pages_and_early_leave])
async def test_the_synchronous_sdk(sync_sdk: openai.OpenAI, use: Callable[[openai.OpenAI], None]) -> None:
    await run_sync(use, sync_sdk)
