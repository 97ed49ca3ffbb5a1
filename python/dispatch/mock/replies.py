"""Heads and error answers, as OpenAI sends them."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from dispatch.mock.http1 import Request
    from dispatch.mock.journal import Entry
    from dispatch.mock.limits import Refusal

__all__ = ["JSON", "Reply", "error", "refusal", "send_json", "shaped"]

JSON: Final = "application/json"
_REASONS: Final = {200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"} | {
    405: "Method Not Allowed",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    529: "Overloaded",
}
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "requests"}


class Reply:
    """Makes the head of the answer to one request.

    Attributes:
        extra: further header lines, each with CRLF.
    """

    __slots__ = ("_came_s", "_entry", "_request", "extra")

    def __init__(self, request: Request, entry: Entry | None) -> None:
        self._request = request
        self._entry = entry
        self._came_s = time.monotonic()
        self.extra = b""

    def head(self, status: int, content_type: str, length: int | None) -> bytes:
        """Write status line and headers; `length` None: a stream, chunked for HTTP/1.1, else until the end."""
        request = self._request
        if length is not None:
            framing = f"content-length: {length}\r\n"
        elif request.minor:
            framing = "transfer-encoding: chunked\r\n"
        else:
            framing, request.keep_alive = "", False
        if not request.keep_alive:
            framing += "connection: close\r\n"
        elif not request.minor:
            framing += "connection: keep-alive\r\n"
        place = f"location: {request.target.decode('latin-1')}\r\n" if status == 307 else ""
        identity = f"x-request-id: {self._entry.request_id}\r\n" if self._entry else ""
        took_ms = int((time.monotonic() - self._came_s) * 1000)
        text = (
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Simulated')}\r\ncontent-type: {content_type}\r\n{framing}{place}{identity}"
            f"openai-processing-ms: {took_ms}\r\n"
        )
        return text.encode("latin-1") + self.extra + b"\r\n"


def error(
    reply: Reply,
    status: int,
    message: str,
    *,
    kind: str = "",
    code: str | None = None,
    param: str | None = None,
    retry_after_s: float | None = None,
) -> bytes:
    """Write a whole error answer with OpenAI's error object."""
    kind = kind or _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    if status == 429 and code is None:
        code = "rate_limit_exceeded"
    body = msgspec.json.encode(
        {"error": {"message": message, "type": code if code == "insufficient_quota" else kind, "param": param, "code": code}}
    )
    return shaped(reply, status, body, retry_after_s=retry_after_s)


def shaped(reply: Reply, status: int, body: bytes, content_type: str = JSON, *, retry_after_s: float | None = None) -> bytes:
    """Write a whole error answer in words of its own."""
    if retry_after_s is not None:
        reply.extra += b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (math.ceil(retry_after_s), math.ceil(retry_after_s * 1000))
    return reply.head(status, content_type, len(body)) + body


def refusal(reply: Reply, refused: Refusal, *, tell: bool) -> bytes:
    """Write the 429 of a limit."""
    if refused.retry_after_s is None and refused.what != "concurrency":
        return error(reply, 429, f"Request too large: it asks for more {refused.what} than the limit.", kind=refused.what)
    message = f"Rate limit reached for {refused.what}."
    return error(reply, 429, message, kind=refused.what, retry_after_s=refused.retry_after_s if tell else None)


def send_json(reply: Reply, value: object) -> bytes:
    """Write a whole 200 answer."""
    body = msgspec.json.encode(value)
    return reply.head(200, JSON, len(body)) + body
