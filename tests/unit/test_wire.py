"""The binding of the readers: objects, exceptions, names. What they read is tested in Rust and by the properties."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from dispatch.wire import http1, sse
from dispatch.wire.http1 import BodyError, ProtocolError, RequestReader, ResponseReader, Scan, affinity, read_answer

RUST = Path(__file__).parents[2] / "rust" / "src"


def requests(max_body_bytes: int = 1000) -> RequestReader:
    return RequestReader(32 << 10, 128, max_body_bytes, (b"accept", b"x-a*"))


def answers() -> ResponseReader:
    reader = ResponseReader(32 << 10, 128, 1000, (b"content-type",))
    reader.expect()
    return reader


def test_a_request_in_one_piece() -> None:
    body = b'{"model":"m"}'
    reader = requests()

    request = reader.feed(
        b"POST /v1/x?key=q HTTP/1.1\r\nHost: h\r\nACCEPT: a\r\nX-Ab: 1\r\nAuthorization: Bearer k\r\nContent-Length: 13\r\n\r\n" + body
    )

    assert request is not None
    assert request.is_complete
    assert request.flags & http1.COMPLETE
    assert (request.line, request.query, request.minor) == (b"POST /v1/x", b"key=q", 1)
    assert (request.body, request.content_length) == (body, 13)
    assert request.forward == b"accept: a\r\nx-ab: 1\r\n"
    assert request.header(b"host") == b"h"
    assert request.header(b"cookie") is None
    assert request.credential() == b"k"
    assert request.key_digest() == hashlib.sha256(b"k").digest()
    assert reader.pending == 0


def test_a_request_whose_body_comes_later_is_the_same_object() -> None:
    reader = requests()

    request = reader.feed(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{")

    assert request is not None
    assert request.flags & (http1.EXPECT_CONTINUE | http1.COMPLETE) == http1.EXPECT_CONTINUE
    assert (request.body, request.content_length) == (b"", -1)
    assert reader.feed(b"}\n") is None
    assert reader.pending == 3
    assert reader.feed(b"\r\n0\r\n\r\nGET") is request
    assert request.is_complete
    assert request.body == b"{}\n"
    assert reader.next() is None
    assert reader.pending == 3


def test_a_bad_request_says_what_to_answer() -> None:
    with pytest.raises(ProtocolError, match="Host is missing") as caught:
        requests().feed(b"GET / HTTP/1.1\r\n\r\n")

    assert (caught.value.status, caught.value.code) == (400, "invalid_request")
    assert caught.value.message == str(caught.value)


def test_a_composed_request_is_whole() -> None:
    request = requests().feed(b'POST / HTTP/1.1\r\nHost: h\r\nAccept: a\r\nContent-Length: 27\r\n\r\n{"stream":true,"model":"m"}')
    assert request is not None

    sent = request.scan().compose(b"POST /v1 HTTP/1.1\r\nhost: up\r\n", b'"new"', True)

    head, body = sent.split(b"\r\n\r\n")
    assert head == b"POST /v1 HTTP/1.1\r\nhost: up\r\naccept: a\r\ncontent-length: %d" % len(body)
    assert json.loads(body) == {"stream": True, "model": "new", "stream_options": {"include_usage": True}}


def test_a_bad_body_says_what_is_wrong() -> None:
    with pytest.raises(BodyError, match="given twice") as caught:
        Scan(b'{"model":"cheap","mod\\u0065l":"dear"}')

    assert (caught.value.code, caught.value.param) == ("duplicate_parameter", "model")
    with pytest.raises(BodyError, match="at byte 4") as caught:
        Scan(b'{"a"}')
    assert (caught.value.code, caught.value.param) == ("invalid_json", None)


def test_an_answer_in_one_piece() -> None:
    body = b'{"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    reader = answers()

    answer = reader.feed(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    assert answer is not None
    assert (answer.status, answer.flags) == (200, http1.COMPLETE | http1.JSON_OK | http1.GOOD | http1.REUSABLE)
    assert (answer.body, answer.usage) == (body, (3, 4, 0, 0))
    own = b"x: y\r\nx-dispatch-overhead-us: 12\r\ncontent-length: %d\r\n\r\n" % len(body)
    assert answer.compose(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 12) == b"HTTP/1.1 200 OK\r\n" + answer.head + own + body
    assert reader.is_reusable
    assert reader.keep_alive_s == -1
    assert read_answer(body) == (True, (3, 4, 0, 0))
    assert read_answer(body[1:]) == (False, None)


def test_a_stream_whose_first_bytes_came_with_its_head() -> None:
    reader = answers()
    event = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'

    answer = reader.feed(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + event)

    assert answer is not None
    assert answer.is_stream
    assert answer.body == b""
    reader.start_stream(False, True, sse.CHAT)
    assert reader.forward(b"") == b"%x\r\n%s\r\n" % (len(event), event)
    assert reader.forward(b"data: [DONE]\n\n") == b"e\r\ndata: [DONE]\n\n\r\n" + sse.LAST_CHUNK
    assert reader.state == sse.COMMITTED | sse.TERMINATED | sse.CLOSED
    assert reader.eof() is None
    assert reader.finish() == b""
    assert not reader.is_reusable


def test_a_chunk_that_needs_no_change_is_passed_on_as_it_is() -> None:
    reader = answers()
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    reader.start_stream(False, True, sse.CHAT)
    event = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    chunk = b"%x\r\n%s\r\n" % (len(event), event)

    assert reader.forward(chunk) is chunk


def test_an_unknown_dialect_and_too_many_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="dialect"):
        answers().start_stream(False, True, 99)
    with pytest.raises(ValueError, match="max_fields"):
        RequestReader(1, 257, 1, ())


def test_nothing_ties_nothing() -> None:
    assert affinity(b"") == 0
    assert affinity(b"a") == Scan(b'{"model":"m","user":"a"}').affinity


@pytest.mark.parametrize(
    ("path", "module"),
    [("http1/request.rs", http1), ("http1/response.rs", http1), ("json/scan.rs", http1), ("sse/stream.rs", sse)],
)
def test_the_bits_have_the_same_numbers_on_both_sides(path: str, module: object) -> None:
    found = re.findall(r"pub const ([A-Z_0-9]+): u32 = 1(?: << (\d+))?;", (RUST / path).read_text())

    assert found
    for name, shift in found:
        assert getattr(module, name) == 1 << int(shift or 0), name
