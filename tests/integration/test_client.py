"""The library in process, on both loops, against simulated providers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from dispatch import Client, Request, errors
from dispatch.client.local import HIGH_WATER_BYTES
from dispatch.testing import MockProvider

from tests.integration.clients import config_of, document
from tests.integration.sidecar import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
async def mock() -> AsyncIterator[MockProvider]:
    async with MockProvider(reply="one two three") as provider:
        yield provider


@pytest.fixture
async def client(mock: MockProvider, tmp_path: Path) -> AsyncIterator[Client]:
    async with Client(config_of(tmp_path, document(mock))) as opened:
        yield opened


def outcomes(mock: MockProvider) -> list[str]:
    return [entry.outcome for entry in mock.journal]


async def test_a_question_gets_its_answer(client: Client, mock: MockProvider) -> None:
    reply = await client.chat("chat", "Say hi", temperature=0.5)

    assert reply.text == "one two three"
    assert (reply.endpoint, reply.attempts, reply.finish_reason) == ("east", 1, "stop")
    assert reply.usage.output_tokens == 3
    assert outcomes(mock) == ["ok"]
    (entry,) = mock.journal
    assert entry.model == "gpt-x"
    assert entry.headers["content-type"] == "application/json"
    assert b'"temperature":0.5' in entry.body


async def test_a_whole_request_is_taken_as_well(client: Client) -> None:
    request = Request(model="chat", messages=({"role": "user", "content": "Say hi"},), max_tokens=2)

    assert (await client.chat(request)).text == "one two"
    assert "".join([delta.text async for delta in client.stream(request)]) == "one two"


async def test_the_path_of_a_file_is_a_source(mock: MockProvider, tmp_path: Path) -> None:
    config_of(tmp_path, document(mock))

    async with Client(str(tmp_path / "dispatch.json")) as client:
        assert (await client.chat("chat", "Say hi")).text == "one two three"


async def test_a_stream_says_the_same_in_pieces(client: Client, mock: MockProvider) -> None:
    deltas = [delta async for delta in client.stream("chat", "Say hi")]

    assert "".join(delta.text for delta in deltas) == "one two three"
    assert len([delta for delta in deltas if delta.text]) == 3
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    (usage,) = [delta.usage for delta in deltas if delta.usage]
    assert usage.output_tokens == 3
    assert outcomes(mock) == ["ok"]


async def test_leaving_a_stream_early_cancels_it_upstream(client: Client, mock: MockProvider) -> None:
    mock.configure(output_tokens=1000, tokens_per_s=50)

    async for delta in client.stream("chat", "Tell me a story"):
        if delta.text:
            break

    await mock.until_over(1)
    (entry,) = mock.journal
    assert entry.outcome == "left"
    assert entry.tokens_out < 100


async def test_aclosing_cancels_before_the_block_ends(client: Client, mock: MockProvider) -> None:
    mock.configure(output_tokens=1000, tokens_per_s=50)

    async with aclosing(client.stream("chat", "Tell me a story")) as deltas:
        await anext(deltas)

    await mock.until_over(1)
    assert outcomes(mock) == ["left"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelling_the_task_that_waits_cancels_upstream(client: Client, mock: MockProvider, streamed: bool) -> None:
    mock.configure(first_token_s=30)

    async def ask() -> None:
        if streamed:
            async for _ in client.stream("chat", "Say hi"):
                pass
        else:
            await client.chat("chat", "Say hi")

    task = asyncio.create_task(ask())
    await mock.until(lambda journal: len(journal) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await mock.until_over(1)
    assert outcomes(mock) == ["left"]


async def test_a_task_that_is_cancelled_with_its_answer_at_hand_cancels_nothing(client: Client, mock: MockProvider) -> None:
    task = asyncio.create_task(client.chat("chat", "Say hi"))
    await mock.until_over(1)
    while not task.cancelling() and not task.done():
        await asyncio.sleep(0)
        task.cancel()

    await asyncio.wait([task])
    assert (await client.chat("chat", "Say hi")).attempts == 1


async def test_a_deadline_ends_in_its_own_error(client: Client, mock: MockProvider) -> None:
    mock.configure(first_token_s=30)

    with pytest.raises(errors.DeadlineExceeded):
        await client.chat("chat", "Say hi", deadline_s=0.1)
    with pytest.raises(errors.DeadlineExceeded):
        [delta async for delta in client.stream("chat", "Say hi", deadline_s=0.1)]

    await mock.until_over(2)
    assert outcomes(mock) == ["left", "left"]


@pytest.mark.parametrize("deadline_s", [0, -1, float("nan")])
async def test_a_deadline_without_time_is_refused(client: Client, mock: MockProvider, deadline_s: float) -> None:
    with pytest.raises(errors.BadRequest, match="deadline_s"):
        await client.chat("chat", "Say hi", deadline_s=deadline_s)

    assert not list(mock.journal)


async def test_a_failure_is_retried_where_it_may_help(mock: MockProvider, tmp_path: Path) -> None:
    async with MockProvider(script=[500] * 9) as broken, Client(config_of(tmp_path, document(broken, mock))) as client:
        replies = [await client.chat("chat", "Say hi") for _ in range(4)]

        assert {reply.endpoint for reply in replies} == {"west"}
        assert sum(reply.attempts for reply in replies) == 4 + len(broken.journal)


async def test_a_provider_that_refuses_the_request_is_not_asked_again(client: Client, mock: MockProvider) -> None:
    mock.configure(script=[400])

    with pytest.raises(errors.UpstreamError) as caught:
        await client.chat("chat", "Say hi")

    assert caught.value.failure is errors.Failure.BAD_REQUEST
    assert (caught.value.endpoint, caught.value.upstream_status) == ("east", 400)
    assert len(mock.journal) == 1


@pytest.mark.parametrize("fault", ["cut_fin", "cut_rst", "end_early", "no_finish_reason"])
async def test_a_stream_that_breaks_is_never_taken_for_whole(client: Client, mock: MockProvider, fault: str) -> None:
    mock.configure(output_tokens=20, faults={fault: 1.0})
    deltas = client.stream("chat", "Tell me a story")

    assert (await anext(deltas)).text
    with pytest.raises(errors.UpstreamError) as caught:
        [delta async for delta in deltas]
    assert caught.value.failure is errors.Failure.BROKEN


async def test_an_unknown_model_is_told(client: Client) -> None:
    with pytest.raises(errors.ModelNotFound):
        await client.chat("nobody", "Say hi")
    with pytest.raises(errors.ModelNotFound):
        await anext(client.stream("nobody", "Say hi"))


async def test_a_stream_is_asked_for_by_its_own_method(client: Client, mock: MockProvider) -> None:
    with pytest.raises(errors.BadRequest, match=r"Client\.stream"):
        await client.chat("chat", "Say hi", stream=True)
    with pytest.raises(errors.BadRequest, match=r"Client\.stream"):
        await client.request("chat", {"model": "chat", "messages": [], "stream": True})
    assert not list(mock.journal)


async def test_texts_become_vectors_in_their_order(client: Client, mock: MockProvider) -> None:
    mock.configure(dimensions=8)

    one = await client.embed("chat", "north")
    both = await client.embed("chat", ["south", "north"])

    assert [len(vector) for vector in both] == [8, 8]
    assert both[1] == one[0] != both[0]


async def test_a_body_goes_through_any_door_as_it_is(client: Client) -> None:
    answer = await client.request("completions", {"model": "chat", "prompt": "Say hi"})

    assert answer["choices"][0]["text"]
    with pytest.raises(errors.BadRequest, match="no door"):
        await client.request("images", {"model": "chat"})


async def test_models_are_those_that_can_be_asked_for(client: Client) -> None:
    assert await client.models() == ["chat"]


async def test_a_key_holds_in_process_too(mock: MockProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", "sk-team-0123456789")
    plain = document(mock)
    plain["models"]["other"] = "east"
    plain["keys"] = [{"name": "team", "key": "env:TEAM_KEY", "models": ["chat"], "limits": {"requests_per_min": 60, "burst_s": 1}}]
    config = config_of(tmp_path, plain)

    async with Client(config, key="team") as client:
        assert await client.models() == ["chat"]
        with pytest.raises(errors.ModelNotAllowed):
            await client.chat("other", "Say hi")
        with pytest.raises(errors.Overloaded) as caught:
            await asyncio.gather(*(client.chat("chat", "Say hi") for _ in range(100)))
        assert caught.value.retry_after_s
    with pytest.raises(errors.ConfigError, match="nobody"):
        async with Client(config, key="nobody"):
            pass


async def test_the_clients_own_credential_reaches_who_wants_it(mock: MockProvider, tmp_path: Path) -> None:
    config = config_of(tmp_path, document(mock, endpoint={"api_key": "from_client"}))

    async with Client(config, api_key="sk-mine-0123456789") as client:
        await client.chat("chat", "Say hi")

    assert [entry.key for entry in mock.journal] == ["sk-mine-0123456789"]


async def test_many_at_once_are_all_answered(client: Client, mock: MockProvider) -> None:
    mock.configure(echo=True, first_token_s="uniform:0,0.05")

    replies = await asyncio.gather(*(client.chat("chat", f"number {n}") for n in range(300)))
    streams = await asyncio.gather(*(collect(client, f"number {n}") for n in range(100)))

    assert [reply.text for reply in replies] == [f"number {n}" for n in range(300)]
    assert streams == [f"number {n}" for n in range(100)]
    assert len(mock.journal) == 400


async def collect(client: Client, question: str) -> str:
    return "".join([delta.text async for delta in client.stream("chat", question)])


async def test_a_reader_that_falls_behind_slows_the_upstream_down(client: Client, mock: MockProvider) -> None:
    mock.configure(output_tokens=30_000)
    engine = client._backend.engine  # type: ignore[attr-defined]  # white box: the bytes that wait, and nothing else, show it
    body = b'{"model":"chat","messages":[{"role":"user","content":"Tell me a long story"}],"stream":true}'

    stream = engine.stream("chat", engine.scan(body))
    await until(lambda: "paused" in repr(stream), "paused")
    most = int(repr(stream).split()[2])
    read = [await anext(stream)]
    read += [piece async for piece in stream]

    assert HIGH_WATER_BYTES < most < HIGH_WATER_BYTES + 512 * 1024
    assert sum(map(len, read)) > 2 * most
    assert read[-1].endswith(b"data: [DONE]\n\n")
    assert repr(stream) == "<Stream: over, 0 bytes to read>"


async def test_a_slow_reader_loses_nothing(client: Client, mock: MockProvider) -> None:
    mock.configure(output_tokens=10_000)
    count = 0

    async for delta in client.stream("chat", "Tell me a long story"):
        count += bool(delta.text)
        if count % 2_000 == 1:
            await asyncio.sleep(0.05)

    assert count == 10_000


@pytest.mark.parametrize("streamed", [False, True])
async def test_closing_ends_what_is_under_way_with_an_error_that_says_so(mock: MockProvider, tmp_path: Path, streamed: bool) -> None:
    mock.configure(first_token_s=30)
    async with Client(config_of(tmp_path, document(mock))) as client:
        task = asyncio.create_task(collect(client, "Say hi")) if streamed else asyncio.create_task(chat(client))
        await mock.until(lambda journal: len(journal) == 1)

    with pytest.raises(errors.Draining, match="closed"):
        await task
    await mock.until_over(1)
    assert outcomes(mock) == ["left"]
    assert mock.connections == 0


async def chat(client: Client) -> str:
    return (await client.chat("chat", "Say hi")).text


async def test_a_client_that_is_not_open_says_so(mock: MockProvider, tmp_path: Path) -> None:
    client = Client(config_of(tmp_path, document(mock)))

    with pytest.raises(RuntimeError, match="async with"):
        await client.chat("chat", "Say hi")
    async with client:
        assert await chat(client) == "one two three"
    with pytest.raises(RuntimeError, match="async with"):
        await client.chat("chat", "Say hi")
    async with client:
        assert await chat(client) == "one two three"


async def test_an_answer_that_does_not_stream_comes_in_one_piece(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{\n "choices": [\n {"index": 0, "message": {"content": "all of it"}, "finish_reason": "stop"}]}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    plain = {
        "endpoints": [{"name": "old", "provider": "openai_compatible", "model": "m", "base_url": f"http://127.0.0.1:{port}/v1"}],
        "models": {"chat": "old"},
    }
    async with Client(config_of(tmp_path, plain)) as client:
        deltas = [delta async for delta in client.stream("chat", "Say hi")]
    server.close()

    assert [(delta.text, delta.finish_reason) for delta in deltas] == [("all of it", "stop")]


async def test_with_nothing_configured_there_is_an_echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPATCH_CONFIG", raising=False)

    async with Client() as client:
        assert (await client.chat("echo", "Say hi")).text == "Say hi"
        assert await collect_from(client, "echo") == "Say hi"


async def collect_from(client: Client, model: str) -> str:
    return "".join([delta.text async for delta in client.stream(model, "Say hi")])


def test_the_face_loads_only_what_is_asked_for() -> None:
    program = """
import sys, dispatch
assert not {"asyncio", "msgspec", "dispatch.client", "dispatch.errors"} & set(sys.modules)
from dispatch import Client, Delta, Request, Response, errors
assert {Client.__module__, Delta.__module__, Request.__module__, Response.__module__} == {"dispatch"}
assert not {"aiohttp", "openai", "uvloop"} & set(sys.modules)
assert set(dispatch.__all__) <= set(dir(dispatch))
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_name_that_the_face_does_not_have_is_an_attribute_error() -> None:
    import dispatch

    with pytest.raises(AttributeError, match="nothing"):
        _ = dispatch.nothing
