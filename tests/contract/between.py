"""A wire to a server that a test can cut: it remembers what went up and ends an answer after so many events."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Self

__all__ = ["Between"]


class Between:
    """`async with Between(port, cut_after=5) as wire:` listens at `wire.port`.

    Args:
        port: where the server listens, on 127.0.0.1.
        cut_after: events of a stream that pass before both sides are closed; None: all.
    """

    def __init__(self, port: int, *, cut_after: int | None = None) -> None:
        self.cut_after = cut_after
        self.asked: list[dict[str, Any]] = []
        """The bodies of requests."""
        self.port = 0
        self._up = port
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._up)
        down = asyncio.create_task(self._down(server, writer))
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                    body = await reader.readexactly(length)
                    if body:
                        self.asked.append(json.loads(body))
                    to_server.write(head + body)
        finally:
            down.cancel()
            for side in (writer, to_server):
                side.close()

    async def _down(self, server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        events = 0
        while data := await server.read(65_536):
            # Never more than one event too many: what comes together is cut inside.
            pieces = data.split(b"\n\n")
            for at, piece in enumerate(pieces):
                writer.write(piece + (b"\n\n" if at + 1 < len(pieces) else b""))
                events += b"data:" in piece
                if self.cut_after is not None and events > self.cut_after:
                    await writer.drain()
                    writer.close()
                    return
        writer.close()
