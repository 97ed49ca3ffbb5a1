"""Error answers as providers word them: what each of `faults.ANSWERS` sends, with the shapes of public reports and recorded traffic."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from dispatch.mock.faults import Fault

__all__ = ["BAD_EVENT", "HTML", "UNAVAILABLE_EVENT", "Shape", "shape_of"]

JSON: Final = "application/json"
HTML: Final = b"<!doctype html><html><head><title>Gateway</title></head><body><h1>The service is unavailable</h1></body></html>"


class Shape(Struct, frozen=True):
    """One error answer."""

    status: int
    body: bytes
    content_type: str = JSON
    waits: bool = False
    """Tells Retry-After."""


def _openai(message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def _filtered() -> bytes:
    safe: dict[str, Any] = {"filtered": False, "severity": "safe"}
    result = {"hate": safe, "self_harm": safe, "sexual": safe, "violence": {"filtered": True, "severity": "medium"}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": result}
    text = "The response was filtered due to the prompt triggering the content management policy."
    return msgspec.json.encode(
        {"error": {"message": text, "type": None, "param": "prompt", "code": "content_filter", "status": 400, "innererror": inner}}
    )


_TOO_LONG = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
BAD_EVENT: Final = _openai("The server had an error while processing your request", "server_error", None)
UNAVAILABLE_EVENT: Final = b'{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}'

_SHAPES: Final = {
    Fault.RATE_LIMIT: Shape(429, _openai("Rate limit reached for requests.", "requests", "rate_limit_exceeded"), waits=True),
    Fault.QUOTA: Shape(429, _openai("You exceeded your current quota.", "insufficient_quota", "insufficient_quota")),
    Fault.SERVER_ERROR: Shape(500, BAD_EVENT),
    Fault.BAD_GATEWAY: Shape(502, HTML, "text/html"),
    Fault.UNAVAILABLE: Shape(503, _openai("The service is unavailable.", "server_error", None)),
    Fault.OVERLOADED: Shape(529, b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_mock"}'),
    Fault.BAD_KEY: Shape(401, _openai("Incorrect API key provided.", "invalid_request_error", "invalid_api_key")),
    Fault.CONTEXT_LENGTH: Shape(400, _openai(_TOO_LONG, "invalid_request_error", "context_length_exceeded", "messages")),
    Fault.CONTENT_FILTER: Shape(400, _filtered()),
}


def shape_of(fault: Fault) -> Shape:
    """Give what a fault of `faults.ANSWERS` sends."""
    return _SHAPES[fault]
