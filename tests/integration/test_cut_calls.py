"""Tool calls that are cut, in streams of the dialects whose events have types: never a clean end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted
from tests.integration.peer import events_of, post
from tests.integration.upstream import Upstream, chunk, once, stream_head

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.anyio

START = {"type": "message_start", "message": {"id": "m1", "type": "message", "role": "assistant", "content": [], "model": "up"}}


def events(*told: dict[str, Any]) -> bytes:
    return b"".join(chunk(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.dumps(one).encode())) for one in told)


def messages(pieces: Iterable[str], reason: str) -> bytes:
    block = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    return events(
        START,
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}} for piece in pieces),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    )


def responses(pieces: Iterable[str], status: str) -> bytes:
    deltas = ({"type": "response.function_call_arguments.delta", "item_id": "i", "output_index": 0, "delta": piece} for piece in pieces)
    end = {"type": f"response.{status}", "response": {"id": "r1", "object": "response", "status": status, "output": []}}
    return events(*deltas, {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": "".join(pieces)}, end)


MESSAGES = ("anthropic", "/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}, messages)
RESPONSES = ("openai_compatible", "/v1/responses", {"input": "hi"}, responses)


@pytest.mark.parametrize(
    ("door", "pieces", "reason", "is_whole"),
    [
        (MESSAGES, ['{"city"', ': "Par'], "tool_use", False),
        (MESSAGES, ['{"city"', ': "Paris"}'], "tool_use", True),
        (MESSAGES, ['{"city"', ': "Par'], "max_tokens", True),
        (RESPONSES, ['{"city"', ': "Par'], "completed", False),
        (RESPONSES, ['{"city"', ': "Paris"}'], "completed", True),
        (RESPONSES, ['{"city"', ': "Par'], "incomplete", True),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
async def test_a_call_that_is_cut_ends_in_an_error(door: Any, pieces: list[str], reason: str, is_whole: bool) -> None:
    provider, path, fields, said = door
    async with Upstream(once(stream_head() + said(pieces, reason) + b"0\r\n\r\n")) as upstream:
        url = upstream.base_url if provider != "anthropic" else upstream.base_url.removesuffix("/v1")
        config = {"endpoints": [{"name": "a", "provider": provider, "model": "up", "base_url": url}], "models": {"m": "a"}}
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(post(json.dumps({"model": "m", "stream": True, **fields}).encode(), path=path))

            assert hosted.attempts() == {Failure.NONE if is_whole else Failure.BROKEN: 1}
            assert reply.is_whole == is_whole
            last = events_of(reply.body)[-1]
            assert ("the arguments of a tool call are cut" in json.dumps(last)) == (not is_whole)
