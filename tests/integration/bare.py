"""A bare socket that asks the mock."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dispatch.testing import MockProvider

TERMINATOR = b"\r\n0\r\n\r\n"


def request_of(*, stream: bool = True, path: str = "/v1/chat/completions", version: str = "1.1", **fields: Any) -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": stream, **fields}).encode()
    return f"POST {path} HTTP/{version}\r\nhost: mock\r\nauthorization: Bearer k\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def read_until(reader: asyncio.StreamReader, enough: bytes) -> bytes:
    data, seen = bytearray(), 0
    while data.find(enough, max(0, seen - len(enough))) < 0:
        seen = len(data)
        part = await reader.read(65536)
        if not part:
            break
        data += part
    return bytes(data)


async def play(mock: MockProvider, request: bytes) -> tuple[bytes, str]:
    """Send one request and read to the end of the connection: `fin` or `rst`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
    writer.write(request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
    data = b""
    try:
        while part := await reader.read(65536):
            data += part
    except ConnectionResetError:
        return data, "rst"
    finally:
        writer.close()
    return data, "fin"


def events_of(data: bytes) -> list[bytes]:
    lines = data.partition(b"\r\n\r\n")[2].split(b"\n")
    return [line.removeprefix(b"data: ").rstrip() for line in lines if line.startswith(b"data: ")]
