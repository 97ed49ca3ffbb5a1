"""Usage that grows by what other answers used: only numbers that are told, in whatever bytes they stand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dispatch.combine.sums import Sum, more_than
from dispatch.replies import framed
from dispatch.wire.sse import LAST_CHUNK

MORE = (70, 30, 20, 10)
"""Input, output, and of these: cached, reasoning."""


def grown(door: str, tree: dict[str, Any]) -> Any:
    return json.loads(Sum(door, MORE).body(json.dumps(tree).encode()))


@pytest.mark.parametrize(
    ("door", "told", "summed"),
    [
        (
            "chat",
            {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.1}},
            {
                "usage": {"prompt_tokens": 71, "completion_tokens": 32, "total_tokens": 103, "cost": 0.1}
                | {"prompt_tokens_details": {"cached_tokens": 20}, "completion_tokens_details": {"reasoning_tokens": 10}}
            },
        ),
        (
            "completions",
            {"usage": {"prompt_tokens": 5, "prompt_cache_hit_tokens": 1, "prompt_cache_miss_tokens": 4, "total_tokens": 5}},
            {
                "usage": {"prompt_tokens": 75, "prompt_cache_hit_tokens": 21, "prompt_cache_miss_tokens": 54, "total_tokens": 105}
                | {"prompt_tokens_details": {"cached_tokens": 20}}
            },
        ),
        (
            "messages",
            {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
            {"type": "message_start", "message": {"usage": {"input_tokens": 53, "output_tokens": 31, "cache_read_input_tokens": 20}}},
        ),
        (
            "messages",
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}},
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 39}},
        ),
        (
            "generate",
            {"usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}},
            {
                "usageMetadata": {"promptTokenCount": 74, "candidatesTokenCount": 20, "thoughtsTokenCount": 10}
                | {"cachedContentTokenCount": 20, "totalTokenCount": 104}
            },
        ),
        (
            "converse",
            {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}}},
            {"metadata": {"usage": {"inputTokens": 51, "outputTokens": 32, "totalTokens": 103, "cacheReadInputTokens": 20}}},
        ),
        ("ollama", {"done": True, "eval_count": 5}, {"done": True, "eval_count": 35, "prompt_eval_count": 70}),
        ("chat", {"usage": None}, {"usage": None}),
        ("chat", {"usage": {"seconds": 3}}, {"usage": {"seconds": 3}}),
        ("speech", {"usage": {"prompt_tokens": 1}}, {"usage": {"prompt_tokens": 1}}),
    ],
)
def test_what_is_told_grows(door: str, told: dict[str, Any], summed: dict[str, Any]) -> None:
    assert grown(door, told) == summed


def test_an_answer_alone_and_what_is_no_json_stay_byte_for_byte() -> None:
    body = b'{ "usage": {"prompt_tokens": 1} }'

    assert Sum("chat", more_than((5, 5, 0, 0), (5, 5, 0, 0))).body(body) is body
    assert Sum("chat", MORE).body(b'{"usage": {') == b'{"usage": {'


@pytest.mark.parametrize("is_chunked", [False, True])
def test_of_a_stream_only_events_with_usage_change(is_chunked: bool) -> None:
    said = b'data: {"choices":[{"delta":{"content":"the \\"usage\\": {}"}}],  "usage":null}\n\n'
    last = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\r\n\r\n'
    events = [b": hello\n\n", said, last, b"data: [DONE]\n\n"]
    data = b"".join(framed(event, is_chunked) for event in events) + (LAST_CHUNK if is_chunked else b"")
    out = Sum("chat", (7, 5, 0, 0)).stream(data, is_chunked=is_chunked)

    summed = b'data: {"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":7,"total_tokens":15}}\r\n\r\n'
    whole = b": hello\n\n" + said + summed + b"data: [DONE]\n\n"
    assert out == framed(whole, is_chunked) + (LAST_CHUNK if is_chunked else b"")
    assert Sum("chat", (7, 5, 0, 0)).stream(said, is_chunked=False) == said
