"""What clients must not send: each gets a clear error object or a closed connection, and leaves nothing behind (`Hosted` looks)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hosted import Hosted
from tests.integration.peer import body_of, chat, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

ECHO: dict[str, Any] = {
    "server": {"max_body_bytes": 65536},
    "endpoints": [{"name": "echo", "provider": "echo"}],
    "models": {"m": "echo"},
}
HEALTHY = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
JSON_POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
CHUNKED = JSON_POST + b"transfer-encoding: chunked\r\n\r\n"


@pytest.fixture
async def hosted() -> AsyncIterator[Hosted]:
    async with Hosted(ECHO) as running:
        yield running


def raw(*fields: bytes, line: bytes = b"POST /v1/chat/completions HTTP/1.1", body: bytes = b"") -> bytes:
    return b"\r\n".join([line, *fields, b"", b""]) + body


HOST, TYPE = b"host: 127.0.0.1", b"content-type: application/json"
MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
MODEL_ESCAPED = rb'{"model":"m","mod\u0065l":"other",' + MESSAGES + b"}"

BODIES = {
    "empty": (b"", 400, "invalid_json"),
    "half": (b'{"model":"m","messages":[', 400, "invalid_json"),
    "trailing": (body_of() + b"x", 400, "invalid_json"),
    "two": (body_of() * 2, 400, "invalid_json"),
    "not an object": (b'["model"]', 400, "invalid_json"),
    "not UTF-8": (b'{"model":"m\xff",' + MESSAGES + b"}", 400, "invalid_json"),
    "lone surrogate": (rb'{"model":"\ud800",' + MESSAGES + b"}", None, None),
    "NaN": (b'{"model":"m","temperature":NaN,' + MESSAGES + b"}", 400, "invalid_json"),
    "too deep": (b'{"model":"m","x":' + b"[" * 200 + b"]" * 200 + b"}", 400, "invalid_json"),
    "BOM": (b"\xef\xbb\xbf" + body_of(), 400, "invalid_json"),
    "no model": (b"{" + MESSAGES + b"}", 400, "missing_parameter"),
    "model null": (b'{"model":null,' + MESSAGES + b"}", 400, None),
    "model a number": (b'{"model":7,' + MESSAGES + b"}", 400, None),
    "model empty": (b'{"model":"",' + MESSAGES + b"}", None, None),
    "model unknown": (body_of("nobody"), 404, "model_not_found"),
    "model with a line end": (body_of("m\r\nx: y"), 404, "model_not_found"),
    "stream a text": (body_of(stream="yes"), 400, None),
    "stream_options a text": (body_of(stream=True, stream_options="all"), 400, None),
    "model twice": (b'{"model":"m","model":"other",' + MESSAGES + b"}", 400, "duplicate_parameter"),
    "model twice, once escaped": (MODEL_ESCAPED, 400, "duplicate_parameter"),
    "stream twice": (b'{"model":"m","stream":true,"stream":false,' + MESSAGES + b"}", 400, "duplicate_parameter"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_wrong_body_is_told_and_the_connection_goes_on(hosted: Hosted, name: str) -> None:
    body, status, code = BODIES[name]
    peer = await hosted.peer()

    reply = await peer.ask(post(body))

    assert 400 <= reply.status < 500
    assert status is None or reply.status == status
    assert code is None or reply.error["code"] == code
    assert reply.error["code"]
    assert reply.headers["x-should-retry"] == "false"
    assert (await peer.ask(chat())).status == 200


@pytest.mark.parametrize("fields", [{"max_tokens": "many"}, {"max_tokens": -1}, {"n": [1]}, {"max_tokens": None}, {"temperature": {}}])
async def test_what_routing_does_not_need_is_the_providers_to_judge(hosted: Hosted, fields: dict[str, Any]) -> None:
    peer = await hosted.peer()

    assert (await peer.ask(chat(**fields))).status == 200


HEADS = {
    "no Host": (raw(TYPE, b"content-length: 0"), 400),
    "two Hosts": (raw(HOST, HOST, TYPE, b"content-length: 0"), 400),
    "both length headers": (raw(HOST, TYPE, b"content-length: 5", b"transfer-encoding: chunked", body=b"0\r\n\r\n"), 400),
    "two lengths": (raw(HOST, TYPE, b"content-length: 5", b"content-length: 5", body=b"12345"), 400),
    "a list of lengths": (raw(HOST, TYPE, b"content-length: 5, 5", body=b"12345"), 400),
    "signed length": (raw(HOST, TYPE, b"content-length: +5", body=b"12345"), 400),
    "hexadecimal length": (raw(HOST, TYPE, b"content-length: 0x5", body=b"12345"), 400),
    "gzip, chunked": (raw(HOST, TYPE, b"transfer-encoding: gzip, chunked", body=b"0\r\n\r\n"), 400),
    "chunked twice": (raw(HOST, TYPE, b"transfer-encoding: chunked", b"transfer-encoding: chunked", body=b"0\r\n\r\n"), 400),
    "identity": (raw(HOST, TYPE, b"transfer-encoding: identity", body=b"x"), 400),
    "chunked on 1.0": (raw(HOST, TYPE, b"transfer-encoding: chunked", line=b"POST /v1/chat/completions HTTP/1.0", body=b"0\r\n\r\n"), 400),
    "129 fields": (raw(HOST, *(b"x-%d: 1" % number for number in range(128))), 431),
    "40 KiB head": (raw(HOST, b"x: " + b"y" * 40_000), 431),
    "endless head": (b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 40_000, 431),
    "endless request line": (b"GET /" + b"y" * 40_000, 431),
    "bare LF": (b"GET /healthz HTTP/1.1\nhost: 127.0.0.1\n\n", 400),
    "bare LF in a field": (b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\nx: y\r\n\r\n", 400),
    "bare CR": (b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: a\rb\r\n\r\n", 400),
    "NUL in a field": (raw(HOST, b"x: a\0b"), 400),
    "space before the colon": (raw(HOST, TYPE, b"content-length : 0"), 400),
    "folded field": (raw(HOST, b"x: a", b" b"), 400),
    "no colon": (raw(HOST, b"nonsense"), 400),
    "another version": (b"GET /healthz HTTP/2.0\r\nhost: h\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
    "another host in the target": (raw(HOST, line=b"GET http://evil.example/healthz HTTP/1.1"), 400),
    "fragment": (raw(HOST, line=b"GET /healthz#x HTTP/1.1"), 400),
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_wrong_head_is_told_and_ends_the_connection(hosted: Hosted, name: str) -> None:
    request, status = HEADS[name]
    peer = await hosted.peer()

    reply = await peer.ask(request)
    assert await peer.to_end() == b""

    assert status is None or reply.status == status
    assert reply.headers["connection"] == "close"
    assert reply.error["code"] == ("head_too_large" if status == 431 else "invalid_request")


async def test_128_fields_and_almost_32_kib_of_head_are_taken(hosted: Hosted) -> None:
    peer = await hosted.peer()
    many = raw(HOST, *(b"x-%d: 1" % number for number in range(127)), line=b"GET /healthz HTTP/1.1")
    long = raw(HOST, b"x: " + b"y" * 32_600, line=b"GET /healthz HTTP/1.1")

    assert (await peer.ask(many)).status == 200
    assert (await peer.ask(long)).status == 200


CHUNKS = {
    "no digits": b"\r\n",
    "not hexadecimal": b"zz\r\n",
    "negative": b"-1\r\n",
    "prefixed": b"0x5\r\n",
    "too large a number": b"ffffffffffffffffff\r\n",
    "bare LF": b"5\nhello\r\n0\r\n\r\n",
    "longer than said": b"2\r\nhello\r\n0\r\n\r\n",
    "space after the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "endless size": b"0" * 20_000,
    "endless extension": b"5;" + b"x" * 20_000,
    "endless trailer": b"0\r\nx: " + b"y" * 20_000,
}


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("apart", [False, True])
async def test_wrong_chunks_are_told_and_end_the_connection(hosted: Hosted, name: str, apart: bool) -> None:
    peer = await hosted.peer()
    if apart:
        await peer.send(CHUNKED + b"1\r\n{\r\n")
        await peer.send(CHUNKS[name])
    else:
        await peer.send(CHUNKED + CHUNKS[name])
    reply = await peer.reply()

    assert reply.code == (400, "invalid_request")
    assert await peer.to_end() == b""


async def test_good_chunks_with_extension_and_trailers_are_a_body(hosted: Hosted) -> None:
    body = body_of(text="chunks")
    peer = await hosted.peer()
    chunks = b"%x;a=b\r\n%b\r\n%X\r\n%b\r\n0\r\nauthorization: Bearer evil\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])

    reply = await peer.ask(CHUNKED + chunks)

    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "chunks"


@pytest.mark.parametrize("size", [65_537, 2**31, 10**30])
async def test_a_body_that_is_said_to_be_too_long_is_refused_before_it_comes(hosted: Hosted, size: int) -> None:
    peer = await hosted.peer()

    reply = await peer.ask(JSON_POST + b"content-length: %d\r\nexpect: 100-continue\r\n\r\n" % size)

    assert reply.code == (413, "request_too_large")
    assert await peer.to_end() == b""


async def test_a_body_of_chunks_that_grows_too_long_is_refused(hosted: Hosted) -> None:
    peer = await hosted.peer()

    reply = await peer.ask(CHUNKED + b"8000\r\n" + b"x" * 0x8000 + b"\r\n9000\r\n" + b"x" * 0x8001)

    assert reply.code == (413, "request_too_large")


async def test_a_body_just_within_the_limit_is_taken(hosted: Hosted) -> None:
    peer = await hosted.peer()
    body = body_of(text="x" * 60_000)

    assert (await peer.ask(post(body + b" " * (65_536 - len(body))))).status == 200


REFUSED = {
    "unknown path": (raw(HOST, line=b"GET /v2/models HTTP/1.1"), 404, "not_found", None),
    "unknown path with body": (raw(HOST, TYPE, b"content-length: 2", line=b"POST /nowhere HTTP/1.1", body=b"{}"), 404, "not_found", None),
    "GET of a POST path": (raw(HOST, line=b"GET /v1/chat/completions HTTP/1.1"), 405, "method_not_allowed", "POST"),
    "POST of a GET path": (
        raw(HOST, TYPE, b"content-length: 2", line=b"POST /v1/models HTTP/1.1", body=b"{}"),
        405,
        "method_not_allowed",
        "GET",
    ),
    "DELETE": (raw(HOST, line=b"DELETE /v1/chat/completions HTTP/1.1"), 405, "method_not_allowed", "POST"),
    "a form": (
        raw(HOST, b"content-type: application/x-www-form-urlencoded", b"content-length: 2", body=b"{}"),
        415,
        "unsupported_media_type",
        None,
    ),
    "text": (raw(HOST, b"content-type: text/plain", b"content-length: 2", body=b"{}"), 415, "unsupported_media_type", None),
    "no type": (raw(HOST, b"content-length: 2", body=b"{}"), 415, "unsupported_media_type", None),
    "gzip": (raw(HOST, TYPE, b"content-encoding: gzip", b"content-length: 2", body=b"{}"), 415, "unsupported_media_type", None),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_served_is_told_and_the_connection_goes_on(hosted: Hosted, name: str) -> None:
    request, status, code, allow = REFUSED[name]
    peer = await hosted.peer()

    reply = await peer.ask(request)

    assert reply.code == (status, code)
    assert (allow is None) == ("allow" not in reply.headers)
    assert allow is None or allow in reply.headers["allow"]
    assert (await peer.ask(HEALTHY)).status == 200


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/v1/models", 200), ("/nowhere", 404), ("/v1/chat/completions", 405)])
async def test_an_answer_to_head_has_no_body(hosted: Hosted, path: str, status: int) -> None:
    peer = await hosted.peer()

    await peer.send(f"HEAD {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode() + HEALTHY)
    reply = await peer.reply(head_only=True)

    assert reply.status == status
    assert (await peer.reply()).body == b'{"status":"ok"}'


async def test_options_tells_what_is_allowed(hosted: Hosted) -> None:
    peer = await hosted.peer()

    for target in ("/v1/chat/completions", "*"):
        reply = await peer.ask(f"OPTIONS {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        assert reply.status == 204
        assert "POST" in reply.headers["allow"]
        # RFC 9110 section 8.6.
        assert "content-length" not in reply.headers


async def test_a_client_that_expects_100_gets_it_and_then_its_answer(hosted: Hosted) -> None:
    body = body_of()
    peer = await hosted.peer()
    await peer.send(JSON_POST + b"content-length: %d\r\nexpect: 100-continue\r\n\r\n" % len(body))

    assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await peer.ask(body)).status == 200


@pytest.mark.parametrize(
    "head",
    [
        raw(HOST, b"content-type: text/plain", b"content-length: 9", b"expect: 100-continue"),
        raw(HOST, TYPE, b"content-length: 9", b"expect: 100-continue", line=b"POST /nowhere HTTP/1.1"),
    ],
)
async def test_a_body_that_would_be_refused_is_not_asked_for(hosted: Hosted, head: bytes) -> None:
    peer = await hosted.peer()

    reply = await peer.ask(head)

    assert reply.status in {404, 415}
    assert reply.headers["connection"] == "close"
    assert await peer.to_end() == b""


async def test_an_unknown_expectation_does_not_keep_a_whole_request_from_its_answer(hosted: Hosted) -> None:
    peer = await hosted.peer()

    assert (await peer.ask(chat("m", "hi", "expect: tea"))).status in {200, 417}


async def test_an_upgrade_to_h2c_is_ignored(hosted: Hosted) -> None:
    peer = await hosted.peer()
    request = chat("m", "no upgrade", "connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__")

    reply = await peer.ask(request)

    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "no upgrade"
    assert (await peer.ask(HEALTHY)).status == 200


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_where_the_network_cuts_a_request_does_not_matter(hosted: Hosted, size: int) -> None:
    peer = await hosted.peer()
    request = chat(text="cut") * 2

    for at in range(0, len(request), size):
        await peer.send(request[at : at + size])

    assert [(await peer.reply()).status for _ in range(2)] == [200, 200]
