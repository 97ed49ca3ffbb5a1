"""Recorded streams, relayed at cuts of one byte: event for event what the provider sent.

`DISPATCH_WIRE_DIR` names a folder of recordings with an `index.jsonl`; without it, the project's own fixtures are used.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import pytest
from dispatch.wire import sse
from dispatch.wire.http1 import ResponseReader
from hypothesis import given
from hypothesis import strategies as st

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "streams"
DIALECTS = {
    "chat.completions": sse.CHAT,
    "completions": sse.CHAT,
    "responses": sse.RESPONSES,
    "messages": sse.ANTHROPIC,
    "chat.sse": sse.CHAT,
    "responses.sse": sse.RESPONSES,
    "anthropic.sse": sse.ANTHROPIC,
}


@cache
def recordings() -> dict[str, tuple[bytes, int]]:
    """Name, bytes and dialect of each stream."""
    folder = os.environ.get("DISPATCH_WIRE_DIR")
    if not folder:
        return {path.name: (path.read_bytes(), DIALECTS[path.name]) for path in sorted(FIXTURES.glob("*.sse"))}
    found = {}
    for line in (Path(folder) / "index.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if not entry.get("stream") or entry.get("status") != 200 or entry["endpoint"] not in DIALECTS:
            continue
        body = json.loads((Path(folder) / entry["file"]).read_text())["response"]["body"]
        # Some were stored as one JSON object a line, which no client ever sees.
        if isinstance(body, str) and "data:" in body and entry["provider"] != "writer":
            found[entry["file"]] = (body.encode(), DIALECTS[entry["endpoint"]])
    return found


def events(stream: bytes) -> list[bytes]:
    """The data of each event, by the plainest reading of the standard."""
    found = []
    for block in stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
        data = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data")]
        if data:
            found.append(b"\n".join(data))
    return found


def is_error(event: bytes) -> bool:
    return event != b"[DONE]" and bool(json.loads(event).get("error"))


def unchunked(wire: bytes) -> tuple[bytes, bool]:
    """The payload, and whether the last chunk is there."""
    payload = b""
    while wire:
        digits, wire = wire.split(b"\r\n", 1)
        size = int(digits, 16)
        if size == 0:
            assert wire == b"\r\n"
            return payload, True
        payload, wire = payload + wire[:size], wire[size + 2 :]
    return payload, False


def relay(stream: bytes, dialect: int, size: int, *, inject: bool = False) -> tuple[bytes, ResponseReader]:
    """What the client gets when the network cuts the upstream's one chunk every `size` bytes."""
    reader = ResponseReader(32 << 10, 128, 1 << 20, ())
    reader.expect()
    reader.feed(HEAD)
    reader.start_stream(inject, True, dialect)
    wire = b"%x\r\n%s\r\n0\r\n\r\n" % (len(stream), stream)
    written = b"".join(reader.forward(wire[at : at + size]) for at in range(0, len(wire), size))
    return written + reader.finish(), reader


@pytest.mark.parametrize("name", recordings())
def test_a_recorded_stream_arrives_event_for_event(name: str) -> None:
    stream, dialect = recordings()[name]
    sent = events(stream)
    errors = [place for place, event in enumerate(sent) if is_error(event)] if dialect == sse.CHAT else []

    written, reader = relay(stream, dialect, 1)

    payload, is_ended = unchunked(written)
    assert reader.dropped == 0
    if errors:
        assert events(payload) == sent[: errors[0]]
        assert reader.error_event == sent[errors[0]]
        assert not is_ended
    else:
        assert events(payload) == sent
        assert is_ended
        assert reader.state & sse.COMPLETE
        assert reader.state & sse.ENDED


@pytest.mark.parametrize("name", [name for name, (_, dialect) in recordings().items() if dialect == sse.CHAT])
def test_usage_that_we_asked_for_leaves_no_trace(name: str) -> None:
    stream, dialect = recordings()[name]
    expected = []
    for event in events(stream):
        members = {} if event == b"[DONE]" else json.loads(event)
        extras = [key for key, value in members.items() if isinstance(value, dict | list) and value and key != "usage"]
        if members.get("choices") == [] and members.get("usage") and not extras:
            continue
        if members.get("error"):
            break
        expected.append({key: value for key, value in members.items() if (key, value) != ("usage", None)})

    written, _ = relay(stream, dialect, 7, inject=True)

    payload, _ = unchunked(written)
    assert [{} if event == b"[DONE]" else json.loads(event) for event in events(payload)] == expected


@given(st.sampled_from(sorted(recordings())), st.integers(1, 200), st.booleans())
def test_where_the_network_cuts_a_recording_does_not_matter(name: str, size: int, inject: bool) -> None:
    stream, dialect = recordings()[name]
    whole, reader = relay(stream, dialect, len(stream) + 100, inject=inject)
    pieces, other = relay(stream, dialect, size, inject=inject)

    assert unchunked(pieces) == unchunked(whole)
    assert (other.state, other.usage, other.dropped) == (reader.state, reader.usage, reader.dropped)
