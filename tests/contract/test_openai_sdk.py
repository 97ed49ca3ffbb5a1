"""OpenAI's own SDK takes this for OpenAI: a sidecar in a process of its own, and the library's `Client.openai()`.

Upstream is a simulated provider; each way to behave is a model of its own, so that no test sees the failures of another.
"""

from __future__ import annotations

import json
from asyncio import gather
from typing import TYPE_CHECKING, Any

import openai
import pytest
from anyio.to_thread import run_sync
from dispatch.client import Client
from dispatch.testing import MockProvider
from pydantic import BaseModel

from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TURN: Any = [{"role": "user", "content": "What is the weather in K\u00f6ln? \U0001f600"}]
PARAMETERS: Any = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
STATUSES: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    413: openai.APIStatusError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}
BEHAVIOURS: dict[str, dict[str, Any]] = {
    "chat": {"output_tokens": 6},
    "echo-back": {"echo": True},
    "flaky": {"script": [500, "close_before_head", "ok"]},
    "hangs": {"faults": {"hang_before_head": 1.0}},
    "stalls": {"faults": {"hang_mid_stream": 1.0}, "output_tokens": 8},
    "breaks": {"faults": {"error_event": 1.0}, "output_tokens": 8},
    "cut": {"faults": {"cut_rst": 1.0}, "output_tokens": 8},
    "spent-whole": {"errors": {500: 1.0}},
    "spent-stream": {"errors": {500: 1.0}},
    "own-key-refused": {"errors": {401: 1.0}},
    "client-key-refused": {"errors": {401: 1.0}},
    **{f"status-{status}": {"errors": {status: 1.0}, "retry_after_s": 7.0} for status in STATUSES},
}
KEY = "sk-of-the-client"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the module: the provider and the sidecar live as long as it does."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def mock() -> AsyncIterator[MockProvider]:
    async with MockProvider(scenario={"models": BEHAVIOURS}) as provider:
        yield provider


@pytest.fixture(scope="module")
def config(mock: MockProvider) -> dict[str, Any]:
    up = {"provider": "openai_compatible", "base_url": mock.base_url}
    endpoints = [{"name": f"at-{name}", "model": name, **up} for name in BEHAVIOURS]
    endpoints[[end["name"] for end in endpoints].index("at-client-key-refused")]["api_key"] = "from_client"
    # Nobody listens on port 1.
    endpoints += [
        {"name": f"dead-{at}", "model": "m", "provider": "openai_compatible", "base_url": "http://127.0.0.1:1/v1"} for at in (1, 2)
    ]
    once = {"retry": {"attempts": 1}}
    models: dict[str, Any] = {name: {"endpoints": [f"at-{name}"], **once} for name in BEHAVIOURS}
    models["flaky"] = {"endpoints": ["at-flaky"], "retry": {"attempts": 3, "base_s": 0.01, "unknown": True}}
    models["dead"] = {"endpoints": ["dead-1", "dead-2"], "retry": {"attempts": 3, "base_s": 0.01}}
    return {"endpoints": endpoints, "models": models}


@pytest.fixture(scope="module")
async def sidecar(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sidecar]:
    async with Sidecar(tmp_path_factory.mktemp("sdk"), config, "--workers", "1") as process:
        yield process


