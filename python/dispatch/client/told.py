"""Errors as a sidecar tells them, turned back into the classes that say what can be done (CONTRACT section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.errors import (
    BadRequest,
    DeadlineExceeded,
    DispatchError,
    Draining,
    Failure,
    InvalidKey,
    ModelNotAllowed,
    ModelNotFound,
    NoEndpoint,
    Overloaded,
    UpstreamError,
)
from dispatch.providers.classify import classify

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["from_answer", "from_event"]

# What no provider says: these are the sidecar's own, wherever the request had been.
_OWN: dict[str, type[DispatchError]] = {
    "deadline_exceeded": DeadlineExceeded,
    "draining": Draining,
    "no_endpoint_available": NoEndpoint,
}
# These are its own if no endpoint was asked.
_REFUSALS: dict[str, type[DispatchError]] = {
    **_OWN,
    "invalid_api_key": InvalidKey,
    "model_not_allowed": ModelNotAllowed,
    "model_not_found": ModelNotFound,
    "queue_full": Overloaded,
    "rate_limit_exceeded": Overloaded,
}


def from_answer(status: int, headers: Mapping[str, str], raw: bytes) -> DispatchError:
    """Read an error answer of a sidecar, or of whatever stands at its address."""
    told = _error_object(raw) or {"message": raw[:300].decode("utf-8", "replace") or f"status {status}"}
    message, code = _text(told, "message"), _text(told, "code")
    endpoint = headers.get("x-dispatch-endpoint", "")
    after = headers.get("retry-after-ms", "")
    after_s = int(after) / 1000 if after.isdigit() else None
    kind = (_OWN if endpoint else _REFUSALS).get(code)
    error: DispatchError
    if kind is not None:
        error = kind(message, code=code, param=told.get("param"), retry_after_s=after_s)
    elif endpoint or status >= 500:
        own = code == UpstreamError.code
        error = UpstreamError(
            message,
            failure=classify(status, headers.get("content-type", "").encode(), raw),
            endpoint=endpoint,
            upstream_status=0 if own else status,
            retry_after_s=after_s,
        )
    else:
        error = BadRequest(message, code=code, status=status, param=told.get("param"))
    error.should_retry = headers.get("x-should-retry") == "true"
    return error


def from_event(data: bytes) -> DispatchError | None:
    """Read an event of a stream that may be an error; None if it is not."""
    told = _error_object(data)
    if told is None:
        return None
    message, code = _text(told, "message") or "the stream broke", _text(told, "code")
    kind = _OWN.get(code)
    if kind is not None:
        return kind(message, code=code)
    failure = classify(200, b"application/json", data)
    # The sidecar's own words for a stream that stopped say nothing about why.
    return UpstreamError(message, failure=Failure.BROKEN if code == UpstreamError.code else failure, endpoint="")


def _error_object(raw: bytes) -> dict[str, Any] | None:
    try:
        tree = msgspec.json.decode(raw)
    except ValueError:
        return None
    error = tree.get("error") if isinstance(tree, dict) else None
    if isinstance(error, str) and error:
        return {"message": error}
    return error if isinstance(error, dict) else None


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    return "" if value is None else str(value)
