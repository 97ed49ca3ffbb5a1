"""A server that speaks as much of Redis's protocol (RESP2) as a cache of answers needs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

__all__ = ["RedisDouble"]


class RedisDouble:
    """`async with RedisDouble() as redis:`; `hangs`: takes commands and answers none.

    Attributes:
        data: what was set.
        reads: how often something was asked for.
        connections: how many were accepted.
    """

    def __init__(self, *, hangs: bool = False) -> None:
        self._hangs = hangs
        self.data: dict[bytes, bytes] = {}
        self.reads = 0
        self.connections = 0
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with suppress(EOFError, ConnectionError, asyncio.CancelledError):
            while True:
                count = int((await reader.readuntil(b"\r\n"))[1:-2])
                words = []
                for _ in range(count):
                    length = int((await reader.readuntil(b"\r\n"))[1:-2])
                    words.append((await reader.readexactly(length + 2))[:-2])
                reply = self._reply(words)
                if not self._hangs:
                    writer.write(reply)
                    await writer.drain()
        writer.close()

    def _reply(self, words: list[bytes]) -> bytes:
        match words[0].upper():
            case b"GET":
                self.reads += 1
                found = self.data.get(words[1])
                return b"$-1\r\n" if found is None else b"$%d\r\n%b\r\n" % (len(found), found)
            case b"SET":
                assert words[3].upper() == b"PX"
                assert int(words[4]) > 0
                self.data[words[1]] = words[2]
                return b"+OK\r\n"
            case _:
                return b"+OK\r\n"
