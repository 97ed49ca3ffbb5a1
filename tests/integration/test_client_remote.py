"""The library against a sidecar in processes of its own: the same calls, the same errors."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from dispatch import Client, errors
from dispatch.testing import MockProvider

from tests.integration.clients import document
from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

SECRETS = {"TEAM_KEY": "sk-team-0123456789"}


@pytest.fixture
async def mock() -> AsyncIterator[MockProvider]:
    async with MockProvider(reply="one two three", dimensions=4) as provider:
        yield provider


@pytest.fixture
async def sidecar(mock: MockProvider, tmp_path: Path) -> AsyncIterator[Sidecar]:
    plain = document(mock)
    plain["models"]["other"] = "east"
    plain["keys"] = [{"name": "team", "key": "env:TEAM_KEY", "models": ["chat"]}]
    async with Sidecar(tmp_path, plain, "--workers", "1", environ=SECRETS) as started:
        yield started


@pytest.fixture
async def client(sidecar: Sidecar) -> AsyncIterator[Client]:
    async with Client(f"http://127.0.0.1:{sidecar.port}", api_key=SECRETS["TEAM_KEY"]) as opened:
        yield opened


async def test_it_answers_streams_embeds_and_lists(client: Client) -> None:
    reply = await client.chat("chat", "Say hi")
    deltas = [delta async for delta in client.stream("chat", "Say hi")]
    vectors = await client.embed("chat", ["a", "b"])
    answer = await client.request("completions", {"model": "chat", "prompt": "Say hi"})

    assert (reply.text, reply.endpoint, reply.attempts) == ("one two three", "east", 1)
    assert "".join(delta.text for delta in deltas) == "one two three"
    assert [delta.usage.output_tokens for delta in deltas if delta.usage] == [3]
    assert [len(vector) for vector in vectors] == [4, 4]
    assert answer["choices"]
    assert await client.models() == ["chat"]


async def test_leaving_a_stream_early_cancels_it_at_the_provider(client: Client, mock: MockProvider) -> None:
    mock.configure(output_tokens=1000, tokens_per_s=50)

    async with aclosing(client.stream("chat", "Tell me a story")) as deltas:
        await anext(deltas)

    await mock.until_over(1)
    assert [entry.outcome for entry in mock.journal] == ["left"]


async def test_cancelling_the_task_that_waits_cancels_at_the_provider(client: Client, mock: MockProvider) -> None:
    mock.configure(first_token_s=30)
    task = asyncio.create_task(client.chat("chat", "Say hi"))
    await mock.until(lambda journal: len(journal) == 1)

    task.cancel()

    await mock.until_over(1)
    assert [entry.outcome for entry in mock.journal] == ["left"]
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_errors_are_those_of_the_engine_in_process(client: Client, sidecar: Sidecar, mock: MockProvider) -> None:
    with pytest.raises(errors.ModelNotFound):
        await client.chat("nobody", "Say hi")
    with pytest.raises(errors.ModelNotAllowed):
        await client.chat("other", "Say hi")
    with pytest.raises(errors.BadRequest) as bad:
        await client.request("chat", {"messages": []})
    async with Client(sidecar.base_url, api_key="sk-wrong") as stranger:
        with pytest.raises(errors.InvalidKey):
            await stranger.chat("chat", "Say hi")

    assert (bad.value.status, bad.value.code) == (400, "missing_parameter")
    assert not list(mock.journal)


@pytest.mark.parametrize(
    ("script", "failure", "status"),
    [([400], errors.Failure.BAD_REQUEST, 400), ([429] * 3, errors.Failure.RATE_LIMITED, 429), ([500] * 3, errors.Failure.SERVER, 500)],
)
async def test_the_providers_own_error_keeps_its_status(
    client: Client, mock: MockProvider, script: list[int], failure: errors.Failure, status: int
) -> None:
    mock.configure(script=script)

    with pytest.raises(errors.UpstreamError) as caught:
        await client.chat("chat", "Say hi")

    assert (caught.value.failure, caught.value.upstream_status, caught.value.endpoint) == (failure, status, "east")
    assert caught.value.message


async def test_a_deadline_ends_in_its_own_error(client: Client, mock: MockProvider) -> None:
    mock.configure(first_token_s=30)

    with pytest.raises(errors.DeadlineExceeded):
        await client.chat("chat", "Say hi", deadline_s=0.2)
    with pytest.raises(errors.DeadlineExceeded):
        await anext(client.stream("chat", "Say hi", deadline_s=0.2))
    with pytest.raises(errors.BadRequest):
        await client.chat("chat", "Say hi", deadline_s=0)


@pytest.mark.parametrize("fault", ["cut_fin", "cut_rst", "error_event", "no_finish_reason"])
async def test_a_stream_that_breaks_is_never_taken_for_whole(client: Client, mock: MockProvider, fault: str) -> None:
    mock.configure(output_tokens=20, faults={fault: 1.0})
    deltas = client.stream("chat", "Tell me a story")

    assert (await anext(deltas)).text
    with pytest.raises(errors.UpstreamError):
        [delta async for delta in deltas]


async def test_a_sidecar_that_dies_is_an_error_of_its_own(client: Client, sidecar: Sidecar, mock: MockProvider) -> None:
    mock.configure(first_token_s=30)
    task = asyncio.create_task(client.chat("chat", "Say hi"))
    await mock.until(lambda journal: len(journal) == 1)

    await sidecar.__aexit__()

    with pytest.raises(errors.UpstreamError) as lost:
        await task
    with pytest.raises(errors.UpstreamError) as unreachable:
        await client.chat("chat", "Say hi")
    assert lost.value.failure is errors.Failure.UNKNOWN_EXECUTION
    assert unreachable.value.failure is errors.Failure.CONNECT


async def test_what_is_no_sidecar_is_told(mock: MockProvider) -> None:
    async with Client(mock.url) as client:
        mock.configure(faults={"html_page": 1.0})
        with pytest.raises(errors.DispatchError):
            await client.chat("chat", "Say hi")
    with pytest.raises(RuntimeError, match="async with"):
        await client.models()


async def test_many_at_once_are_all_answered(client: Client, mock: MockProvider) -> None:
    mock.configure(echo=True, first_token_s="uniform:0,0.05")

    replies = await asyncio.gather(*(client.chat("chat", f"number {n}") for n in range(200)))

    assert [reply.text for reply in replies] == [f"number {n}" for n in range(200)]


async def test_the_official_sdk_comes_ready_made(client: Client) -> None:
    sdk = client.openai()

    reply = await sdk.chat.completions.create(model="chat", messages=[{"role": "user", "content": "Say hi"}])

    assert reply.choices[0].message.content == "one two three"
    assert sdk.api_key == SECRETS["TEAM_KEY"]
