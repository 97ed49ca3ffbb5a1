"""What `echo` says, in the forms of OpenAI's chat, completions, embeddings and responses APIs.

Vectors are digests of their text: the same request has the same answer.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.providers.echo_request import first_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dispatch.providers.echo_request import Ask

__all__ = ["ANSWERS", "STREAMS"]

_DIMENSIONS = 8
_DIMENSIONS_MAX = 4_096


def _usage(ask: Ask) -> dict[str, Any]:
    made = sum(len(words) for words, _ in ask.choices())
    return {
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": made,
        "total_tokens": ask.input_tokens + made,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _envelope(ask: Ask, prefix: str, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": f"{prefix}-{ask.id}", "object": kind, "created": ask.now_s, "model": ask.model, "choices": choices}


def _chat(ask: Ask) -> dict[str, Any]:
    choices = [
        {
            "index": place,
            "message": {"role": "assistant", "content": "".join(words), "refusal": None},
            "logprobs": None,
            "finish_reason": end,
        }
        for place, (words, end) in enumerate(ask.choices())
    ]
    return _envelope(ask, "chatcmpl", "chat.completion", choices) | {"usage": _usage(ask)}


def _completions(ask: Ask) -> dict[str, Any]:
    choices = [
        {"index": place, "text": "".join(words), "logprobs": None, "finish_reason": end} for place, (words, end) in enumerate(ask.choices())
    ]
    return _envelope(ask, "cmpl", "text_completion", choices) | {"usage": _usage(ask)}


def _embeddings(ask: Ask) -> dict[str, Any]:
    dimensions = min(first_count(ask.body, "dimensions") or _DIMENSIONS, _DIMENSIONS_MAX)
    as_base64 = ask.body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": place, "embedding": _packed(vector) if as_base64 else vector}
        for place, vector in enumerate(_vector(text, dimensions) for text in ask.texts)
    ]
    usage = {"prompt_tokens": ask.input_tokens, "total_tokens": ask.input_tokens}
    return {"object": "list", "data": data, "model": ask.model, "usage": usage}


def _vector(text: str, dimensions: int) -> list[float]:
    """Return a unit vector that is a digest of the text."""
    raw = hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(2 * dimensions)
    # Odd numbers only: never a zero vector.
    numbers = [(2 * one + 1 - 65_536) / 65_536 for (one,) in struct.iter_unpack("<H", raw)]
    length = math.sqrt(sum(one * one for one in numbers))
    return [round(one / length, 7) for one in numbers]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _responses(ask: Ask) -> dict[str, Any]:
    words, end = ask.choices()[0]
    return _response(ask, "completed" if end == "stop" else "incomplete", [_item(ask, "".join(words), "completed")])


def _response(ask: Ask, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    usage = None
    if status != "in_progress":
        made = sum(len(words) for words, _ in ask.choices()[:1])
        usage = {
            "input_tokens": ask.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": ask.input_tokens + made,
        }
    return {
        "id": f"resp_{ask.id}",
        "object": "response",
        "created_at": ask.now_s,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": ask.body.get("instructions"),
        "metadata": ask.body.get("metadata") or {},
        "model": ask.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": ask.body.get("temperature"),
        "tool_choice": "auto",
        "tools": ask.body.get("tools") or [],
        "top_p": ask.body.get("top_p"),
        "usage": usage,
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def _item(ask: Ask, text: str | None, status: str) -> dict[str, Any]:
    content = [] if text is None else [_part(text)]
    return {"id": f"msg_{ask.id}", "type": "message", "role": "assistant", "status": status, "content": content}


def _event(data: object, name: str = "") -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return b"%sdata: %s\n\n" % (head, msgspec.json.encode(data))


def _stream_choices(
    ask: Ask, frame: Callable[[list[dict[str, Any]]], dict[str, Any]], piece: Callable[[str], dict[str, Any]]
) -> Iterator[bytes]:
    """Stream words of all choices by turns, then their ends, then the usage if it is asked for, then the terminator."""
    extra: dict[str, Any] = {"usage": None} if ask.include_usage else {}
    choices = ask.choices()
    for turn in range(max(len(words) for words, _ in choices)):
        for place, (words, _) in enumerate(choices):
            if turn < len(words):
                yield _event(frame([{"index": place, **piece(words[turn]), "logprobs": None, "finish_reason": None}]) | extra)
    for place, (_, end) in enumerate(choices):
        yield _event(frame([{"index": place, **piece(""), "logprobs": None, "finish_reason": end}]) | extra)
    if ask.include_usage:
        yield _event(frame([]) | {"usage": _usage(ask)})
    yield b"data: [DONE]\n\n"


def _stream_chat(ask: Ask) -> Iterator[bytes]:
    def frame(choices: list[dict[str, Any]]) -> dict[str, Any]:
        return _envelope(ask, "chatcmpl", "chat.completion.chunk", choices)

    extra: dict[str, Any] = {"usage": None} if ask.include_usage else {}
    for place in range(len(ask.choices())):
        role = {"role": "assistant", "content": "", "refusal": None}
        yield _event(frame([{"index": place, "delta": role, "logprobs": None, "finish_reason": None}]) | extra)
    yield from _stream_choices(ask, frame, lambda word: {"delta": {"content": word} if word else {}})


def _stream_completions(ask: Ask) -> Iterator[bytes]:
    def frame(choices: list[dict[str, Any]]) -> dict[str, Any]:
        return _envelope(ask, "cmpl", "text_completion", choices)

    yield from _stream_choices(ask, frame, lambda word: {"text": word})


def _stream_responses(ask: Ask) -> Iterator[bytes]:
    for number, (name, fields) in enumerate(_response_events(ask)):
        yield _event({"type": name, "sequence_number": number, **fields}, name)


def _response_events(ask: Ask) -> Iterator[tuple[str, dict[str, Any]]]:
    words, end = ask.choices()[0]
    text = "".join(words)
    item = {"output_index": 0}
    part = {"item_id": f"msg_{ask.id}", "output_index": 0, "content_index": 0}
    yield "response.created", {"response": _response(ask, "in_progress", [])}
    yield "response.in_progress", {"response": _response(ask, "in_progress", [])}
    yield "response.output_item.added", {**item, "item": _item(ask, None, "in_progress")}
    yield "response.content_part.added", {**part, "part": _part("")}
    for word in words:
        yield "response.output_text.delta", {**part, "delta": word, "logprobs": []}
    yield "response.output_text.done", {**part, "text": text, "logprobs": []}
    yield "response.content_part.done", {**part, "part": _part(text)}
    yield "response.output_item.done", {**item, "item": _item(ask, text, "completed")}
    name, status = ("response.completed", "completed") if end == "stop" else ("response.incomplete", "incomplete")
    yield name, {"response": _response(ask, status, [_item(ask, text, "completed")])}


ANSWERS: Mapping[str, Callable[[Ask], dict[str, Any]]] = {
    "chat": _chat,
    "completions": _completions,
    "embeddings": _embeddings,
    "responses": _responses,
}
STREAMS: Mapping[str, Callable[[Ask], Iterable[bytes]]] = {
    "chat": _stream_chat,
    "completions": _stream_completions,
    "responses": _stream_responses,
}
