"""OpenAI's chat dialect, for the library."""

from __future__ import annotations

import json

import msgspec
import pytest
from dispatch.providers.chat import decode_answer, decode_event, encode_request
from dispatch.schema import Delta, Request, ToolCall, Usage


def test_what_is_not_set_is_not_sent() -> None:
    request = Request(model="m", messages=({"role": "user", "content": "hi"},))

    assert json.loads(encode_request(request)) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_what_has_no_field_goes_through_extra() -> None:
    request = Request(model="m", messages=(), stream=True, max_tokens=0, stop=("a",), extra={"seed": 7, "max_tokens": 3})

    assert json.loads(encode_request(request)) == {"model": "m", "messages": [], "stream": True, "max_tokens": 3, "stop": ["a"], "seed": 7}


def test_a_whole_answer() -> None:
    body = msgspec.json.encode(
        {
            "id": "x",
            "model": "gpt",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "tool_calls",
                    "message": {
                        "content": None,
                        "reasoning_content": "hm",
                        "tool_calls": [
                            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                            {"id": "2", "type": "function", "function": {"name": "g", "arguments": ""}},
                        ],
                    },
                }
            ],
            "usage": {
                "prompt_tokens": 5,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": None,
            },
        }
    )
    response = decode_answer(body)

    assert (response.text, response.reasoning, response.finish_reason) == ("", "hm", "tool_calls")
    assert response.tool_calls == (ToolCall(index=0, id="1", name="f", arguments="{}"), ToolCall(index=1, id="2", name="g"))
    assert response.usage == Usage(input_tokens=5, output_tokens=3, cached_tokens=4)
    assert response.body == body


def test_text_in_parts_is_joined() -> None:
    content = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]

    assert decode_answer(msgspec.json.encode({"choices": [{"message": {"content": content}}]})).text == "ab"


@pytest.mark.parametrize("body", [b"{}", b'{"choices": []}', b"", b"<html>", b'{"choices": [{"index": 0}]}', b'{"choices": 3}'])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # msgspec's errors and our own
        decode_answer(body)


def test_events_become_deltas() -> None:
    assert decode_event(b'{"choices": [{"index": 1, "delta": {"content": "hi"}}]}') == (Delta(text="hi", index=1),)
    assert decode_event(b'{"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 2}}') == (
        Delta(finish_reason="stop", usage=Usage(input_tokens=2)),
    )
    assert decode_event(b'{"choices": [], "usage": {"completion_tokens": 2}}') == (Delta(usage=Usage(output_tokens=2)),)
    assert decode_event(b'{"choices": [{"delta": {"tool_calls": [{"index": 2, "function": {"arguments": "{"}}]}}]}') == (
        Delta(tool_calls=(ToolCall(index=2, arguments="{"),)),
    )
    assert decode_event(b" [DONE]") == ()
