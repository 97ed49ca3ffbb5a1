"""What an answer that is no success means, by its status, its type and the shape of its body.

Providers agree on statuses only roughly: 429 may be a rate limit (wait) or an empty purse (do not), 400 may be a prompt that is too
long for this model (another may take it) or a filter's veto (none should be asked), and gateways in front of them answer in HTML.
The shapes are those of recorded traffic and public reports. Pure, and safe on any bytes.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from dispatch.errors import Failure

__all__ = ["Fault", "classify", "describe"]

_BODY_MAX = 256 * 1024
"""An error that is longer than this is not an error object, and not worth a tree."""


class Fault(Struct, frozen=True, kw_only=True):
    """What an error body says, in whichever of the known envelopes."""

    message: str = ""
    code: str = ""
    """The machine-readable name; digits where the provider numbers its errors."""
    kind: str = ""
    """OpenAI's and Anthropic's `type`, Google's `status`."""
    param: str = ""


_QUOTA = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance", "credit_balance_too_low"}
)
_FILTER = frozenset({"content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked", "moderation"})
_LENGTH = frozenset({"context_length_exceeded", "exceed_context_size_error"})
# These name our side of the bargain: the operator wrote the model's name, another endpoint knows its own.
_NO_MODEL = frozenset({"model_not_found", "deploymentnotfound", "model_decommissioned"})

_KINDS = {
    "overloaded_error": Failure.OVERLOADED,
    "overloaded": Failure.OVERLOADED,
    "unavailable": Failure.OVERLOADED,
    "rate_limit_error": Failure.RATE_LIMITED,
    "rate_limit_exceeded": Failure.RATE_LIMITED,
    "rate_limited": Failure.RATE_LIMITED,
    "resource_exhausted": Failure.RATE_LIMITED,
    "too_many_requests": Failure.RATE_LIMITED,
    "authentication_error": Failure.CREDENTIAL,
    "permission_error": Failure.CREDENTIAL,
    "permission_denied": Failure.CREDENTIAL,
    "unauthenticated": Failure.CREDENTIAL,
    "invalid_api_key": Failure.CREDENTIAL,
    "invalid_request_error": Failure.BAD_REQUEST,
    "invalid_argument": Failure.BAD_REQUEST,
    "not_found_error": Failure.BAD_REQUEST,
}
"""For errors under status 200 (inside a stream, or as OpenRouter does), where the status says nothing."""

# Words are the last resort: vLLM, Anthropic, Mistral and Ollama tell a prompt that is too long from a wrong field by its text only.
_LENGTH_TEXT = re.compile(
    r"context (length|window|size)|maximum (context|input|prompt) (length|tokens)|prompt is too long|too many (input )?tokens"
    r"|input (is too long|length exceeds|token count)|exceeds? the (maximum|model'?s|available) (context|number of tokens|input)",
    re.IGNORECASE,
)
_FILTER_TEXT = re.compile(r"content (management|filtering) policy|filtered due to the prompt|input was flagged", re.IGNORECASE)
_QUOTA_TEXT = re.compile(
    r"exceeded your current quota|credit balance is too low|check your plan and billing|insufficient (balance|credits)", re.IGNORECASE
)
# A single request above the whole minute's allowance: no wait makes it pass here.
_NEVER_FITS_TEXT = re.compile(r"request too large", re.IGNORECASE)


def classify(status: int, content_type: bytes, body: bytes) -> Failure:
    """Name an answer's failure.

    Args:
        status: the final status; 200 with the `data` of an error event classifies an error inside a stream.
        content_type: the field's value, empty if there was none.
        body: the whole body, decoded from any content coding.
    """
    if status < 200 or 300 <= status < 400:
        # A redirect is never followed: it would carry the credential elsewhere.
        return Failure.MALFORMED
    if status >= 500:
        return _of_server(status, describe(body))
    if b"html" in content_type.lower():
        return _of_page(status)
    fault = describe(body)
    if status < 300:
        return _of_success(fault, content_type, body)
    return _of_request(status, fault)


def describe(body: bytes) -> Fault:
    """Read an error body in the envelopes of OpenAI, Anthropic, Google, Mistral, FastAPI and plain text; never raises."""
    if len(body) > _BODY_MAX:
        return Fault()
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body[:2_000].decode("utf-8", "replace").strip()
        # A page of HTML says nothing that a client can read.
        return Fault() if text.startswith("<") else Fault(message=text)
    # Google wraps streamed errors into a list of one.
    if isinstance(tree, list) and tree:
        tree = tree[0]
    return _fault(tree) if isinstance(tree, dict) else Fault(message=tree if isinstance(tree, str) else "")


