"""Recorded exchanges of OpenAI's dialect, and an upstream that plays one of them at given cuts.

`DISPATCH_WIRE_DIR` names a folder of recordings with an `index.jsonl`; without it, the project's own are read, which are few:
`tests/fixtures/wire` was recorded from llama.cpp's server, and written by hand where `provenance` says `fixture`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    import random

__all__ = [
    "DOORS",
    "Answer",
    "Player",
    "Recording",
    "ask",
    "cut_everywhere",
    "cut_inside",
    "cut_randomly",
    "events",
    "frame",
    "head_and_body",
    "recordings",
]

OWN = Path(__file__).parents[1] / "fixtures" / "wire"
DOORS = {
    "chat.completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "responses": "/v1/responses",
}


class Recording(NamedTuple):
    """One exchange."""

    name: str
    path: str
    """Where a client of the sidecar sends it."""
    request: dict[str, Any]
    status: int
    content_type: str
    headers: dict[str, str]
    body: bytes
    stream: bool
    core: bool

    def __repr__(self) -> str:
        return self.name


@cache
def recordings() -> tuple[Recording, ...]:
    """All of them, in the index's order."""
    folder = Path(os.environ.get("DISPATCH_WIRE_DIR") or OWN)
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    # Writer has an API of its own under OpenAI's names.
    wanted = [row for row in rows if row["endpoint"] in DOORS and row["provider"] != "writer"]
    read = (_read(row, json.loads((folder / row["file"]).read_text())) for row in wanted)
    return tuple(one for one in read if one is not None)


def _read(row: dict[str, Any], found: dict[str, Any]) -> Recording | None:
    answer = found["response"]
    stream = row["stream"] and row["status"] == 200
    body = answer["body"]
    if answer["body_form"] == "sse_data_lines":
        body = _from_lines(body)
        if not body:
            return None
    # Some were recorded without a request, and one beside the request of another.
    request = dict((found["request"] or {}).get("json") or {"messages": [{"role": "user", "content": "h\u00e9 \U0001f600"}]})
    request["stream"] = bool(row["stream"])
    if not row["stream"]:
        del request["stream"]
        request.pop("stream_options", None)
    # The recorder of some streams kept no header, or those of another answer.
    kind = "text/event-stream; charset=utf-8" if stream else answer["content_type"] or "application/json"
    return Recording(
        row["file"].removesuffix(".json"),
        # One chat is listed with the responses.
        DOORS["chat.completions"] if "chat.completion.chunk" in body else DOORS[row["endpoint"]],
        request,
        row["status"],
        kind,
        answer["headers"] or {},
        body.encode(),
        stream,
        bool(row.get("core")),
    )


def _from_lines(lines: str) -> str:
    """The events of a stream that was stored as one object a line: one answer of it; nothing if it was not kept whole."""
    found = []
    for line in filter(None, lines.split("\n")):
        try:
            kind = json.loads(line).get("type")
        except ValueError:
            return ""
        found.append(f"data: {line}\n\n")
        if kind in {"response.completed", "response.incomplete", "response.failed"}:
            break
    return "".join(found)


def events(stream: bytes) -> list[tuple[str, str, object]]:
    """Name, id and JSON of each event, by the plainest reading of the standard; numbers as they are written."""
    found = []
    for block in re.split(r"\n\n+", stream.decode().replace("\r\n", "\n")):
        fields: dict[str, list[str]] = {"event": [], "id": [], "data": []}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        if fields["data"]:
            data = "\n".join(fields["data"])
            value = data if data == "[DONE]" else json.loads(data, parse_float=str)
            found.append(("".join(fields["event"]), "".join(fields["id"]), value))
    return found


def cut_randomly(data: bytes, chance: random.Random, pieces: int = 40) -> list[bytes]:
    """Cut at so many places, wherever."""
    places = sorted({0, len(data), *(chance.randrange(len(data)) for _ in range(pieces) if data)})
    return [data[start:end] for start, end in pairwise(places)]


def cut_everywhere(data: bytes) -> list[bytes]:
    """One byte at a time."""
    return [data[at : at + 1] for at in range(len(data))]


def cut_inside(data: bytes, most: int = 300) -> list[bytes]:
    r"""Cut inside characters, escapes, line ends and ends of events: between the two bytes of each pair that belongs together."""
    places = [
        match.start() + 1
        for match in re.finditer(rb"[\x80-\xff](?=[\x80-\xbf])|\\(?=[u\"\\n])|\\u[dD][89abAB]|\r(?=\n)|\n(?=\n)|:(?= )", data)
    ]
    kept = sorted({0, *places[:: len(places) // most + 1], len(data)})
    return [data[start:end] for start, end in pairwise(kept)]


def frame(recording: Recording, chance: random.Random, framing: str) -> bytes:
    """The answer as HTTP: `sized`, `chunked` at places that have nothing to do with events, or ended by the `close`."""
    fields = {
        name: value for name, value in recording.headers.items() if name not in {"content-type", "content-length", "transfer-encoding"}
    }
    lines = [f"HTTP/1.1 {recording.status} Whatever", f"Content-Type: {recording.content_type}"]
    lines += [f"{name.title()}: {value}" for name, value in fields.items()]
    body = recording.body
    if framing == "sized":
        lines.append(f"Content-Length: {len(body)}")
    elif framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut_randomly(body, chance, 12)) + b"0\r\n\r\n"
    else:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def head_and_body(body: bytes) -> bytes:
    """A plain answer of JSON."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Player:
    """A server that answers each request with what `play` was given, piece by piece: `async with Player() as player`.

    Attributes:
        received: heads (lowercased) and bodies of requests.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.received: list[tuple[bytes, bytes]] = []

    def play(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.received = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 26)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = re.search(rb"content-length: (\d+)", head)
                self.received.append((head, await reader.readexactly(int(length[1]) if length is not None else 0)))
                for piece in self._pieces:
                    if writer.is_closing():
                        return
                    writer.write(piece)
                    # The sidecar lives in this loop: it reads the piece before the next one is written.
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                if b"Connection: close" in b"".join(self._pieces[:400]):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Answer(NamedTuple):
    """What a client gets."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    """The message ended by its own rules."""


async def ask(port: int, path: str, body: dict[str, Any], *, key: str = "", minor: int = 1) -> Answer:
    """Send one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    raw = json.dumps(body, ensure_ascii=False).encode()
    fields = ["host: 127.0.0.1", "content-type: application/json", f"content-length: {len(raw)}"]
    if key:
        fields.append(f"authorization: Bearer {key}")
    writer.write("\r\n".join([f"POST {path} HTTP/1.{minor}", *fields, "", ""]).encode() + raw)
    try:
        line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in rest)}
        if "content-length" in headers:
            content, whole = await reader.readexactly(int(headers["content-length"])), True
        elif "transfer-encoding" in headers:
            content, whole = await _chunks(reader)
        else:
            content, whole = await _to_end(reader)
        return Answer(int(line.split()[1]), headers, content, whole)
    finally:
        writer.close()


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    parts = []
    try:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append(await reader.readexactly(size))
            assert await reader.readexactly(2) == b"\r\n"
        assert await reader.readexactly(2) == b"\r\n"
    except (asyncio.IncompleteReadError, ConnectionError):
        return b"".join(parts), False
    return b"".join(parts), True


async def _to_end(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    parts = []
    try:
        while part := await reader.read(1 << 16):
            parts.append(part)
    except ConnectionError:
        return b"".join(parts), False
    return b"".join(parts), True
