"""The official SDK takes the mock for the real thing."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from dispatch.testing import MockProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

TURN: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}, "unit": {"enum": ["c", "f"]}},
            "required": ["city"],
        },
    },
}


def client_of(mock: MockProvider, key: str = "sk-test") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=mock.base_url, api_key=key, max_retries=0)


@pytest.fixture
async def mock() -> AsyncIterator[MockProvider]:
    async with MockProvider(output_tokens=6) as provider:
        yield provider


@pytest.fixture
async def client(mock: MockProvider) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(mock) as sdk:
        yield sdk


async def test_a_chat_completion_has_text_and_usage(client: openai.AsyncOpenAI, mock: MockProvider) -> None:
    reply = await client.chat.completions.create(model="gpt-x", messages=TURN)

    assert reply.model == "gpt-x"
    assert len((reply.choices[0].message.content or "").split()) == 6
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert (reply.usage.completion_tokens, reply.usage.prompt_tokens) == (6, 8)
    assert [(entry.model, entry.key, entry.outcome, entry.tokens_out) for entry in mock.journal] == [("gpt-x", "sk-test", "ok", 6)]


async def test_a_streamed_chat_says_the_same_as_a_whole_one(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="m", messages=TURN, seed=4)
    stream = await client.chat.completions.create(model="m", messages=TURN, seed=4, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage


async def test_usage_is_not_streamed_unless_asked_for(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="m", messages=TURN, stream=True)

    assert all(chunk.choices and chunk.usage is None for chunk in [chunk async for chunk in stream])


async def test_max_tokens_cuts_the_answer_and_says_so(client: openai.AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="m", messages=TURN, max_completion_tokens=2)

    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 2


async def test_several_choices_stream_side_by_side(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="m", messages=TURN, n=3, stream=True)
    texts = ["", "", ""]
    async for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""

    assert texts[0]
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "get_weather"}}])
async def test_an_offered_tool_is_called_with_arguments_of_its_schema(client: openai.AsyncOpenAI, choice: Any) -> None:
    reply = await client.chat.completions.create(model="m", messages=TURN, tools=[WEATHER], tool_choice=choice)
    stream = await client.chat.completions.create(model="m", messages=TURN, tools=[WEATHER], tool_choice=choice, stream=True)
    pieces = [chunk.choices[0].delta.tool_calls[0] async for chunk in stream if chunk.choices[0].delta.tool_calls]

    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.choices[0].message.tool_calls
    call: Any = reply.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "mock", "days": 1, "unit": "c"}
    assert pieces[0].function is not None
    assert pieces[0].function.name == "get_weather"
    assert "".join(piece.function.arguments or "" for piece in pieces if piece.function) == call.function.arguments


async def test_after_the_tools_result_comes_text(client: openai.AsyncOpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    turns: Any = [*TURN, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}]
    reply = await client.chat.completions.create(model="m", messages=turns, tools=[WEATHER])

    assert reply.choices[0].message.tool_calls is None
    assert reply.choices[0].message.content


async def test_response_format_answers_in_json_of_that_schema(client: openai.AsyncOpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"steps": {"type": "array", "items": {"type": "string"}, "minItems": 2}, "ok": {"type": "boolean"}},
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    typed = await client.chat.completions.create(model="m", messages=TURN, response_format=form)
    plain = await client.chat.completions.create(model="m", messages=TURN, response_format={"type": "json_object"})

    assert json.loads(typed.choices[0].message.content or "") == {"steps": ["mock", "mock"], "ok": True}
    assert isinstance(json.loads(plain.choices[0].message.content or ""), dict)


async def test_completions_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    whole = await client.completions.create(model="m", prompt="Once", seed=1)
    stream = await client.completions.create(model="m", prompt="Once", seed=1, stream=True)

    assert whole.choices[0].text == "".join([chunk.choices[0].text async for chunk in stream])


async def test_embeddings_depend_on_the_text_alone(client: openai.AsyncOpenAI) -> None:
    reply = await client.embeddings.create(model="e", input=["a", "b", "a"], dimensions=64)
    floats = await client.embeddings.create(model="e", input="a", dimensions=64, encoding_format="float")
    vectors = [item.embedding for item in reply.data]

    assert vectors[0] == vectors[2] != vectors[1]
    assert len(vectors[0]) == 64
    assert floats.data[0].embedding == pytest.approx(vectors[0])


async def test_responses_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    whole = await client.responses.create(model="m", input="Hi")
    events = [event async for event in await client.responses.create(model="m", input="Hi", stream=True)]

    assert len(whole.output_text.split()) == 6
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == events[-1].response.output_text
    assert events[-1].response.usage is not None
    assert events[-1].response.usage.output_tokens == 6


async def test_responses_call_tools(client: openai.AsyncOpenAI) -> None:
    tool: Any = {"type": "function", **WEATHER["function"]}
    reply: Any = await client.responses.create(model="m", input="Hi", tools=[tool])
    events: list[Any] = [event async for event in await client.responses.create(model="m", input="Hi", tools=[tool], stream=True)]
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]

    assert reply.output[0].name == "get_weather"
    assert json.loads(reply.output[0].arguments)["city"] == "mock"
    assert "".join(deltas) == reply.output[0].arguments == events[-1].response.output[0].arguments


async def test_models_are_those_of_the_scenario() -> None:
    async with MockProvider(scenario={"models": {"a": {}, "b": {"reply": "I am b"}}, "only_models": True}) as mock, client_of(mock) as sdk:
        assert [model.id async for model in sdk.models.list()] == ["a", "b"]
        assert (await sdk.models.retrieve("b")).id == "b"
        reply = await sdk.chat.completions.create(model="b", messages=TURN)
        assert reply.choices[0].message.content == "I am b"
        with pytest.raises(openai.NotFoundError) as refused:
            await sdk.chat.completions.create(model="c", messages=TURN)

    assert refused.value.code == "model_not_found"


async def test_echo_gives_the_last_user_message_back() -> None:
    async with MockProvider(echo=True) as mock, client_of(mock) as sdk:
        stream = await sdk.chat.completions.create(
            model="m", messages=[{"role": "user", "content": 'Tab\t, "quote", \u00e9 \n'}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == 'Tab\t, "quote", \u00e9 \n'


async def test_a_wrong_key_and_bad_requests_are_errors_of_the_right_class() -> None:
    async with MockProvider(scenario={"accept_keys": ["sk-good"]}) as mock:
        async with client_of(mock, "sk-bad") as sdk:
            with pytest.raises(openai.AuthenticationError):
                await sdk.chat.completions.create(model="m", messages=TURN)
        async with client_of(mock, "sk-good") as sdk:
            missing: Any = None
            with pytest.raises(openai.BadRequestError) as refused:
                await sdk.chat.completions.create(model="m", messages=missing)
            with pytest.raises(openai.BadRequestError) as untyped:
                await sdk.chat.completions.create(model="m", messages=TURN, extra_body={"stream": "yes"})

    assert refused.value.param == "messages"
    assert untyped.value.param == "stream"
    assert [entry.outcome for entry in mock.journal] == ["refused"] * 3


async def test_the_sdk_retries_after_what_the_mock_says() -> None:
    async with (
        MockProvider(script=[429, 503, "ok"], retry_after_s=0.01) as mock,
        openai.AsyncOpenAI(base_url=mock.base_url, api_key="k", max_retries=2) as sdk,
    ):
        reply = await sdk.chat.completions.create(model="m", messages=TURN)

    assert reply.choices[0].message.content
    assert [entry.outcome for entry in mock.journal] == ["http_429", "http_503", "ok"]
    assert [entry.headers["x-stainless-retry-count"] for entry in mock.journal] == ["0", "1", "2"]


async def test_a_limit_holds_for_each_key_and_tells_when_to_come_back() -> None:
    async with MockProvider(limits={"requests_per_min": 2, "enforce": "sliding_60s"}) as mock:
        async with client_of(mock, "sk-a") as sdk:
            first = await sdk.chat.completions.with_raw_response.create(model="m", messages=TURN)
            await sdk.chat.completions.create(model="m", messages=TURN)
            with pytest.raises(openai.RateLimitError) as refused:
                await sdk.chat.completions.create(model="m", messages=TURN)
        async with client_of(mock, "sk-b") as sdk:
            await sdk.chat.completions.create(model="m", messages=TURN)

    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert refused.value.code == "rate_limit_exceeded"
    assert 40 <= float(refused.value.response.headers["retry-after-ms"]) / 1000 <= 60
    assert [(entry.key, entry.outcome) for entry in mock.journal] == [("sk-a", "ok"), ("sk-a", "ok"), ("sk-a", "limited"), ("sk-b", "ok")]


async def test_a_place_is_free_again_however_an_answer_ended() -> None:
    script = ["cut_fin", 500, "close_before_head", "hang_before_head", "ok"]
    async with MockProvider(limits={"concurrency": 1}, script=script) as mock, client_of(mock) as sdk:
        for _ in script:
            with contextlib.suppress(openai.APIError):
                await sdk.chat.completions.create(model="m", messages=TURN, timeout=1)

    assert [entry.outcome for entry in mock.journal] == ["cut_fin", "http_500", "close_before_head", "hang_before_head", "ok"]


async def test_logprobs_are_told_where_they_are_asked_for_and_the_same_in_a_stream(client: openai.AsyncOpenAI, mock: MockProvider) -> None:
    mock.configure(reply="Nach Köln, 😀 wie immer.", logprob=-0.25, chunk_tokens=2)
    asked: Any = {"model": "m", "messages": TURN, "logprobs": True, "top_logprobs": 3}
    whole: Any = await client.chat.completions.create(**asked)
    stream: Any = await client.chat.completions.create(**asked, stream=True)
    choices = [chunk.choices[0] async for chunk in stream]
    told = whole.choices[0].logprobs.content

    assert "".join(one.token for one in told) == whole.choices[0].message.content
    assert b"".join(bytes(one.bytes) for one in told).decode() == "Nach Köln, 😀 wie immer."
    assert {one.logprob for one in told} == {-0.25}
    for one in told:
        assert one.top_logprobs[0].token == one.token
        likely = [top.logprob for top in one.top_logprobs]
        assert likely == sorted(likely, reverse=True)
        assert len({top.token for top in one.top_logprobs}) == 3
        assert sum(2.718281828**value for value in likely) <= 1
    assert [one for choice in choices if choice.logprobs for one in choice.logprobs.content] == told
    assert all(bool(choice.delta.content) == bool(choice.logprobs) for choice in choices)


async def test_logprobs_are_told_to_nobody_else(client: openai.AsyncOpenAI) -> None:
    plain: Any = await client.chat.completions.create(model="m", messages=TURN)
    calling: Any = await client.chat.completions.create(model="m", messages=TURN, tools=[WEATHER], logprobs=True)

    assert plain.choices[0].logprobs is None
    assert calling.choices[0].logprobs is None
    with pytest.raises(openai.BadRequestError, match="top_logprobs"):
        await client.chat.completions.create(model="m", messages=TURN, top_logprobs=2)
    with pytest.raises(openai.BadRequestError, match="top_logprobs"):
        await client.chat.completions.create(model="m", messages=TURN, logprobs=True, top_logprobs=21)
