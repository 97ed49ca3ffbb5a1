"""Mutated answers of providers, over sockets: a client gets a whole answer or a clear error, its own and nobody else's, and nothing leaks.

All endpoints share one origin, so a connection that was spoilt by one answer and used again would show in the next. The short form runs
with the tests; `make fuzz` runs it for `DISPATCH_FUZZ_SECONDS`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hosted import Hosted
from tests.integration.peer import Reply, chat
from tests.integration.upstream import Line, Upstream, answer, chunk, delta, head, stream_head

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SECONDS = float(os.environ.get("DISPATCH_FUZZ_SECONDS") or 0)
SEED = int(os.environ.get("DISPATCH_FUZZ_SEED") or 1)
FAILED = Path(__file__).parents[2] / "target" / "fuzz"
CORPUS = Path(__file__).parent / "corpus"

ENDPOINTS = 40
TURNS = 4
"""Of each endpoint, before all are made anew: five failures in a row would open its breaker."""
MARK = b"mark-xxxxxxxx"
"""Stands in the corpus where an answer names the request that it belongs to."""
MARKS = [b"mark-" + hashlib.sha256(b"%d" % number).hexdigest()[:8].encode() for number in range(ENDPOINTS)]
"""By the endpoint's number; none turns into another by a mutation."""

TOKENS = [
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\n\n",
        b"\0",
        b" ",
        b":",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"ffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ),
    *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 500 No\r\n", b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n"),
    *(b"connection: close\r\n", b"keep-alive: timeout=1\r\n", b"content-encoding: gzip\r\n", b"content-type: text/event-stream\r\n"),
    *(b"data: ", b"data: [DONE]\n\n", b"event: error\n", b": c\n\n", b'"error":{"message":"no"},', b'"choices":[],', b'"usage":null,'),
    *(b'"finish_reason":"stop"', b"{", b"}", b'"', b"\\", b"\xff", b"null", b"retry-after: 1\r\n", b"location: http://127.0.0.1:1/\r\n"),
]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The product's loop; `tests/integration` plays on both."""
    return "asyncio", {"use_uvloop": True}


