"""WebSocket sessions through the sidecar: a real client and a real server of aiohttp's."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from dispatch.config import load, resolve
from dispatch.routing import Board, Sizes, Slots
from dispatch.server.worker import Worker

from tests.integration.sidecar import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DONE = {
    "type": "response.done",
    "response": {"usage": {"input_tokens": 10, "output_tokens": 5, "input_token_details": {"cached_tokens": 4}}},
}


class Provider:
    """Echoes what it hears, and says what it costs."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.closed: list[int | None] = []
        self.status = 101

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.status != 101:
            return web.json_response({"error": {"message": "no", "type": "invalid_request_error"}}, status=self.status)
        socket = web.WebSocketResponse(protocols=("realtime",), max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data)
                if "response.create" in message.data:
                    await socket.send_str(json.dumps(DONE))
            elif message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        self.closed.append(socket.close_code)
        return socket


@asynccontextmanager
async def hosted(folder: Path, *, dead: bool = False, **limits: Any) -> AsyncIterator[tuple[Provider, Worker, str]]:
    provider = Provider()
    app = web.Application()
    app.router.add_get("/v1/realtime", provider.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    alive: dict[str, Any] = {
        "name": "e",
        "provider": "openai",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "model": "gpt-rt",
        "api_key": "env:THEIRS",
    }
    # Nobody listens on port 1.
    endpoints = [alive | {"limits": limits}, *([alive | {"name": "d", "base_url": "http://127.0.0.1:1/v1"}] if dead else [])]
    config = {
        "endpoints": endpoints,
        "models": {"m": {"strategy": "round_robin", "endpoints": [one["name"] for one in endpoints]}},
        "server": {"max_body_bytes": 1_000_000},
    }
    path = folder / "dispatch.json"
    path.write_text(json.dumps(config))
    environ = {"THEIRS": "sk-theirs"}
    read = load(path, environ)
    sizes = Sizes.of(read)
    worker = Worker(0, Board.heap(sizes))
    worker.apply(read, resolve(read, environ), Slots.of(read, sizes))
    worker.dispatcher.start()
    worker.front.start()
    server = await asyncio.get_running_loop().create_server(worker.accepted, "127.0.0.1", 0)
    try:
        yield provider, worker, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"
    finally:
        server.close()
        worker.dispatcher.close()
        await runner.cleanup()


async def settled(worker: Worker) -> str:
    """Wait until nothing is under way; what is counted then."""
    await until(lambda: not worker.dispatcher.under_way and not worker.front.connections, "the session is settled")
    return worker.front.scrape().decode()


async def test_what_both_sides_say_is_passed_on_and_what_it_cost_is_counted(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (provider, worker, url), aiohttp.ClientSession() as session:
        async with session.ws_connect(
            f"{url}?model=m&intent=x&key=sk-mine", protocols=("realtime", "openai-insecure-api-key.sk-x")
        ) as socket:
            assert socket.protocol == "realtime"
            assert worker.dispatcher.under_way == 1
            name = socket._response.headers["x-dispatch-decision"]
            for size in (0, 1, 125, 126, 65_535, 65_536, 500_000):
                await socket.send_bytes(b"x" * size)
                assert len((await socket.receive(5)).data) == size
            await socket.send_str('{"type":"response.create"}')
            assert json.loads((await socket.receive(5)).data) == {"type": "response.create"}
            assert json.loads((await socket.receive(5)).data) == DONE
        text = await settled(worker)
        found = worker.dispatcher.decisions.find(name)
        assert found is not None
        assert [(one.endpoint, one.tokens_in, one.tokens_out, one.tokens_cached) for one in found.tries] == [("e", 10, 5, 4)]
        assert (found.steps[0].by, found.outcome) == ("round_robin", "ok")

    asked = provider.requests[0]
    assert asked.query_string == "model=gpt-rt&intent=x"
    assert asked.headers["authorization"] == "Bearer sk-theirs"
    assert asked.headers["sec-websocket-protocol"] == "realtime"
    assert "sec-websocket-extensions" not in asked.headers
    assert 'dispatch_tokens_total{endpoint="e",kind="input"} 10' in text
    assert 'dispatch_tokens_total{endpoint="e",kind="output"} 5' in text
    assert 'dispatch_in_flight{endpoint="e"} 0' in text


async def test_a_place_is_held_as_long_as_the_session_lasts(tmp_path: Path) -> None:
    async with hosted(tmp_path, concurrency=1) as (_, worker, url), aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{url}?model=m"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{url}?model=m")
        await settled(worker)
        async with session.ws_connect(f"{url}?model=m") as socket:
            await socket.send_str("x")
            assert (await socket.receive(5)).data == "x"

    # When a place will be free again, nobody knows.
    assert refused.value.status == 503


async def test_another_endpoint_is_asked_when_one_is_dead(tmp_path: Path) -> None:
    async with hosted(tmp_path, dead=True) as (provider, _, url), aiohttp.ClientSession() as session:
        for _ in range(4):
            async with session.ws_connect(f"{url}?model=m") as socket:
                await socket.send_str("x")
                assert (await socket.receive(5)).data == "x"

    assert len(provider.requests) == 4


@pytest.mark.parametrize(("status", "told"), [(400, {400, 502}), (401, {502}), (500, {502})])
async def test_a_refused_handshake_is_told(status: int, told: set[int], tmp_path: Path) -> None:
    async with hosted(tmp_path) as (provider, worker, url), aiohttp.ClientSession() as session:
        provider.status = status
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{url}?model=m")
        session.cookie_jar.clear()
        assert worker.dispatcher.under_way == 0

    assert refused.value.status in told


async def test_a_client_that_leaves_ends_the_session_at_the_provider(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (provider, worker, url):
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(f"{url}?model=m")
            await socket.send_str("x")
            assert socket._response.connection is not None
            assert socket._response.connection.transport is not None
            socket._response.connection.transport.abort()
            await until(lambda: provider.closed, "the provider hears of it")
        await settled(worker)


async def test_a_frame_that_is_too_long_ends_the_session(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (provider, worker, url), aiohttp.ClientSession() as session:
        socket = await session.ws_connect(f"{url}?model=m")
        await socket.send_bytes(b"x" * 1_000_001)
        assert (await socket.receive(5)).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR}
        await until(lambda: provider.closed, "the provider hears of it")
        await settled(worker)


async def test_a_side_that_takes_nothing_is_waited_for(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (_, worker, url), aiohttp.ClientSession() as session:
        socket = await session.ws_connect(f"{url}?model=m", max_msg_size=0)
        transport: Any = socket._response.connection.transport  # type: ignore[union-attr]
        transport.pause_reading()
        piece = b"x" * 500_000
        sending = asyncio.create_task(send(socket, piece, 60))
        [held] = worker.front.sessions
        await until(lambda: held._down.transport.get_write_buffer_size() > 0, "the client's side is full")
        transport.resume_reading()
        for _ in range(60):
            assert len((await socket.receive(10)).data) == len(piece)
        await sending
        await socket.close()
        await settled(worker)


async def send(socket: aiohttp.ClientWebSocketResponse, piece: bytes, count: int) -> None:
    for _ in range(count):
        await socket.send_bytes(piece)


async def test_a_worker_that_stops_says_goodbye(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (provider, worker, url), aiohttp.ClientSession() as session:
        socket = await session.ws_connect(f"{url}?model=m")
        await socket.send_str("x")
        await socket.receive(5)
        worker.dispatcher.draining = True
        worker.front.end_after_answers()
        message = await socket.receive(5)
        assert message.type is aiohttp.WSMsgType.CLOSE or socket.close_code == 1001
        await until(lambda: provider.closed, "the provider hears of it")
        await settled(worker)


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 400),
        ("?model=nobody", {}, 404),
        ("?model=m", {"sec-websocket-version": "12"}, 400),
        ("?model=m", {"sec-websocket-key": "short"}, 400),
        ("?model=m", {"upgrade": "h2c"}, 426),
        ("?model=m", {"origin": "https://evil.example"}, 403),
    ],
)
async def test_a_handshake_that_is_none_is_refused(query: str, headers: dict[str, str], status: int, tmp_path: Path) -> None:
    usual = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with hosted(tmp_path) as (provider, _, url), aiohttp.ClientSession() as session:
        async with session.get(url + query, headers=usual | headers) as answer:
            assert answer.status == status

        assert not provider.requests
