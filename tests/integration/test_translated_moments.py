"""A translated stream waits for nothing: what an upstream event becomes is with the client before the loop goes round again."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hosted import Hosted

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
START = {"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 1, "output_tokens": 1}}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """asyncio's loop says in which order it does what: its own round first, then what the sockets brought."""
    return "asyncio", {"use_uvloop": False}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.setblocking(False)
        yield found


def event(tree: dict[str, Any]) -> bytes:
    data = b"event: %b\ndata: %b\n\n" % (tree["type"].encode(), json.dumps(tree).encode())
    return b"%x\r\n%b\r\n" % (len(data), data)


def word(text: str) -> bytes:
    return event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})


def arrived(client: socket.socket) -> bytes:
    try:
        return client.recv(65_536)
    except BlockingIOError:
        return b""


async def one_round() -> None:
    """In the round that follows, the sidecar reads what lies in its socket, after this task has asked to be woken once more."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_the_bytes_of_an_event_leave_in_the_round_in_which_it_comes(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    end = {"name": "a", "provider": "anthropic", "base_url": f"http://127.0.0.1:{listener.getsockname()[1]}", "api_key": "env:UP_KEY"}
    config = {"endpoints": [{**end, "model": "c"}], "models": {"m": {"endpoints": ["a"]}}}
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    async with Hosted(config) as hosted:
        with socket.create_connection(("127.0.0.1", hosted.port)) as client:
            client.setblocking(False)
            client.send(head % len(body) + body)
            upstream, _ = await loop.sock_accept(listener)
            with upstream:
                upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                await loop.sock_recv(upstream, 65_536)
                upstream.send(HEAD + event(START) + event(BLOCK))
                await asyncio.sleep(0.05)
                assert arrived(client) == b"", "nothing is said yet"

                for text in ("one", "two", "three"):
                    upstream.send(word(text))
                    await one_round()
                    assert f'"content":"{text}"'.encode() in arrived(client)
                upstream.send(event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}))
                upstream.send(event({"type": "message_stop"}) + b"0\r\n\r\n")
                ended = b""
                async with asyncio.timeout(5):
                    while b"0\r\n\r\n" not in ended:
                        await asyncio.sleep(0.01)
                        ended += arrived(client)
                assert b"data: [DONE]" in ended