def seeds() -> list[bytes]:
    text = MARK.decode()
    whole = {"id": text, "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    events = delta(None) + delta(text) + delta("", "stop") + chunk(b"data: [DONE]\n\n")
    error = {"error": {"message": text, "type": "server_error", "code": None}}
    body = json.dumps(whole).encode()
    made = [
        answer(whole),
        answer(error, 500),
        answer(error, 429, "retry-after: 1"),
        answer(error),
        head() + body,
        head(200, "transfer-encoding: chunked") + chunk(body[:20]) + chunk(body[20:]) + b"0\r\n\r\n",
        stream_head() + events + b"0\r\n\r\n",
        stream_head() + delta(text) + chunk(b'data: {"error":{"message":"no"}}\n\n') + b"0\r\n\r\n",
        head(content_type="text/event-stream") + b"data: {}\n\n" + delta(text, "stop")[4:-2],
    ]
    streams = [stream_head() + chunk(path.read_bytes()) + b"0\r\n\r\n" for path in sorted((CORPUS / "stream").glob("*.sse"))]
    return made + streams + [path.read_bytes() for path in sorted((CORPUS / "answer").glob("*.http"))]


def mutated(pool: Sequence[bytes], draw: Random) -> bytes:
    """One of the pool, changed in up to four places."""
    data = bytearray(draw.choice(pool))
    for _ in range(draw.randint(0, 4)):
        at = draw.randint(0, len(data))
        end = min(len(data), at + draw.randint(0, 24))
        kind = draw.randint(0, 4)
        if kind == 0 and at < len(data):
            data[at] = draw.randint(0, 255)
        elif kind == 1:
            del data[at:end]
        elif kind == 2:
            other = draw.choice(pool)
            data[at:] = other[draw.randint(0, len(other)) :]
        else:
            data[at : at if kind == 3 else end] = draw.choice(TOKENS)
    return bytes(data[:8192])


class Wrong:
    """The answers that endpoints give now, by the number in their path."""

    def __init__(self) -> None:
        self.answers: list[tuple[bytes, int, str]] = []

    async def script(self, line: Line) -> None:
        """Answer in two pieces; then keep the connection, end it, or fall silent."""
        while True:
            request = await line.request()
            data, cut, then = self.answers[int(request[6:].split(b"/", 1)[0])]
            await line.send(data[:cut])
            await line.send(data[cut:])
            if then == "fin":
                return
            if then == "rst":
                line.reset()
                return


def configuration(base_url: str) -> dict[str, Any]:
    base = base_url.removesuffix("/v1")
    names = [str(number) for number in range(ENDPOINTS)]
    endpoints = [{"name": f"e{n}", "provider": "openai_compatible", "model": "*", "base_url": f"{base}/{n}/v1"} for n in names]
    models = {f"m{n}": {"endpoints": [f"e{n}"], "retry": {"attempts": 1}} for n in names}
    return {"defaults": {"first_token_s": 0.2, "answer_s": 0.2, "stall_s": 0.2}, "endpoints": endpoints, "models": models}


async def test_no_answer_of_a_provider_breaks_the_sidecar() -> None:
    draw, pool, inputs = Random(SEED), seeds(), 0
    end = monotonic() + SECONDS
    while inputs == 0 or monotonic() < end:
        wrong = Wrong()
        async with Upstream(wrong.script) as upstream, Hosted(configuration(upstream.base_url)) as hosted:
            for _ in range(TURNS):
                batch = [mutated(pool, draw) for _ in range(ENDPOINTS)]
                await play(hosted, wrong, batch, draw)
                inputs += ENDPOINTS
    print(f"upstream: {inputs} inputs of seed {SEED}, no law broken")  # noqa: T201  # the report


async def play(hosted: Hosted, wrong: Wrong, batch: list[bytes], draw: Random) -> None:
    wrong.answers = [
        (data.replace(MARK, MARKS[number]), draw.randint(0, len(data)), draw.choice(["keep", "fin", "fin", "rst"]))
        for number, data in enumerate(batch)
    ]
    ways = [(draw.random() < 0.6, draw.choice(["1.1", "1.1", "1.0"])) for _ in batch]
    results = await asyncio.gather(*(ask(hosted, number, *way) for number, way in enumerate(ways)), return_exceptions=True)
    for number, result in enumerate(results):
        if isinstance(result, BaseException):
            FAILED.mkdir(parents=True, exist_ok=True)
            path = FAILED / f"upstream-{hashlib.sha256(batch[number]).hexdigest()[:16]}"
            path.write_bytes(wrong.answers[number][0])
            pytest.fail(f"{path} breaks a law, {wrong.answers[number][1:]}, {ways[number]}, seed {SEED}: {result!r}")


async def ask(hosted: Hosted, number: int, stream: bool, version: str) -> None:
    peer = await hosted.peer()
    try:
        reply = await peer.ask(chat(f"m{number}", "hi", version=version, stream=stream))
    finally:
        peer.sock.close()
    assert {mark for mark in MARKS if mark in reply.body} <= {MARKS[number]}, "another request's answer"
    assert reply.headers.get("x-dispatch-endpoint", f"e{number}") == f"e{number}"
    if reply.headers.get("content-type", "").lower().startswith("text/event-stream"):
        check_stream(reply)
    elif reply.status >= 400:
        assert reply.is_whole
        assert isinstance(json.loads(reply.body), dict)
    else:
        assert reply.is_whole
        json.loads(reply.body)


def check_stream(reply: Reply) -> None:
    """Each event is JSON; the end is clean if and only if the stream is complete."""
    text = reply.body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events = [line[5:].strip() for line in text.split(b"\n") if line.startswith(b"data:")]
    for event in events:
        assert event == b"[DONE]" or json.loads(event) is not Ellipsis
    if reply.is_whole:
        assert b"[DONE]" in events or b"finish_reason" in text or b"message_stop" in text or b"response.completed" in text, "a clean end"
    else:
        assert "error" in json.loads(events[-1]), "an end without a word"
