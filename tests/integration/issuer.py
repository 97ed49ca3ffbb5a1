"""A server that issues credentials: answers by method and path, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Asked", "Issuer"]


class Asked(NamedTuple):
    """One request."""

    line: str
    fields: dict[str, str]
    form: dict[str, str]


class Issuer:
    """`async with Issuer({"POST /token": {...}}) as issuer:`; a value is an object, text, a pair of status and object, or a function of
    what was asked that gives one. Paths are compared by their beginning.

    Attributes:
        asked: all requests, in order.
        gate: cleared, answers wait for it.
    """

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers
        self.asked: list[Asked] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.gate.set()
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            asked = Asked(line, fields, dict(parse_qsl(body.decode())))
            self.asked.append(asked)
            await self.gate.wait()
            status, answer = self._found(asked)
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(data), data))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _found(self, asked: Asked) -> tuple[int, Any]:
        # The longest beginning that fits.
        known = max((key for key in self._answers if asked.line.startswith(key)), key=len, default="")
        answer: Any = self._answers.get(known, (404, {}))
        if callable(answer):
            function: Callable[[Asked], Any] = answer
            answer = function(asked)
        return answer if isinstance(answer, tuple) else (200, answer)
