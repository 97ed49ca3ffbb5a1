"""The readers beside llhttp (`httptools`): on well-formed messages they see the same; what llhttp refuses, they refuse."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

import httptools
import pytest
from dispatch.wire.http1 import COMPLETE, KEEP_ALIVE, ProtocolError, RequestReader, ResponseReader
from hypothesis import given
from hypothesis import strategies as st

token = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789!#$%&'*+-.^_`|~", min_size=1, max_size=12)
value = st.text("abc XYZ019!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~\t", max_size=20).map(str.strip)
FRAMING = {"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "proxy-connection", "content-type"}
fields = st.lists(st.tuples(token.filter(lambda name: name.lower() not in FRAMING), value), max_size=6)
path = st.text("abc/0.-_~%!$&'()*+,;=:@", max_size=20).map(lambda rest: "/" + rest)
query = st.none() | st.text("abc/0?=&%20", max_size=10)
body = st.binary(max_size=200)


@dataclass(slots=True)
class Seen:
    """What llhttp's callbacks saw of one message."""

    url: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    is_whole: bool = False
    keeps: bool = False
    status: int = 0


class Callbacks:
    """Collects messages; trailers are left out, as they should be."""

    def __init__(self) -> None:
        self.messages: list[Seen] = []
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser | None = None
        self.in_head = False

    def on_message_begin(self) -> None:
        self.messages.append(Seen())
        self.in_head = True

    def on_url(self, url: bytes) -> None:
        self.messages[-1].url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:
            self.messages[-1].fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.in_head = False
        assert self.parser is not None
        self.messages[-1].keeps = self.parser.should_keep_alive()
        if isinstance(self.parser, httptools.HttpResponseParser):
            self.messages[-1].status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].is_whole = True


@st.composite
def framed(draw: st.DrawFn) -> bytes:
    """The end of a head and a body after it, by length or in chunks with extensions and trailers."""
    payload = draw(body)
    if draw(st.booleans()):
        return b"Content-Length: %d\r\n\r\n%s" % (len(payload), payload)
    sizes = draw(st.lists(st.integers(1, 50), max_size=5))
    chunks = []
    for size in sizes:
        if payload:
            extension = draw(st.sampled_from([b"", b";a", b";a=b"]))
            chunks.append(b"%x%s\r\n%s\r\n" % (len(payload[:size]), extension, payload[:size]))
            payload = payload[size:]
    if payload:
        chunks.append(b"%X\r\n%s\r\n" % (len(payload), payload))
    trailer = draw(st.sampled_from([b"", b"Authorization: Bearer evil\r\n"]))
    return b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n" + trailer + b"\r\n"


@st.composite
def request_bytes(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]))
    target = draw(path) + (f"?{rest}" if (rest := draw(query)) is not None else "")
    lines = [f"{method} {target} HTTP/1.1", "Host: h", *(f"{name}: {value}" for name, value in draw(fields))]
    lines += draw(st.sampled_from([[], ["Connection: keep-alive"], ["Connection: x, keep-alive"]]))
    return "\r\n".join(lines).encode() + b"\r\n" + draw(framed())


@st.composite
def response_bytes(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from([200, 201, 400, 429, 500, 529]))
    lines = [f"HTTP/1.1 {status} Some Reason", *(f"{name}: {value}" for name, value in draw(fields))]
    lines += draw(st.sampled_from([[], ["Connection: close"], ["Connection: keep-alive"]]))
    return "\r\n".join(lines).encode() + b"\r\n" + draw(framed())


def by_llhttp(wire: bytes) -> list[Seen]:
    callbacks = Callbacks()
    callbacks.parser = httptools.HttpRequestParser(callbacks)
    callbacks.parser.feed_data(wire)
    return callbacks.messages


