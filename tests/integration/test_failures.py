"""Providers that fail while an answer is awaited: retried, handed on or told, and every place given back (`Hosted` looks)."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from time import monotonic

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import chat
from tests.integration.upstream import ANSWER, BODY, ERROR, GOOD, Upstream, answer, hang, head, once, part

pytestmark = pytest.mark.anyio

HTML = b"<html><body>502 Bad Gateway</body></html>"


def closed_port() -> str:
    """The address of a port where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}/v1"


WRONG = {
    "HTML 502": (once(answer(HTML, 502, content_type="text/html")), Failure.SERVER),
    "HTML 200": (once(answer(HTML, content_type="text/html")), Failure.MALFORMED),
    "500": (once(answer(ERROR, 500)), Failure.SERVER),
    "503": (once(answer(ERROR, 503)), Failure.OVERLOADED),
    "529": (once(answer(ERROR, 529)), Failure.OVERLOADED),
    "429": (once(answer(ERROR, 429)), Failure.RATE_LIMITED),
    "408": (once(answer(ERROR, 408)), Failure.SERVER),
    "empty body": (once(answer(b"")), Failure.MALFORMED),
    "204": (once(b"HTTP/1.1 204 No Content\r\n\r\n"), Failure.MALFORMED),
    "broken JSON": (once(answer(BODY[:-9])), Failure.MALFORMED),
    "error object with 200": (once(answer(ERROR)), Failure.SERVER),
    "unknown coding": (once(answer(BODY, 200, "content-encoding: br")), Failure.MALFORMED),
    "gzip that is none": (once(answer(BODY, 200, "content-encoding: gzip")), Failure.MALFORMED),
    "gzip cut": (once(answer(gzip.compress(BODY)[:-9], 200, "content-encoding: gzip")), Failure.MALFORMED),
    "redirect": (once(answer(b"", 307, "location: http://127.0.0.1:1/")), Failure.MALFORMED),
    "not HTTP": (once(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), Failure.MALFORMED),
    "two lengths": (once(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}"), Failure.MALFORMED),
    "length and chunks": (once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}"), Failure.MALFORMED),
    "bad chunk": (once(head(200, "transfer-encoding: chunked") + b"zz\r\n"), Failure.MALFORMED),
    "129 fields": (once(head(200, *(f"x-{n}: 1" for n in range(128)))), Failure.MALFORMED),
    "101": (once(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n"), Failure.MALFORMED),
    "cut in the head": (once(b"HTTP/1.1 200 OK\r\ncont", then="fin"), Failure.BROKEN),
    "cut in the body": (once(answer()[:-9], then="fin"), Failure.BROKEN),
    "reset in the body": (once(answer()[:-9], then="rst"), Failure.BROKEN),
    "cut before the end of JSON without length": (once(head() + BODY[:-9], then="fin"), Failure.BROKEN),
    "an unasked stream": (once(head(200, "transfer-encoding: chunked", content_type="text/event-stream")), Failure.MALFORMED),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_answer_is_tried_elsewhere_and_told_when_it_stays_wrong(name: str) -> None:
    script, failure = WRONG[name]
    async with Upstream(script) as wrong, Upstream(GOOD) as good:
        async with Hosted(pool(wrong.base_url, good.base_url)) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(chat())

            assert reply.status == 200
            assert (reply.headers["x-dispatch-endpoint"], reply.headers["x-dispatch-attempts"]) == ("b", "2")
            assert hosted.attempts() == {failure: 1}
        async with Hosted(pool(wrong.base_url, retry={"attempts": 1})) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(chat())

            assert 400 <= reply.status < 600
            assert reply.headers["x-dispatch-endpoint"] == "a"
            assert reply.headers["x-should-retry"] == "false"
            assert json.loads(reply.body)["error"]["message"]
            assert hosted.outcomes() == {failure: 1}
            # The connection to the client is none the worse.
            assert (await peer.ask(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).status == 200


async def test_an_endpoint_that_refuses_connections_is_told_as_such_and_nothing_was_sent() -> None:
    async with Upstream(GOOD) as good, Hosted(pool(closed_port(), good.base_url)) as hosted:
        peer = await hosted.peer()
        assert [(await peer.ask(chat())).status for _ in range(4)] == [200] * 4

        assert set(hosted.attempts()) == {Failure.CONNECT}
    async with Hosted(pool(closed_port())) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(chat())

        assert reply.code == (502, "upstream_error")
        assert reply.headers["x-dispatch-attempts"] == "3"


SILENT = {
    "before the head": hang,
    "in the head": part(b"HTTP/1.1 200 OK\r\n"),
    "after the head": part(head(200, "content-length: 100")),
    "in the body": part(answer()[:-9]),
}


@pytest.mark.parametrize("name", SILENT)
async def test_an_upstream_that_falls_silent_is_left_and_another_asked(name: str) -> None:
    async with (
        Upstream(SILENT[name]) as silent,
        Upstream(GOOD) as good,
        Hosted(pool(silent.base_url, good.base_url, answer_s=0.2, stall_s=0.2)) as hosted,
    ):
        peer = await hosted.peer()
        assert (await peer.ask(chat())).status == 200
        await silent.until(lambda: silent.left == 1)
        assert hosted.attempts() == {Failure.FIRST_TOKEN_TIMEOUT: 1}


@pytest.mark.parametrize("name", SILENT)
async def test_a_client_that_leaves_ends_its_request_upstream_at_once(name: str) -> None:
    async with Upstream(SILENT[name]) as silent, Hosted(pool(silent.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat())
        await silent.until(lambda: silent.requests)
        before = monotonic()
        peer.sock.close()

        await silent.until(lambda: silent.left == 1)
        assert monotonic() - before < 5  # at once, on a busy machine; no limit of the configuration is that short
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})
        assert hosted.attempts() == {Failure.CANCELLED: 1}


async def test_a_client_that_leaves_while_a_retry_waits_is_asked_for_no_more() -> None:
    config = pool("http://127.0.0.1:1/v1")
    async with Upstream(once(answer(ERROR, 503, "retry-after: 3"))) as upstream:
        config = pool(upstream.base_url)
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            await peer.send(chat())
            await until(lambda: hosted.attempts() == {Failure.OVERLOADED: 1})
            peer.sock.close()

            await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})
            assert len(upstream.requests) == 1


async def test_a_client_that_leaves_while_its_connection_is_made_is_forgotten() -> None:
    """Nothing accepts here: the kernel takes the connection, so the next request waits in its place."""
    async with Upstream(hang) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peers = [await hosted.peer() for _ in range(100)]
        for peer in peers:
            await peer.send(chat())
            peer.reset()
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: len(hosted.reports)} and not hosted.front.connections)


