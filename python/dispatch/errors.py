"""Errors, and the one failure taxonomy that retry, fallback, breaker, ledger and metrics share.

The tree answers "what can the caller do now?"; where an error came from is a field. CONTRACT: section 10.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatch.exchange import Answer
    from dispatch.routing import Refusal

__all__ = [
    "BadRequest",
    "ConfigError",
    "DeadlineExceeded",
    "DispatchError",
    "Draining",
    "Failure",
    "InvalidKey",
    "ModelNotAllowed",
    "ModelNotFound",
    "NoEndpoint",
    "Overloaded",
    "PlanFailed",
    "UpstreamError",
]


class Failure(IntEnum):
    """How an attempt ended. The numbers are the core's (`rust/src/health/mod.rs`) and the names are the metrics' labels."""

    NONE = 0
    """A whole answer."""
    CANCELLED = 1
    """The client left, or the answer was not needed any more."""
    CONNECT = 2
    """No connection: nothing was sent."""
    UNKNOWN_EXECUTION = 3
    """Sent, and the connection ended without an answer byte: it may have been executed and billed."""
    FIRST_TOKEN_TIMEOUT = 4
    STALLED = 5
    RATE_LIMITED = 6
    QUOTA_EXHAUSTED = 7
    SERVER = 8
    """Any 5xx that is not named otherwise."""
    OVERLOADED = 9
    """503 or 529: the provider asks for less."""
    CREDENTIAL = 10
    """401, 402, 403 of our credential."""
    BAD_REQUEST = 11
    """The request itself is at fault: 400, 404, 409, 413, 422."""
    CONTEXT_LENGTH = 12
    CONTENT_FILTER = 13
    MALFORMED = 14
    """An answer that is not what its status and type promise: broken JSON, HTML, empty body, redirect, unknown coding."""
    BROKEN = 15
    """The answer stopped in the middle."""
    DEADLINE = 16
    TOO_LARGE = 17
    """The answer is longer than `max_answer_bytes`."""
    SLOW = 18
    """A stream below the model's `min_speed`."""


class ConfigError(Exception):
    """A configuration that is refused.

    Attributes:
        path: the key, in the form `endpoints[2].limits.concurrency`; empty for the file itself.
        reason: what was found and what is expected.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}" if path else reason)


class DispatchError(Exception):
    """A request that has no answer.

    Attributes:
        status: the HTTP status that says so.
        code: the machine-readable name, CONTRACT section 10.
        param: the field at fault, if one is.
        retry_after_s: when to come back; None where waiting cannot help or nothing is known.
        should_retry: what `x-should-retry` says to an SDK.
        allow: the methods that a path takes, where another one was used.
        refusal: of the core, where nothing was sent because there was no place.
    """

    status = 500
    code = "internal_error"
    should_retry = False
    allow = ""
    refusal: Refusal | None = None

    def __init__(self, message: str, *, code: str = "", param: str | None = None, retry_after_s: float | None = None) -> None:
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        if code:
            self.code = code
        super().__init__(message)


class BadRequest(DispatchError):
    """The request cannot be served as it is; nothing was sent. `status` and `code` tell which rule it breaks."""

    status = 400
    code = "invalid_request"

    def __init__(self, message: str, *, code: str = "", status: int = 400, param: str | None = None) -> None:
        super().__init__(message, code=code, param=param)
        self.status = status


class InvalidKey(DispatchError):
    """No key, or one that is not known."""

    status = 401
    code = "invalid_api_key"


class ModelNotAllowed(DispatchError):
    """The key may not use this model."""

    status = 403
    code = "model_not_allowed"


class ModelNotFound(DispatchError):
    """No such model is configured."""

    status = 404
    code = "model_not_found"


class Overloaded(DispatchError):
    """No place is free now, and waiting helps. Nothing was sent."""

    status = 429
    code = "rate_limit_exceeded"
    should_retry = True


class UpstreamError(DispatchError):
    """Every attempt that was allowed failed.

    Attributes:
        failure: how the last attempt ended.
        endpoint: where.
        upstream_status: the provider's status, 0 if there was none.
        answer: the provider's own answer, if one came.
        is_clients: what the provider refused came from the client: its own key, or a model's name that is passed on.
        may_fall_back: whether the next step of a fallback may be asked.
    """

    status = 502
    code = "upstream_error"

    def __init__(
        self,
        message: str,
        *,
        failure: Failure,
        endpoint: str,
        upstream_status: int = 0,
        retry_after_s: float | None = None,
        code: str = "",
    ) -> None:
        super().__init__(message, code=code, retry_after_s=retry_after_s)
        self.failure = failure
        self.endpoint = endpoint
        self.upstream_status = upstream_status
        self.answer: Answer | None = None
        self.is_clients = False
        self.may_fall_back = False

    @property
    def passes_on(self) -> bool:
        """Whether the client gets the provider's own status and words. Not for a refusal of what we sent: ours to mend."""
        answer = self.answer
        if answer is None or answer.status < 400:
            return False
        return self.is_clients or self.failure is not Failure.CREDENTIAL


class PlanFailed(DispatchError):
    """A plan over several models made no answer: of those that it had, or within its budget."""

    status = 502
    code = "upstream_error"


class NoEndpoint(DispatchError):
    """No endpoint can take the request, and waiting is not known to help. Nothing was sent."""

    status = 503
    code = "no_endpoint_available"


class Draining(DispatchError):
    """This process is stopping and takes no new requests."""

    status = 503
    code = "draining"
    should_retry = True


class DeadlineExceeded(DispatchError):
    """The deadline passed before an answer was whole."""

    status = 504
    code = "deadline_exceeded"
