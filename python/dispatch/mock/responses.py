"""The responses door (https://platform.openai.com/docs/api-reference/responses and /responses-streaming)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.mock.script import Script

if TYPE_CHECKING:
    from dispatch.mock.ask import Ask
    from dispatch.mock.content import Content

__all__ = ["responses_script", "responses_whole"]


class _Numbered(Script):
    """Deltas of this door carry a sequence number, behind the text."""

    __slots__ = ("first",)
    first: int

    def delta(self, index: int) -> bytes:
        return b'%b%b","sequence_number":%d}\n\n' % (self._prefixes[0], self._pieces[index], self.first + index)


def _item(content: Content, identity: str, *, whole: bool) -> dict[str, Any]:
    text = msgspec.json.decode(content.quoted) if whole else ""
    status = ("incomplete" if content.finish == "length" else "completed") if whole else "in_progress"
    if content.tool:
        call = {"type": "function_call", "id": f"fc_{identity}", "call_id": f"call_{identity[-24:]}", "name": content.tool}
        return {**call, "arguments": text, "status": status}
    parts = [_part(text)] if whole else []
    return {"type": "message", "id": f"msg_{identity}", "status": status, "role": "assistant", "content": parts}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _response(ask: Ask, content: Content, identity: str, cached_share: float, *, whole: bool) -> dict[str, Any]:
    is_cut = whole and content.finish == "length"
    cached = int(ask.tokens_in * cached_share)
    numbers = {
        "input_tokens": ask.tokens_in,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": content.tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": ask.tokens_in + content.tokens,
    }
    return {
        "id": f"resp_{identity}",
        "object": "response",
        "created_at": int(time.time()),
        "status": ("incomplete" if is_cut else "completed") if whole else "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": None,
        "max_output_tokens": ask.max_tokens or None,
        "model": ask.model,
        "output": [_item(content, identity, whole=True)] if whole else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": numbers if whole else None,
        "metadata": {},
    }


def responses_whole(ask: Ask, content: Content, identity: str, cached_share: float) -> bytes:
    """Write a response object."""
    return msgspec.json.encode(_response(ask, content, identity, cached_share, whole=True))


def _event(kind: str, number: int, **fields: object) -> bytes:
    data = msgspec.json.encode({"type": kind, **fields, "sequence_number": number})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def responses_script(ask: Ask, content: Content, identity: str, cached_share: float) -> Script:
    """Write the events of a response; this dialect has no `[DONE]`."""
    item = _item(content, identity, whole=False)
    started = _response(ask, content, identity, cached_share, whole=False)
    opening = [
        _event("response.created", 0, response=started),
        _event("response.in_progress", 1, response=started),
        _event("response.output_item.added", 2, output_index=0, item=item),
    ]
    place: dict[str, Any] = {"item_id": item["id"], "output_index": 0}
    kind = "response.function_call_arguments.delta"
    if not content.tool:
        kind = "response.output_text.delta"
        place["content_index"] = 0
        opening.append(_event("response.content_part.added", 3, **place, part=_part("")))
    prefix = b'event: %b\ndata: {"type":"%b",%b,"delta":"' % (kind.encode(), kind.encode(), msgspec.json.encode(place)[1:-1])
    script = _Numbered(opening=b"".join(opening), prefixes=(prefix,), pieces=content.pieces, suffix=b"", tokens=content.tokens)
    script.first = len(opening)
    script.finish = _finish(ask, content, identity, cached_share, place, len(opening) + script.count)
    script.done = b""
    return script


def _finish(ask: Ask, content: Content, identity: str, cached_share: float, place: dict[str, Any], number: int) -> bytes:
    text = msgspec.json.decode(content.quoted)
    if content.tool:
        ends = [("response.function_call_arguments.done", {**place, "name": content.tool, "arguments": text})]
    else:
        ends = [
            ("response.output_text.done", {**place, "text": text, "logprobs": []}),
            ("response.content_part.done", {**place, "part": _part(text)}),
        ]
    ends.append(("response.output_item.done", {"output_index": 0, "item": _item(content, identity, whole=True)}))
    response = _response(ask, content, identity, cached_share, whole=True)
    ends.append((f"response.{response['status']}", {"response": response}))
    return b"".join(_event(kind, number + index, **fields) for index, (kind, fields) in enumerate(ends))