async def test_gzip_that_nobody_asked_for_is_decoded() -> None:
    for packed, coding in ((gzip.compress(BODY), "gzip"), (gzip.compress(BODY), "x-gzip"), (zlib.compress(BODY), "deflate")):
        async with (
            Upstream(once(answer(packed, 200, f"content-encoding: {coding}"))) as upstream,
            Hosted(pool(upstream.base_url)) as hosted,
        ):
            peer = await hosted.peer()
            reply = await peer.ask(chat())

            assert json.loads(reply.body) == ANSWER
            assert "content-encoding" not in reply.headers
            assert b"accept-encoding: identity" in upstream.requests[0].lower()
            assert hosted.snapshot().endpoints["a"].tokens[:2] == [3, 2]


async def test_a_bomb_is_not_unpacked() -> None:
    bomb = zlib.compress(b" " * 80_000_000 + BODY, 9)
    async with (
        Upstream(once(answer(bomb, 200, "content-encoding: deflate"))) as upstream,
        Hosted(pool(upstream.base_url, retry={"attempts": 1})) as hosted,
    ):
        peer = await hosted.peer()

        assert (await peer.ask(chat())).status == 502


async def test_an_answer_above_the_limit_is_502() -> None:
    big = answer(json.dumps(ANSWER | {"x": "y" * 100_000}).encode())
    chunks = head(200, "transfer-encoding: chunked") + b"186a0\r\n" + b" " * 100_000 + b"\r\n0\r\n\r\n"
    for data in (big, chunks):
        async with Upstream(once(data)) as upstream, Hosted(pool(upstream.base_url, server={"max_answer_bytes": 65536})) as hosted:
            peer = await hosted.peer()

            assert (await peer.ask(chat())).code == (502, "upstream_error")
            assert len(upstream.requests) == 1


async def test_an_answer_that_only_the_end_completes_is_taken_when_its_json_is_whole() -> None:
    async with Upstream(once(head() + BODY, then="fin")) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()

        assert json.loads((await peer.ask(chat())).body) == ANSWER


async def test_informational_answers_are_skipped() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n"
    async with Upstream(once(b"HTTP/1.1 100 Continue\r\n\r\n" + early + answer())) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        assert (await peer.ask(chat())).status == 200
        await hosted.rested()

        assert (await peer.ask(chat())).status == 200
        assert upstream.connections == 1