def ours(wire: bytes, pieces: list[bytes]) -> list[tuple[bytes, bytes, dict[bytes, bytes], bytes, bool]]:
    assert b"".join(pieces) == wire
    reader = RequestReader(32 << 10, 128, 1 << 20, ())
    found = []
    for piece in pieces:
        request = reader.feed(piece)
        while request is not None and request.flags & COMPLETE:
            names = [name.lower() for message in by_llhttp(wire) for name, _ in message.fields]
            values = {name: value for name in names if (value := request.header(name)) is not None}
            found.append((request.line, request.query, values, request.body, bool(request.flags & KEEP_ALIVE)))
            request = reader.next()
    return found


def first_values(fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for name, value in fields:
        # llhttp keeps white space at the end of a value, which is no part of it (RFC 9110 5.5).
        values.setdefault(name.lower(), value.strip(b" \t"))
    return values


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    return [wire[start:end] for start, end in pairwise(at) if start < end]


@given(st.lists(request_bytes(), min_size=1, max_size=3), st.lists(st.integers(0, 10**4), max_size=4))
def test_pipelined_requests_are_seen_as_llhttp_sees_them(messages: list[bytes], places: list[int]) -> None:
    wire = b"".join(messages)

    expected = by_llhttp(wire)
    found = ours(wire, cut(wire, places))

    assert len(found) == len(expected) == len(messages)
    for (line, query, values, body, keeps), seen in zip(found, expected, strict=True):
        target = line.split(b" ", 1)[1] + (b"?" + query if query or seen.url.endswith(b"?") else b"")
        assert target == seen.url
        assert values == {name: values[name] for name in values} == first_values(seen.fields)
        assert (body, keeps) == (seen.body, seen.keeps)


@given(response_bytes(), st.lists(st.integers(0, 10**4), max_size=4))
def test_answers_are_seen_as_llhttp_sees_them(wire: bytes, places: list[int]) -> None:
    callbacks = Callbacks()
    callbacks.parser = httptools.HttpResponseParser(callbacks)
    callbacks.parser.feed_data(wire)
    (seen,) = callbacks.messages

    reader = ResponseReader(32 << 10, 128, 1 << 20, ())
    reader.expect()
    answers = [answer for piece in cut(wire, places) if (answer := reader.feed(piece)) is not None]

    assert seen.is_whole
    (answer,) = answers
    assert (answer.status, answer.body) == (seen.status, seen.body)
    assert {name: answer.header(name) for name, _ in ((name.lower(), value) for name, value in seen.fields)} == first_values(seen.fields)
    assert reader.is_reusable == seen.keeps


@given(request_bytes(), st.integers(0, 10**4), st.integers(0, 255))
def test_what_llhttp_refuses_is_refused(wire: bytes, place: int, byte: int) -> None:
    """One byte of a good request is changed. We may be stricter; laxer only where it changes neither framing nor fields."""
    at = place % len(wire)
    changed = wire[:at] + bytes([byte]) + wire[at + 1 :]
    reader = RequestReader(32 << 10, 128, 1 << 20, ())
    try:
        request = reader.feed(changed)
    except ProtocolError:
        return
    if request is None or not request.flags & COMPLETE:
        return

    try:
        seen = by_llhttp(changed)
    except httptools.HttpParserError as error:
        # An unknown method is the server's to refuse (405); a chunk extension is ignored whatever it says.
        if re.search("method|chunk extension", str(error)):
            return
        raise
    assert seen[0].body == request.body


STRICTER = {
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "chunks on HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding before the chunks": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a fragment": b"GET /#a HTTP/1.1\r\nHost: h\r\n\r\n",
    "another host in the target": b"GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "129 fields": b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 128 + b"\r\n",
    "a head of 32 KiB and more": b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * (32 << 10),
}


@pytest.mark.parametrize("wire", STRICTER.values(), ids=STRICTER)
def test_where_we_are_stricter(wire: bytes) -> None:
    by_llhttp(wire)

    with pytest.raises(ProtocolError):
        RequestReader(32 << 10, 128, 1 << 20, ()).feed(wire)
