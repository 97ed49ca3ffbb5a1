"""What reading and writing costs from Python: a request of an SDK, a whole answer, an event of a stream."""

from __future__ import annotations

from typing import Any

import pytest
from dispatch.wire import sse
from dispatch.wire.http1 import RequestReader, ResponseReader

ROUNDS = {"rounds": 100, "iterations": 1_000, "warmup_rounds": 5}
"""Many calls a round: one alone takes no longer than reading the clock around it."""

# The seventeen fields of the official Python SDK.
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
    b"Accept: application/json\r\nContent-Type: application/json\r\nUser-Agent: AsyncOpenAI/Python 2.15.0\r\nX-Stainless-Lang: python\r\n"
    b"X-Stainless-Package-Version: 2.15.0\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\n"
    b"X-Stainless-Runtime-Version: 3.11.7\r\nAuthorization: Bearer sk-0123456789abcdef0123456789abcdef\r\n"
    b"X-Stainless-Async: async:asyncio\r\nx-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\nContent-Length: %d\r\n\r\n"
)
PREFIX = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: api.example\r\nauthorization: Bearer sk-xxxxxxxxxxxxxxxx\r\naccept-encoding: identity\r\n"
)
FORWARD = (b"content-type", b"accept", b"user-agent", b"openai-beta", b"idempotency-key", b"traceparent")
ANSWER = (
    b'{"id":"chatcmpl-D2XQbO9IthwPQjQgpjGznca","object":"chat.completion","created":1769497626,"model":"gpt-5-2025-08-07","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"4242","refusal":null,"annotations":[]},"finish_reason":"stop"}],"usage":'
    b'{"prompt_tokens":16,"completion_tokens":11,"total_tokens":27,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},'
    b'"service_tier":"default","system_fingerprint":null}'
)
EVENT = (
    b'data: {"id":"chatcmpl-D2XQbO9IthwPQjQgpjGznca","object":"chat.completion.chunk","created":1769497626,"model":"gpt-5","choices":'
    b'[{"index":0,"delta":{"content":" hello"},"finish_reason":null}],"usage":null}\n\n'
)


def body(text_bytes: int, *, escapes: bool) -> bytes:
    """A chat request with about this much text, a line end in every 80 bytes of it if asked for."""
    line = b"lorem ipsum dolor sit amet " * 3 + (b"\\n" if escapes else b"")
    text = line * (text_bytes // len(line))
    return b'{"messages":[{"role":"user","content":"%s"}],"model":"chat","max_tokens":100,"temperature":0.7,"user":"u-1234"}' % text


@pytest.mark.benchmark(group="wire: request")
@pytest.mark.parametrize("escapes", [False, True], ids=["plain", "escapes"])
@pytest.mark.parametrize("text_bytes", [150, 32 << 10])
def test_read_scan_and_compose_a_request(benchmark: Any, text_bytes: int, *, escapes: bool) -> None:
    """A request in one piece, sent on under another model name."""
    content = body(text_bytes, escapes=escapes)
    message = HEAD % len(content) + content
    reader = RequestReader(32 << 10, 128, 1 << 20, FORWARD)

    def one() -> bytes:
        request = reader.feed(message)
        assert request is not None
        sent = request.scan().compose(PREFIX, b'"gpt-4o"', False)
        reader.next()
        return sent

    assert one().endswith(content.replace(b'"chat"', b'"gpt-4o"'))
    benchmark.pedantic(one, **ROUNDS)


@pytest.mark.benchmark(group="wire: answer")
def test_read_an_answer(benchmark: Any) -> None:
    """A whole answer, validated, with its usage."""
    message = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
    reader = ResponseReader(32 << 10, 128, 1 << 20, (b"content-type", b"x-request-id"))

    def one() -> tuple[int, int, int, int] | None:
        reader.expect()
        answer = reader.feed(message)
        return answer.usage if answer else None

    assert one() == (16, 11, 0, 0)
    benchmark.pedantic(one, **ROUNDS)


@pytest.mark.benchmark(group="wire: event")
@pytest.mark.parametrize("inject", [False, True], ids=["as it is", "usage withheld"])
def test_forward_an_event(benchmark: Any, *, inject: bool) -> None:
    """One event in one chunk."""
    reader = ResponseReader(32 << 10, 128, 1 << 20, ())
    reader.expect()
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    reader.start_stream(inject, True, sse.CHAT)
    chunk = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)

    assert (b"usage" in reader.forward(chunk)) is not inject
    benchmark.pedantic(reader.forward, args=(chunk,), **ROUNDS)
