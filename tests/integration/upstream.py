"""A provider whose every connection plays a script: for what `MockProvider` does not do wrong."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Script = Callable[["Line"], Awaitable[None]]

__all__ = [
    "ANSWER",
    "BODY",
    "ERROR",
    "GOOD",
    "Line",
    "Stepwise",
    "Upstream",
    "answer",
    "chunk",
    "delta",
    "hang",
    "head",
    "once",
    "part",
    "stream_head",
]

DEADLINE_S = 30.0

ANSWER: dict[str, Any] = {
    "id": "c1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


class Line:
    """One connection, from the provider's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        self.reader = reader
        self.writer = writer
        self._upstream = upstream
        self.sent = 0

    async def request(self) -> bytes:
        """Read one request. Raises `EOFError` or `ConnectionError` when the client leaves first."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        request = head + await self.reader.readexactly(length)
        self._upstream.requests.append(request)
        self._upstream.tell()
        return request

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)

    async def gone(self) -> None:
        """Wait until the client has closed."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self._upstream.left += 1
        self._upstream.tell()

    def fin(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Upstream:
    """`async with Upstream(first, second) as upstream:`; the last script is played on every further connection.

    Attributes:
        requests: whole requests, in order of arrival.
        connections: how many were accepted.
        left: how often the client was seen to close, by `Line.gone`.
    """

    def __init__(self, *scripts: Script) -> None:
        self._scripts = scripts
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self.requests: list[bytes] = []
        self.connections = 0
        self.left = 0
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        failed = [result for result in await asyncio.gather(*self._tasks, return_exceptions=True) if isinstance(result, AssertionError)]
        assert not failed, failed

    @property
    def port(self) -> int:
        return self._server.sockets[0].getsockname()[1]  # type: ignore[no-any-return]  # an AF_INET socket

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def tell(self) -> None:
        """Wake those who wait for a change."""
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that the scripts did makes `condition()` true."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        self.tell()
        try:
            # Cancelled only by `__aexit__`; a cancelled handler would be logged as an error by asyncio's streams.
            with suppress(EOFError, ConnectionError, asyncio.CancelledError):
                await script(Line(reader, writer, self))
        finally:
            writer.close()


def head(status: int = 200, *fields: str, content_type: str = "application/json") -> bytes:
    """The head of an answer, without framing fields."""
    return "\r\n".join([f"HTTP/1.1 {status} Text", f"content-type: {content_type}", *fields, "", ""]).encode()


def answer(body: bytes | dict[str, Any] = ANSWER, status: int = 200, *fields: str, content_type: str = "application/json") -> bytes:
    """A whole answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(status, f"content-length: {len(data)}", *fields, content_type=content_type) + data


def once(data: bytes, *, then: str = "keep") -> Script:
    """Answer every request of a connection with `data`; `fin` or `rst` ends the connection after the first one."""

    async def script(line: Line) -> None:
        while True:
            await line.request()
            await line.send(data)
            if then == "fin":
                return
            if then == "rst":
                line.reset()
                return

    return script


def stream_head(*fields: str) -> bytes:
    """The head of a stream in chunks."""
    return head(200, "transfer-encoding: chunked", *fields, content_type="text/event-stream")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def delta(text: str | None, finish: str | None = None, **fields: Any) -> bytes:
    """One event with a piece of content, in a chunk of its own."""
    part = {"role": "assistant"} if text is None else {"content": text}
    choice = {"index": 0, "delta": part, "finish_reason": finish}
    return chunk(b"data: " + json.dumps({"id": "c1", "object": "chat.completion.chunk", "choices": [choice], **fields}).encode() + b"\n\n")


class Stepwise:
    """A provider that says the next thing when it is told to."""

    def __init__(self) -> None:
        self.steps: asyncio.Queue[bytes] = asyncio.Queue()

    def say(self, data: bytes) -> None:
        self.steps.put_nowait(data)

    async def __call__(self, line: Line) -> None:
        await line.request()
        gone = asyncio.create_task(line.gone())
        while not gone.done():
            step = asyncio.create_task(self.steps.get())
            await asyncio.wait([step, gone], return_when=asyncio.FIRST_COMPLETED)
            if step.done():
                await line.send(step.result())
            else:
                step.cancel()


async def hang(line: Line) -> None:
    """Take the request, say nothing."""
    await line.request()
    await line.gone()


def part(data: bytes) -> Script:
    """Say `data`, then nothing more."""

    async def script(line: Line) -> None:
        await line.request()
        await line.send(data)
        await line.gone()

    return script


BODY = json.dumps(ANSWER).encode()
GOOD = once(answer())
ERROR = {"error": {"message": "the server had an error", "type": "server_error", "param": None, "code": None}}
