"""What a translation costs: an event of a stream, a whole answer, a request. A hundred each run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dispatch.dialects.table import DIALECTS
from dispatch.dialects.target import Losses, Target
from dispatch.translation import Translator

TIMES = 100
ROUNDS = {"rounds": 40, "iterations": 2, "warmup_rounds": 5}
PAIRS = [("chat", "messages"), ("messages", "chat"), ("chat", "generate"), ("messages", "generate"), ("generate", "chat")]

TEXT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " a few words"}}
CHUNK = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {"content": " a few words"}}]}
PART = {
    "candidates": [{"content": {"parts": [{"text": " a few words"}], "role": "model"}, "index": 0}],
    "modelVersion": "m",
    "responseId": "r",
}
EVENTS = {
    "messages": b"event: content_block_delta\ndata: " + json.dumps(TEXT).encode() + b"\n\n",
    "chat": b"data: " + json.dumps(CHUNK).encode() + b"\n\n",
    "generate": b"data: " + json.dumps(PART).encode() + b"\r\n\r\n",
}
PROSE = "a few words " * 60
ANSWERS: dict[str, Any] = {
    "messages": {
        "id": "i",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "content": [{"type": "text", "text": PROSE}],
        "usage": {"input_tokens": 9, "output_tokens": 200},
    },
    "chat": {
        "id": "i",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "usage": {"prompt_tokens": 9, "completion_tokens": 200},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": PROSE}, "finish_reason": "stop"}],
    },
    "generate": {
        "candidates": [{"content": {"parts": [{"text": PROSE}], "role": "model"}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 200},
        "modelVersion": "m",
        "responseId": "r",
    },
}
REQUEST = {
    "model": "m",
    "messages": [{"role": "system", "content": PROSE}, {"role": "user", "content": PROSE}],
    "max_completion_tokens": 100,
}


@pytest.mark.benchmark(group="100 x an event of a stream")
@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_an_event(benchmark: Any, client: str, provider: str) -> None:
    """A piece of text, as the core hands it out."""
    translator = Translator(DIALECTS[provider].reader(), DIALECTS[client].writer(1, wants_usage=True))
    event = EVENTS[provider]

    def run() -> None:
        for _ in range(TIMES):
            translator.feed(event)

    translator.feed(event)
    assert b"a few words" in translator.feed(event)
    benchmark.pedantic(run, **ROUNDS)


@pytest.mark.benchmark(group="100 x a whole answer")
@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_an_answer(benchmark: Any, client: str, provider: str) -> None:
    """Of 700 characters."""
    body = json.dumps(ANSWERS[provider]).encode()
    read, write = DIALECTS[provider].read_answer, DIALECTS[client].write_answer

    def run() -> None:
        for _ in range(TIMES):
            write(read(body), 1, Losses(drops=True))

    assert PROSE.encode() in write(read(body), 1, Losses(drops=True))
    benchmark.pedantic(run, **ROUNDS)


@pytest.mark.benchmark(group="100 x a request")
@pytest.mark.parametrize("provider", ["messages", "generate"])
def test_a_request(benchmark: Any, provider: str) -> None:
    """Of OpenAI's client, with a system prompt."""
    body = json.dumps(REQUEST).encode()
    target = Target(provider=provider, model="m")
    read, write = DIALECTS["chat"].read_request, DIALECTS[provider].write_request

    def run() -> None:
        for _ in range(TIMES):
            write(read(body), target, Losses(drops=False))

    assert PROSE.encode() in write(read(body), target, Losses(drops=False))
    benchmark.pedantic(run, **ROUNDS)
