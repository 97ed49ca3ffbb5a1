"""Answers that this process makes itself, as bytes: pages, errors, comments and error events of streams."""

from __future__ import annotations

from http import HTTPStatus
from time import gmtime, strftime
from typing import TYPE_CHECKING

import msgspec

from dispatch.links import endpoint_lines
from dispatch.replies import error_object, error_parts, exception_name, framed
from dispatch.server.frames import exception_frame

if TYPE_CHECKING:
    from dispatch.errors import DispatchError
    from dispatch.exchange import Call

__all__ = ["CONTINUE", "STATUS_LINES", "comment", "error_answer", "error_event", "late_notes", "page", "stream_head"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


STATUS_LINES = {status: f"HTTP/1.1 {status} {_reason(status)}\r\n".encode() for status in range(200, 600)}


def page(
    status: int, body: bytes, *, content_type: bytes = b"application/json", extra: bytes = b"", keep: bool = True, head_only: bool = False
) -> bytes:
    """A whole answer with a body of known length. `extra` are header lines with their CRLF."""
    end = b"" if keep else b"connection: close\r\n"
    if status == 204:
        # RFC 9110 section 8.6: no length where there can be no body.
        return b"%b%b%b\r\n" % (STATUS_LINES[status], extra, end)
    return b"%bcontent-type: %b\r\n%bcontent-length: %d\r\n%b\r\n%b" % (
        STATUS_LINES[status],
        content_type,
        extra,
        len(body),
        end,
        b"" if head_only else body,
    )


def comment(text: bytes, call: Call, dialect: str) -> bytes:
    """A server-sent comment, which every client skips; where lines are events, one that says nothing."""
    if dialect != "ollama":
        return framed(b": " + text + b"\n\n", call.chunked)
    inside: dict[str, object] = {"response": ""} if call.door == "ollama_generate" else {"message": {"role": "assistant", "content": ""}}
    created_at = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
    return framed(msgspec.json.encode({"model": call.model, "created_at": created_at, **inside, "done": False}) + b"\n", call.chunked)


def stream_head(call: Call, own: bytes, dialect: str) -> bytes:
    """The head of a stream; `own` are the lines that the connection adds."""
    answer = call.answer
    if answer is None:
        kind = b"application/x-ndjson" if dialect == "ollama" else b"text/event-stream; charset=utf-8"
        status, lines = 200, b"content-type: %b\r\n" % kind
    else:
        status, lines = answer.status, answer.head
    return (
        b"%b%b%bcache-control: no-cache\r\nx-dispatch-endpoint: %b\r\nx-dispatch-attempts: %d\r\nx-dispatch-overhead-us: %d\r\n%b%b\r\n"
        % (
            STATUS_LINES[status],
            lines,
            call.request_id + call.notes,
            call.endpoint.encode(),
            call.attempts,
            call.overhead_ns // 1000,
            b"transfer-encoding: chunked\r\n" if call.chunked else b"",
            own,
        )
    )


def late_notes(call: Call, dialect: str) -> bytes:
    """What a head that left early could not say, as comments; where lines are events, nothing, for there is no place for it."""
    if dialect == "ollama":
        return b""
    lines = b"%b%bx-dispatch-overhead-us: %d\r\n" % (call.notes, endpoint_lines(call.endpoint, call.attempts), call.overhead_ns // 1000)
    return framed(b"".join(b": %b\n" % line for line in lines.splitlines()) + b"\n", call.chunked)


def error_event(error: DispatchError, dialect: str, chunked: bool) -> bytes:
    """The error as the last event of a stream; no terminator follows it."""
    found = error_object(error, dialect)
    if dialect == "bedrock":
        return framed(exception_frame(exception_name(error), msgspec.json.encode(found)), chunked)
    if dialect == "gemini_array":
        return framed(b",\r\n" + msgspec.json.encode(error_object(error, "gemini")) + b"]", chunked)
    if dialect == "ollama":
        return framed(msgspec.json.encode(found) + b"\n", chunked)
    if dialect == "cohere":
        found = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": error.message}}
    data = b"data: " + msgspec.json.encode(found) + b"\n\n"
    return framed(b"event: error\n" + data if dialect == "anthropic" else data, chunked)


def error_answer(error: DispatchError, dialect: str, call: Call | None, *, keep: bool, head_only: bool = False) -> bytes:
    """A whole error answer, with what happened on the way to it."""
    status, body, fields = error_parts(error, dialect)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
    if call is not None:
        lines += b"%bx-dispatch-attempts: %d\r\n" % (call.request_id + call.notes, call.attempts)
        if call.endpoint:
            lines += b"x-dispatch-endpoint: %b\r\n" % call.endpoint.encode()
    return page(status, body, extra=lines, keep=keep, head_only=head_only)
