"""OpenAI's own SDK and what goes wrong: classes of errors, broken streams, timeouts, retries, keys."""

from __future__ import annotations

from asyncio import gather
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.contract.sdk_hosts import KEY, STATUSES, TURN, anyio_backend, config, mock, sdk, sidecar, sync_sdk
from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from dispatch.testing import MockProvider

__all__ = ["anyio_backend", "config", "mock", "sdk", "sidecar", "sync_sdk"]


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
