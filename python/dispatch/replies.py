"""How an error reads in a client's own dialect: its status, its object, the header fields that SDKs act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.errors import Failure, NoEndpoint, Overloaded, UpstreamError
from dispatch.policy.mask import masked
from dispatch.providers.classify import describe

if TYPE_CHECKING:
    from dispatch.errors import DispatchError
    from dispatch.exchange import Answer, Call
    from dispatch.routing import Refusal

__all__ = ["error_object", "error_parts", "exception_name", "framed", "over_limit", "refused"]

_NS = 1_000_000_000
BREAKER = "breaker"
"""Why a pool refuses whose endpoints are all known to fail (`_core.Refusal.why`)."""

_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
    504: "timeout_error",
}
_ANTHROPIC_KINDS = frozenset((*_ANTHROPIC_TYPES.values(), "invalid_request_error", "api_error", "billing_error"))

_GEMINI_STATUSES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_BARE = {"ollama": "error", "cohere": "message", "bedrock": "message"}
"""Dialects whose error is a text, and its name."""
_BEDROCK_STATUSES = {401: 403, 502: 424, 504: 408}
"""AWS's for errors of our own, where they differ. Its SDKs ask again on their own after 502 and 504, whatever a header says."""
_BEDROCK_NAMES = {
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
    529: "ServiceUnavailableException",
}
_BEDROCK_STREAMED = {
    Failure.RATE_LIMITED: "throttlingException",
    Failure.QUOTA_EXHAUSTED: "throttlingException",
    Failure.OVERLOADED: "serviceUnavailableException",
    Failure.BAD_REQUEST: "validationException",
    Failure.CONTEXT_LENGTH: "validationException",
    Failure.CONTENT_FILTER: "validationException",
}
"""Names of the exceptions of a stream; all others are the model's."""


class _Envelope(msgspec.Struct):
    """What clients look for in an error's body."""

    error: Any = None
    type: Any = None
    """`error` in Anthropic's form."""
    message: Any = None
    """Cohere's whole error."""


def error_object(error: DispatchError, dialect: str) -> dict[str, object]:
    """The error as the client's own dialect says it."""
    fallback = "invalid_request_error" if error.status < 500 else ""
    if dialect == "anthropic":
        kind = _ANTHROPIC_TYPES.get(error.status, fallback or "api_error")
        return {"type": "error", "error": {"type": kind, "message": error.message}}
    if dialect == "gemini":
        return _gemini(error.status, error.message)
    if dialect in _BARE:
        return {_BARE[dialect]: error.message}
    kind = _OPENAI_TYPES.get(error.status, fallback or "server_error")
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}


def _gemini(status: int, message: str) -> dict[str, object]:
    """A `google.rpc.Status`, as Google's REST APIs show it."""
    word = _GEMINI_STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    return {"error": {"code": status, "message": message, "status": word}}


def error_parts(error: DispatchError, dialect: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and header fields. The provider's own error travels with its status where it is the client's to mend."""
    status = _BEDROCK_STATUSES.get(error.status, error.status) if dialect == "bedrock" else error.status
    body = b""
    if isinstance(error, UpstreamError) and error.passes_on:
        assert error.answer is not None
        body = _own_words(error.answer, dialect)
        if body:
            status = error.answer.status
    if not body:
        body = msgspec.json.encode(error_object(error, dialect))
    fields = {"x-should-retry": "true" if error.should_retry else "false"}
    if dialect == "bedrock":
        fields["x-amzn-errortype"] = _bedrock_name(error, status)
    if error.allow:
        fields["allow"] = error.allow
    if error.retry_after_s is not None:
        after_ms = max(1, round(error.retry_after_s * 1000))
        fields["retry-after"] = str(-(-after_ms // 1000))
        fields["retry-after-ms"] = str(after_ms)
    return status, body, fields


def _bedrock_name(error: DispatchError, status: int) -> str:
    """The name by which AWS's SDKs choose an exception: that of Bedrock's own answer, else by the status."""
    answer = error.answer if isinstance(error, UpstreamError) and error.passes_on else None
    own = (answer.header(b"x-amzn-errortype") or b"").partition(b":")[0].rpartition(b"#")[2] if answer is not None else b""
    if own.isalnum():
        return own.decode("ascii")
    return _BEDROCK_NAMES.get(status, "ValidationException" if status < 500 else "InternalServerException")


def exception_name(error: DispatchError) -> str:
    """The name of an exception within one of Bedrock's streams."""
    if isinstance(error, UpstreamError):
        return _BEDROCK_STREAMED.get(error.failure, "modelStreamErrorException")
    if error.status == 429:
        return "throttlingException"
    return "validationException" if error.status < 500 else "modelStreamErrorException"


def _own_words(answer: Answer, dialect: str) -> bytes:
    """A provider's error object as it is; in the client's form if it has another; nothing if it says nothing, as a page of HTML does."""
    body = masked(answer.body)
    try:
        found = msgspec.json.decode(body, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _Envelope()
    # Cohere's and Bedrock's look the same.
    if _form(found) == dialect or (dialect == "bedrock" and isinstance(found.message, str)):
        return body
    fault = describe(body)
    if not fault.message:
        return b""
    if dialect == "anthropic":
        known = fault.kind if fault.kind in _ANTHROPIC_KINDS else ""
        kind = _ANTHROPIC_TYPES.get(answer.status) or known or ("invalid_request_error" if answer.status < 500 else "api_error")
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": fault.message}})
    if dialect == "gemini":
        return msgspec.json.encode(_gemini(answer.status, fault.message))
    if dialect in _BARE:
        return msgspec.json.encode({_BARE[dialect]: fault.message})
    kind = fault.kind or _OPENAI_TYPES.get(answer.status) or ("invalid_request_error" if answer.status < 500 else "server_error")
    error = {"message": fault.message, "type": kind, "param": fault.param or None, "code": fault.code or None}
    return msgspec.json.encode({"error": error})


def _form(found: _Envelope) -> str:
    """Whose error object it is."""
    if not isinstance(found.error, dict):
        return "ollama" if isinstance(found.error, str) else "cohere" if isinstance(found.message, str) else ""
    if found.type == "error":
        return "anthropic"
    return "gemini" if isinstance(found.error.get("status"), str) else "openai"


def framed(event: bytes, chunked: bool) -> bytes:
    """An event of ours as the client's framing wants it."""
    return b"%x\r\n%b\r\n" % (len(event), event) if chunked else event


def refused(pool: str, refusal: Refusal) -> DispatchError:
    """What a client is told when no endpoint may take its request now."""
    after_ns = refusal.retry_after_ns
    error: DispatchError
    if after_ns < 0:
        error = NoEndpoint(f"no endpoint of {pool!r} can take the request: {refusal.why}")
    elif refusal.why == BREAKER:
        error = NoEndpoint(f"every endpoint of {pool!r} is out of order", retry_after_s=after_ns / _NS)
    else:
        error = Overloaded(f"every endpoint of {pool!r} is at its limit: {refusal.why}", retry_after_s=after_ns / _NS)
    error.refusal = refusal
    return error


def over_limit(call: Call, refusal: Refusal) -> DispatchError:
    """What a client is told whose key or model is at its limit."""
    after_s = None if refusal.retry_after_ns < 0 else refusal.retry_after_ns / _NS
    whose = f"key {call.key!r}" if refusal.whose == "key" else f"model {call.model!r}"
    error = Overloaded(f"{whose} is at its limit: {refusal.why}", retry_after_s=after_s)
    error.refusal = refusal
    return error
