"""Tool calls that are cut, in streams of the dialects whose events have types: never a clean end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted
from tests.integration.peer import events_of, post
from tests.integration.upstream import Upstream, answer, chunk, once, stream_head

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


def cohere(pieces: Iterable[str], reason: str) -> bytes:
    called = ({"tool_calls": {"function": {"arguments": piece}}} for piece in pieces)
    begun = {"tool_calls": {"id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}}
    return events(
        {"type": "message-start", "id": "m1", "delta": {"message": {"role": "assistant"}}},
        {"type": "tool-call-start", "index": 0, "delta": {"message": begun}},
        *({"type": "tool-call-delta", "index": 0, "delta": {"message": call}} for call in called),
        {"type": "tool-call-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": reason, "usage": {"tokens": {"input_tokens": 1, "output_tokens": 3}}}},
    )


MESSAGES = ("anthropic", "/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}, messages)
RESPONSES = ("openai_compatible", "/v1/responses", {"input": "hi"}, responses)
COHERE = ("cohere", "/v2/chat", {"messages": [{"role": "user", "content": "hi"}]}, cohere)
TRANSLATED = ("cohere", "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, cohere)


@pytest.mark.parametrize(
    ("door", "pieces", "reason", "is_whole"),
    [
        (MESSAGES, ['{"city"', ': "Par'], "tool_use", False),
        (MESSAGES, ['{"city"', ': "Paris"}'], "tool_use", True),
        (MESSAGES, ['{"city"', ': "Par'], "max_tokens", True),
        (RESPONSES, ['{"city"', ': "Par'], "completed", False),
        (RESPONSES, ['{"city"', ': "Paris"}'], "completed", True),
        (RESPONSES, ['{"city"', ': "Par'], "incomplete", True),
        (COHERE, ['{"city"', ': "Par'], "TOOL_CALL", False),
        (COHERE, ['{"city"', ': "Paris"}'], "TOOL_CALL", True),
        (COHERE, ['{"city"', ': "Par'], "MAX_TOKENS", True),
        (TRANSLATED, ['{"city"', ': "Par'], "TOOL_CALL", False),
        (TRANSLATED, ['{"city"', ': "Paris"}'], "TOOL_CALL", True),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
async def test_a_call_that_is_cut_ends_in_an_error(door: Any, pieces: list[str], reason: str, is_whole: bool) -> None:
    provider, path, fields, said = door
    async with Upstream(once(stream_head() + said(pieces, reason) + b"0\r\n\r\n")) as upstream:
        url = upstream.base_url if provider == "openai_compatible" else upstream.base_url.removesuffix("/v1")
        config = {"endpoints": [{"name": "a", "provider": provider, "model": "up", "base_url": url}], "models": {"m": "a"}}
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(post(json.dumps({"model": "m", "stream": True, **fields}).encode(), path=path))

            assert hosted.attempts() == {Failure.NONE if is_whole else Failure.BROKEN: 1}
            assert reply.is_whole == is_whole
            last = events_of(reply.body)[-1]
            assert ("the arguments of a tool call are cut" in json.dumps(last)) == (not is_whole)


@pytest.mark.parametrize("hints", [(), ("x-request-id: mine",)], ids=["lane", "ordinary"])
@pytest.mark.parametrize(("reason", "is_whole"), [("tool_calls", False), ("length", True)])
@pytest.mark.parametrize(
    ("path", "said"),
    [("/v1/responses", '"input":"hi"'), ("/v1/chat/completions", '"messages":[{"role":"user","content":"hi"}]')],
    ids=["translated", "native"],
)
async def test_a_whole_answer_may_not_hold_half_a_call(path: str, said: str, reason: str, is_whole: bool, hints: tuple[str, ...]) -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Par'}}
    choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]}, "finish_reason": reason}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    async with Upstream(
        once(answer({"id": "c1", "object": "chat.completion", "model": "up", "choices": [choice], "usage": usage}))
    ) as upstream:
        end = {"name": "a", "provider": "openai_compatible", "model": "up", "base_url": upstream.base_url, "doors": ["chat"]}
        async with Hosted({"endpoints": [end], "models": {"m": {"endpoints": ["a"], "retry": {"attempts": 1}}}}) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(post(b'{"model":"m",%b}' % said.encode(), *hints, path=path))

            assert (reply.status == 200) == is_whole
            assert hosted.attempts() == {Failure.NONE if is_whole else Failure.BROKEN: 1}
            assert ("the arguments of a tool call are cut" in reply.body.decode()) == (not is_whole)
