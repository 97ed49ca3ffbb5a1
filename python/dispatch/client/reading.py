"""Answers in OpenAI's chat dialect, read into the library's structs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.errors import DispatchError, Failure, UpstreamError
from dispatch.schema import Delta, Response, ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["deltas", "response"]

_decode = msgspec.json.decode


def response(raw: bytes, endpoint: str, attempts: int) -> Response:
    """A whole answer. Raises `UpstreamError` when it is no chat completion."""
    try:
        reply = _decode(raw)
        choice = reply["choices"][0]
        message = choice["message"]
    except (msgspec.DecodeError, LookupError, TypeError) as error:
        raise UpstreamError("the answer is no chat completion", failure=Failure.MALFORMED, endpoint=endpoint) from error
    return Response(
        text=message.get("content") or "",
        model=reply.get("model") or "",
        id=reply.get("id") or "",
        finish_reason=choice.get("finish_reason") or "",
        reasoning=message.get("reasoning_content") or message.get("reasoning") or "",
        refusal=message.get("refusal") or "",
        tool_calls=_tool_calls(message),
        usage=_usage(reply.get("usage")) or Usage(estimated=True),
        endpoint=endpoint,
        attempts=attempts,
        body=raw,
    )


async def deltas(pieces: AsyncIterator[bytes]) -> AsyncIterator[Delta]:
    """The pieces of a stream, however its bytes are cut. Raises the error that an error event tells."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                for delta in _from_event(line[5:].strip()):
                    yield delta


def _from_event(data: bytes) -> Iterator[Delta]:
    if data == b"[DONE]":
        return
    event = _decode(data)
    if "error" in event:
        error = event["error"]
        message = error.get("message", "") if isinstance(error, dict) else str(error)
        raise DispatchError(
            message or "the stream broke", code=str((error or {}).get("code") or "upstream_error") if isinstance(error, dict) else ""
        )
    for choice in event.get("choices") or ():
        part = choice.get("delta") or {}
        yield Delta(
            text=part.get("content") or "",
            reasoning=part.get("reasoning_content") or part.get("reasoning") or "",
            tool_calls=_tool_calls(part),
            index=choice.get("index", 0),
            finish_reason=choice.get("finish_reason") or "",
        )
    usage = _usage(event.get("usage"))
    if usage is not None:
        yield Delta(usage=usage)


def _tool_calls(message: dict[str, Any]) -> tuple[ToolCall, ...]:
    calls = message.get("tool_calls") or ()
    return tuple(
        ToolCall(
            index=call.get("index", at),
            id=call.get("id") or "",
            name=(call.get("function") or {}).get("name") or "",
            arguments=(call.get("function") or {}).get("arguments") or "",
        )
        for at, call in enumerate(calls)
    )


def _usage(raw: dict[str, Any] | None) -> Usage | None:
    if not raw:
        return None
    return Usage(
        input_tokens=raw.get("prompt_tokens") or 0,
        output_tokens=raw.get("completion_tokens") or 0,
        cached_tokens=(raw.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        reasoning_tokens=(raw.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
    )