def _fault(tree: dict[str, Any]) -> Fault:
    error = tree.get("error")
    if isinstance(error, str):
        return Fault(message=error, code=_text(tree.get("code")), kind=_text(tree.get("type")))
    inside = error if isinstance(error, dict) else tree
    inner = inside.get("innererror")
    code = _text(inside.get("code"))
    if isinstance(inner, dict) and (not code or code.isdigit()):
        # Azure's outer code is `content_filter` in some versions, null or "400" in others; the inner one is exact.
        code = _text(inner.get("code"))
    return Fault(
        message=_text(inside.get("message")) or _text(inside.get("detail")),
        code=code,
        # AWS names exceptions as `namespace#Name:where`.
        kind=_text(inside.get("type")) or _text(inside.get("status")) or _text(tree.get("__type")).rpartition("#")[2].partition(":")[0],
        param=_text(inside.get("param")),
    )


def _text(value: object) -> str:
    """Text as it is, a number in digits, FastAPI's list of complaints as JSON, anything else as nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, (list, dict)):
        return msgspec.json.encode(value).decode()
    return str(value)


def _names(fault: Fault) -> set[str]:
    return {fault.code.lower(), fault.kind.lower()}


def _of_server(status: int, fault: Fault) -> Failure:
    if status in (503, 529) or Failure.OVERLOADED in {_KINDS.get(name) for name in _names(fault)}:
        return Failure.OVERLOADED
    return Failure.SERVER


def _of_page(status: int) -> Failure:
    """An HTML page comes from a gateway, a firewall or a wrong address; of its status only a few are worth believing."""
    if status in (401, 402, 403, 407):
        return Failure.CREDENTIAL
    return {429: Failure.RATE_LIMITED, 413: Failure.BAD_REQUEST, 408: Failure.SERVER}.get(status, Failure.MALFORMED)


def _of_success(fault: Fault, content_type: bytes, body: bytes) -> Failure:
    stripped = body.lstrip()
    if not stripped:
        return Failure.MALFORMED
    if not stripped.startswith((b"{", b"[")):
        # Audio and other payloads are no business of ours; what claims to be JSON has to be.
        return Failure.MALFORMED if b"json" in content_type.lower() or stripped.startswith(b"<") else Failure.NONE
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Failure.MALFORMED
    if not _is_error(tree):
        return Failure.NONE
    if fault.code.isdigit() and 400 <= int(fault.code[:9]) < 600:
        status = int(fault.code)
        return _of_server(status, fault) if status >= 500 else _of_request(status, fault)
    special = _special(fault)
    if special is not None:
        return special
    return next((_KINDS[name] for name in _names(fault) if name in _KINDS), Failure.SERVER)


def _is_error(tree: object) -> bool:
    if isinstance(tree, list) and len(tree) == 1:
        tree = tree[0]
    return isinstance(tree, dict) and (bool(tree.get("error")) or tree.get("type") == "error" or tree.get("object") == "error")


def _of_request(status: int, fault: Fault) -> Failure:
    special = _special(fault)
    if status in (401, 402, 403, 407):
        # OpenRouter vetoes a prompt with 403.
        return Failure.CONTENT_FILTER if special is Failure.CONTENT_FILTER else Failure.CREDENTIAL
    if special is not None:
        return special
    if status == 429:
        return Failure.RATE_LIMITED
    if status in (408, 425):
        # The provider gave up waiting, for us or for itself; OpenAI's SDK asks again too.
        return Failure.SERVER
    # OpenAI's Responses API says it under 400, its chats under 404.
    if status in (400, 404) and _names(fault) & _NO_MODEL:
        return Failure.CREDENTIAL
    if status == 413 and "rate_limit_exceeded" in _names(fault):
        # Groq: one request above the tokens of a whole minute.
        return Failure.CONTEXT_LENGTH
    return Failure.BAD_REQUEST


def _special(fault: Fault) -> Failure | None:
    """Find the failures that providers report under several statuses."""
    names = _names(fault)
    # Google's text for a full minute is OpenAI's for an empty purse.
    if names & _QUOTA or ("resource_exhausted" not in names and _QUOTA_TEXT.search(fault.message)):
        return Failure.QUOTA_EXHAUSTED
    if names & _FILTER or _FILTER_TEXT.search(fault.message):
        return Failure.CONTENT_FILTER
    if names & _LENGTH or _LENGTH_TEXT.search(fault.message):
        return Failure.CONTEXT_LENGTH
    if "rate_limit_exceeded" in names and _NEVER_FITS_TEXT.match(fault.message):
        return Failure.CONTEXT_LENGTH
    return None
