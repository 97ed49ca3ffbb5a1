"""Thousands of streams at once: an upstream that keeps them all going, and clients that lose none of their bytes.

Each stream is 20 events, one a second, so that all of them are open for many seconds while the load stays a few thousand events a
second: what is measured is what an open stream holds, not what an event costs.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

import uvloop

from benches.proxy import stream_upstream
from benches.proxy.load import PATH
from benches.proxy.rows import HEAD
from benches.proxy.stream_upstream import chunk

__all__ = ["EVENTS", "Crowd", "answer"]

EVENTS = 20
PERIOD_S = 1.0
CONNECTING = 100
"""Clients that connect at once: a queue of waiting connections is not what is measured."""


def answer() -> list[bytes]:
    """Build the events of one stream: what a client must receive, in order."""
    events = stream_upstream.answer()
    return [*events[: EVENTS - 2], *events[-2:]]


def chunks(*, with_usage: bool) -> list[bytes]:
    """Frame them as the upstream sends them."""
    *events, done = answer()
    last = [stream_upstream.USAGE + done] if with_usage else [done]
    return [*(chunk(event) for event in events), chunk(last[0]) + stream_upstream.LAST_CHUNK]


PLAIN, WITH_USAGE = chunks(with_usage=False), chunks(with_usage=True)


class Streaming(asyncio.Protocol):
    """One connection of the upstream."""

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Begin a stream when a request is whole."""
        self.received += data
        head, blank, body = self.received.partition(b"\r\n\r\n")
        if not blank or len(body) < stream_upstream.length_of(head):
            return
        self.received = b""
        self.transport.write(stream_upstream.HEAD)
        self.send(iter(WITH_USAGE if b'"include_usage":true' in body.replace(b" ", b"") else PLAIN))

    def send(self, events: Any) -> None:
        """Send the next event, and the one after it a second later."""
        event = next(events, None)
        if event is not None and not self.transport.is_closing():
            self.transport.write(event)
            asyncio.get_running_loop().call_later(PERIOD_S, self.send, events)


class Reader(asyncio.Protocol):
    """One client: sends its request, keeps what comes."""

    def __init__(self, request: bytes, ended: asyncio.Future[None]) -> None:
        self.request = request
        self.ended = ended
        self.begun = asyncio.Event()
        self.received = bytearray()

    def connection_made(self, transport: Any) -> None:
        """Send the request."""
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Keep what comes."""
        self.received += data
        if not self.begun.is_set() and b"word0" in self.received:
            self.begun.set()
        if self.received.endswith(stream_upstream.LAST_CHUNK):
            self.finish()

    def connection_lost(self, _error: Exception | None) -> None:
        """Nothing follows."""
        self.begun.set()
        self.finish()

    def finish(self) -> None:
        """Report the end, once."""
        if not self.ended.done():
            self.ended.set_result(None)

    @property
    def is_right(self) -> bool:
        """Whether status and body are exactly what was sent."""
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        body = bytearray()
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            body += rest[:length]
            rest = rest[length + 2 :]
        return head.startswith(b"HTTP/1.1 200 ") and bytes(body) == b"".join(answer())


class Crowd:
    """So many clients of `port`, each with one stream."""

    def __init__(self, port: int, body: bytes, count: int) -> None:
        fields = "".join(f"{name}: {value}\r\n" for name, value in HEAD.items())
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        self.port = port
        self.count = count
        self.request = head.encode() + body
        self.readers: list[Reader] = []

    async def open(self) -> None:
        """Connect all of them and wait until every stream has begun.

        Raises:
            TimeoutError: some did not begin before the first ones could end.
        """
        free = asyncio.Semaphore(CONNECTING)
        await asyncio.gather(*(self.connect(free) for _ in range(self.count)))
        async with asyncio.timeout(EVENTS * PERIOD_S - 5):
            await asyncio.gather(*(reader.begun.wait() for reader in self.readers))

    async def connect(self, free: asyncio.Semaphore) -> None:
        """Connect one."""
        loop = asyncio.get_running_loop()
        async with free:
            ended: asyncio.Future[None] = loop.create_future()
            _, reader = await loop.create_connection(lambda: Reader(self.request, ended), "127.0.0.1", self.port)
            self.readers.append(reader)

    @property
    def open_now(self) -> int:
        """Streams that have begun and not ended."""
        return sum(reader.begun.is_set() and not reader.ended.done() for reader in self.readers)

    async def finish(self) -> int:
        """Wait for the end of all and count those that lost or gained a byte."""
        async with asyncio.timeout(EVENTS * PERIOD_S * 3):
            await asyncio.gather(*(reader.ended for reader in self.readers))
        wrong = sum(not reader.is_right for reader in self.readers)
        for reader in self.readers:
            reader.transport.abort()
        return wrong


async def serve(port: int) -> None:
    """Be the upstream."""
    server = await asyncio.get_running_loop().create_server(Streaming, "127.0.0.1", port, backlog=8192)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    sys.exit(uvloop.run(serve(parser.parse_args().port)))
