"""What a response of OpenAI's Responses API says: read from recordings, and from what the official SDK makes of ours."""

from __future__ import annotations

import json
from typing import Any

from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.contract.facts import Facts, arguments, data_of

__all__ = ["responses_sdk", "said_in_responses"]

ENDS = {"max_output_tokens": "length", "content_filter": "filter"}
_EVENTS: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


def said_in_responses(body: bytes, stream: bool) -> Facts:
    """Of the response as its last event tells it whole: what was told in pieces must come to the same."""
    tree = json.loads(body) if not stream else data_of(body)[-1]["response"]
    return facts_of(tree)


def facts_of(tree: dict[str, Any]) -> Facts:
    facts = Facts()
    for item in tree["output"]:
        if item["type"] == "message":
            facts.text += "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])
        elif item["type"] == "reasoning":
            facts.thinking += "\n\n".join(part["text"] for part in item.get("summary") or ())
            facts.thinking += "".join(part["text"] for part in item.get("content") or ())
        elif item["type"] in {"function_call", "custom_tool_call"}:
            facts.tools.append((item["name"], arguments(item.get("arguments") or item.get("input") or "")))
    reason = (tree.get("incomplete_details") or {}).get("reason") if tree["status"] == "incomplete" else None
    facts.finish = ENDS.get(reason or "", "tool" if facts.tools else "stop")
    usage = tree.get("usage") or {}
    cached = (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0
    facts.usage = (usage.get("input_tokens") or 0, usage.get("output_tokens") or 0, cached)
    return facts


def responses_sdk(body: bytes, stream: bool) -> Facts:
    """Read what we wrote with the SDK: each event by its own type, numbered without a gap, and its pieces the same as the whole."""
    if not stream:
        return facts_of(Response.model_validate_json(body).model_dump())
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=[], text_format=omit)
    last: Any = None
    pieces: dict[str, str] = {}
    for number, data in enumerate(data_of(body)):
        last = _EVENTS.validate_python(data)
        assert last.type == data["type"]
        assert data["sequence_number"] == number
        if last.type.endswith(".delta"):
            kind = last.type.removeprefix("response.").removesuffix(".delta")
            pieces[kind] = pieces.get(kind, "") + last.delta
        state.handle_event(last)
    assert last.type in {"response.completed", "response.incomplete"}
    facts = facts_of(Response.model_validate(last.response.model_dump()).model_dump())
    assert pieces.get("output_text", "") + pieces.get("refusal", "") == facts.text
    assert pieces.get("reasoning_summary_text", "") == facts.thinking
    return facts