@pytest.fixture(scope="module", params=["sidecar", "inside"])
async def sdk(
    request: pytest.FixtureRequest, config: dict[str, Any], sidecar: Sidecar, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous SDK, in both of its ways here."""
    if request.param == "inside":
        path = tmp_path_factory.mktemp("inside") / "dispatch.json"
        path.write_text(json.dumps(config))
        async with Client(path) as client, client.openai() as inside:
            yield inside
    else:
        async with openai.AsyncOpenAI(base_url=sidecar.base_url, api_key=KEY, max_retries=0) as remote:
            yield remote


@pytest.fixture(scope="module")
def sync_sdk(sidecar: Sidecar) -> Any:
    with openai.OpenAI(base_url=sidecar.base_url, api_key=KEY, max_retries=0) as client:
        yield client


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


class Forecast(BaseModel):
    city: str
    days: int


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


@pytest.mark.parametrize("status", STATUSES)
async def test_a_providers_error_is_of_the_class_of_its_status(sdk: openai.AsyncOpenAI, mock: MockProvider, status: int) -> None:
    before = len(mock.journal)
    with pytest.raises(STATUSES[status]) as refused:
        await sdk.chat.completions.create(model=f"status-{status}", messages=TURN)

    assert refused.value.status_code == status
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["message"]
    assert len(mock.journal) == before + 1


async def test_errors_of_the_dispatcher_itself_are_of_the_right_class(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await sdk.chat.completions.create(model="no-such-model", messages=TURN)
    with pytest.raises(openai.BadRequestError) as untyped:
        await sdk.chat.completions.create(model="chat", messages=TURN, extra_body={"stream": "yes"})
    with pytest.raises(openai.NotFoundError):
        await sdk.moderations.create(model="chat", input="x")

    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert untyped.value.param == "stream"


async def test_a_refused_key_of_ours_is_not_the_clients_fault(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as refused:
        await sdk.chat.completions.create(model="own-key-refused", messages=TURN)

    assert (refused.value.status_code, refused.value.code) == (502, "upstream_error")
    assert "at-own-key-refused" in refused.value.message


async def test_a_refused_key_of_the_client_is_an_authentication_error(sidecar: Sidecar, mock: MockProvider) -> None:
    async with openai.AsyncOpenAI(base_url=sidecar.base_url, api_key=KEY, max_retries=0) as sdk:
        with pytest.raises(openai.AuthenticationError):
            await sdk.chat.completions.create(model="client-key-refused", messages=TURN)

    assert mock.journal[-1].key == KEY


async def test_the_clients_key_stays_here_unless_an_endpoint_asks_for_it(sidecar: Sidecar, mock: MockProvider) -> None:
    async with openai.AsyncOpenAI(base_url=sidecar.base_url, api_key=KEY, max_retries=0) as sdk:
        await sdk.chat.completions.create(model="chat", messages=TURN)

    assert KEY not in str(mock.journal[-1].headers)


@pytest.mark.parametrize("model", ["breaks", "cut"])
async def test_a_stream_that_breaks_raises_after_what_came(sdk: openai.AsyncOpenAI, model: str) -> None:
    words: list[str] = []

    async def read() -> None:
        async for chunk in await sdk.chat.completions.create(model=model, messages=TURN, stream=True):
            words.extend((chunk.choices[0].delta.content or "").split())

    with pytest.raises(openai.APIError) as broken:
        await read()

    assert 0 < len(words) < 8
    assert f"at-{model}" in str(broken.value)


async def test_a_client_that_times_out_ends_the_request_upstream(sdk: openai.AsyncOpenAI, mock: MockProvider) -> None:
    before = len(mock.journal)
    with pytest.raises(openai.APITimeoutError):
        await sdk.chat.completions.create(model="hangs", messages=TURN, timeout=0.5)

    await mock.until(lambda journal: len(journal) == before + 1 and journal[-1].outcome != "open")


async def test_a_stream_that_is_left_early_ends_upstream(sdk: openai.AsyncOpenAI, mock: MockProvider) -> None:
    before = len(mock.journal)
    stream = await sdk.chat.completions.create(model="stalls", messages=TURN, stream=True)
    async for _ in stream:
        break
    await stream.close()

    await mock.until(lambda journal: len(journal) == before + 1 and journal[-1].outcome != "open")


async def test_a_deadline_of_the_client_is_kept_by_the_sidecar(sidecar: Sidecar) -> None:
    async with openai.AsyncOpenAI(base_url=sidecar.base_url, api_key=KEY, max_retries=0) as sdk:
        with pytest.raises(openai.InternalServerError) as late:
            await sdk.chat.completions.create(model="hangs", messages=TURN, extra_headers={"x-dispatch-deadline-ms": "500"})

    assert (late.value.status_code, late.value.code) == (504, "deadline_exceeded")


async def test_the_sdk_with_its_default_retries_asks_a_dead_pool_once(sidecar: Sidecar) -> None:
    asked = []

    async def count(request: Any) -> None:
        asked.append(request)

    http = openai.DefaultAsyncHttpxClient(event_hooks={"request": [count]})
    async with openai.AsyncOpenAI(base_url=sidecar.base_url, api_key=KEY, http_client=http) as sdk:
        assert sdk.max_retries == 2
        with pytest.raises(openai.InternalServerError) as dead:
            await sdk.chat.completions.create(model="dead", messages=TURN)

    assert len(asked) == 1
    assert dead.value.status_code in {502, 503}


@pytest.mark.parametrize("way", ["whole", "stream"])
async def test_the_sdk_with_its_default_retries_leaves_a_spent_request_alone(sidecar: Sidecar, mock: MockProvider, way: str) -> None:
    before = len(mock.journal)
    async with openai.AsyncOpenAI(base_url=sidecar.base_url, api_key=KEY) as sdk:
        with pytest.raises(openai.InternalServerError):
            await sdk.chat.completions.create(model=f"spent-{way}", messages=TURN, stream=way == "stream")

    assert len(mock.journal) == before + 1


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


async def test_keys_are_asked_for_and_their_permissions_kept(mock: MockProvider, tmp_path: Any) -> None:
    up = {"provider": "openai_compatible", "base_url": mock.base_url}
    config = {
        "endpoints": [{"name": "at-chat", "model": "chat", **up}],
        "models": {"chat": {"endpoints": ["at-chat"]}, "other": {"endpoints": ["at-chat"]}},
        "keys": [{"name": "web", "key": "env:WEB", "models": ["chat"], "limits": {"requests_per_min": 60}}],
    }
    async with Sidecar(tmp_path, config, "--workers", "1", environ={"WEB": "sk-web"}) as process:
        async with openai.AsyncOpenAI(base_url=process.base_url, api_key="sk-web", max_retries=0) as sdk:
            await sdk.chat.completions.create(model="chat", messages=TURN)
            with pytest.raises(openai.PermissionDeniedError) as forbidden:
                await sdk.chat.completions.create(model="other", messages=TURN)
            with pytest.raises(openai.RateLimitError) as limited:
                await gather(*(sdk.chat.completions.create(model="chat", messages=TURN) for _ in range(5)))
            listed = [model.id async for model in sdk.models.list()]
        async with openai.AsyncOpenAI(base_url=process.base_url, api_key="sk-else", max_retries=0) as stranger:
            with pytest.raises(openai.AuthenticationError) as unknown:
                await stranger.chat.completions.create(model="chat", messages=TURN)

    assert listed == ["chat"]
    assert (forbidden.value.code, unknown.value.code) == ("model_not_allowed", "invalid_api_key")
    assert limited.value.code == "rate_limit_exceeded"
    assert limited.value.response.headers["x-should-retry"] == "true"
    assert float(limited.value.response.headers["retry-after-ms"]) > 0
