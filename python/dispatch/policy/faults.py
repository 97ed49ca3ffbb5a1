# ruff: noqa: E501  # one shape a line, so that the list reads as the table it is
"""What goes wrong, by example: answers that are no success and the failure each is taken for, and what happens on the wire.

The page `docs/failures.md` is made of these (`python -m dispatch.failures`), and the tests play every one of them against the
running sidecar, so that the page, the code and what a client sees cannot part. Shapes are those of recorded traffic and public
reports; the texts are ours.
"""

from __future__ import annotations

from msgspec import Struct

from dispatch.errors import Failure

__all__ = ["ANSWERS", "EVENTS", "MEANING", "Event", "Shape"]

JSON = "application/json"
HTML = "text/html"
TEXT = "text/plain"

MEANING: dict[Failure, str] = {
    Failure.NONE: "a whole answer",
    Failure.CANCELLED: "the client left, or another answer was taken",
    Failure.CONNECT: "no connection: refused, no address, TLS, or longer than `connect_s`; nothing was sent",
    Failure.UNKNOWN_EXECUTION: "sent, and the connection ended without an answer byte: it may have been executed and billed",
    Failure.FIRST_TOKEN_TIMEOUT: "no answer, or none of its content, in time",
    Failure.STALLED: "silence of `stall_s` inside a stream",
    Failure.RATE_LIMITED: "too much for now",
    Failure.QUOTA_EXHAUSTED: "the account is empty: no wait mends that",
    Failure.SERVER: "the provider broke",
    Failure.OVERLOADED: "the provider asks for less",
    Failure.CREDENTIAL: "our credential, or what it may use, is refused",
    Failure.BAD_REQUEST: "the request itself is at fault",
    Failure.CONTEXT_LENGTH: "the prompt is too long for this model",
    Failure.CONTENT_FILTER: "a filter vetoed the prompt",
    Failure.MALFORMED: "not what its status and type promise",
    Failure.BROKEN: "the answer stopped in the middle",
    Failure.DEADLINE: "the request's own deadline passed",
    Failure.TOO_LARGE: "longer than `server.max_answer_bytes`",
    Failure.SLOW: "a stream that brings less than `min_speed`",
}


class Shape(Struct, frozen=True):
    """An answer."""

    name: str
    said_by: str
    status: int
    kind: str
    """Its content type."""
    body: str
    failure: Failure


class Event(Struct, frozen=True):
    """Something that happens on the wire."""

    name: str
    moment: str
    failure: Failure | None
    """None: the answer counts as whole."""
    note: str = ""


def _shape(name: str, said_by: str, status: int, body: str, failure: Failure, kind: str = JSON) -> Shape:
    return Shape(name, said_by, status, kind, body, failure)


# fmt: off
ANSWERS: tuple[Shape, ...] = (
    _shape("rate limit", "OpenAI", 429, '{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}', Failure.RATE_LIMITED),
    _shape("rate limit in words only", "any", 429, "slow down", Failure.RATE_LIMITED, TEXT),
    _shape("rate limit, fields on top", "Mistral", 429, '{"object":"error","message":"slow","type":"rate_limited","code":"1300"}', Failure.RATE_LIMITED),
    _shape("rate limit, code a number", "OpenRouter", 429, '{"error":{"code":429,"message":"Provider returned error"}}', Failure.RATE_LIMITED),
    _shape("a full minute", "Google", 429, '{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED"}}', Failure.RATE_LIMITED),
    _shape("rate limit page", "a gateway", 429, "<html>Too many requests</html>", Failure.RATE_LIMITED, HTML),
    _shape("empty account", "OpenAI", 429, '{"error":{"message":"no quota","type":"insufficient_quota","code":"insufficient_quota"}}', Failure.QUOTA_EXHAUSTED),
    _shape("empty account in words", "Anthropic", 400, '{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}', Failure.QUOTA_EXHAUSTED),
    _shape("more tokens than a minute allows", "OpenAI", 429, '{"error":{"message":"Request too large for m","code":"rate_limit_exceeded"}}', Failure.CONTEXT_LENGTH),
    _shape("overloaded", "Anthropic", 529, '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', Failure.OVERLOADED),
    _shape("overloaded", "Google", 503, '{"error":{"code":503,"message":"high demand","status":"UNAVAILABLE"}}', Failure.OVERLOADED),
    _shape("overloaded page", "a gateway", 503, "<html>Service Unavailable</html>", Failure.OVERLOADED, HTML),
    _shape("server error", "OpenAI", 500, '{"error":{"message":"the server had an error","type":"server_error"}}', Failure.SERVER),
    _shape("server error in words", "transformers", 500, "Internal Server Error", Failure.SERVER, TEXT),
    _shape("server error that is ours", "llama-cpp-python", 500, '{"error":{"message":"validation","type":"internal_server_error"}}', Failure.SERVER),
    _shape("bad gateway page", "a gateway", 502, "<html>Bad Gateway</html>", Failure.SERVER, HTML),
    _shape("gave up waiting", "any", 408, '{"error":{"message":"timeout"}}', Failure.SERVER),
    _shape("error under 200", "OpenRouter", 200, '{"error":{"code":502,"message":"provider unavailable"}}', Failure.SERVER),
    _shape("wrong credential", "OpenAI", 401, '{"error":{"message":"wrong key","type":"invalid_request_error","code":"invalid_api_key"}}', Failure.CREDENTIAL),
    _shape("unpaid", "DeepSeek", 402, '{"error":{"message":"Insufficient Balance","type":"unknown_error"}}', Failure.CREDENTIAL),
    _shape("forbidden page", "a firewall", 403, "<html>Forbidden</html>", Failure.CREDENTIAL, HTML),
    _shape("unknown model", "OpenAI", 404, '{"error":{"message":"no such model","code":"model_not_found"}}', Failure.CREDENTIAL),
    _shape("unknown model", "OpenAI's responses", 400, '{"error":{"message":"no such model","param":"model","code":"model_not_found"}}', Failure.CREDENTIAL),
    _shape("bad field", "OpenAI", 400, '{"error":{"message":"no such field","type":"invalid_request_error","param":"x"}}', Failure.BAD_REQUEST),
    _shape("complaint", "FastAPI", 422, '{"detail":[{"loc":["body"],"msg":"field required"}]}', Failure.BAD_REQUEST),
    _shape("complaint in words", "transformers", 400, '{"detail":"wrong model"}', Failure.BAD_REQUEST),
    _shape("not found", "vLLM", 404, '{"type":"error","error":{"type":"NotFoundError","message":"does not exist"}}', Failure.BAD_REQUEST),
    _shape("prompt too long", "OpenAI", 400, '{"error":{"message":"too long","code":"context_length_exceeded"}}', Failure.CONTEXT_LENGTH),
    _shape("prompt too long in words", "Anthropic", 400, '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens"}}', Failure.CONTEXT_LENGTH),
    _shape("prompt too long", "llama.cpp", 400, '{"error":{"message":"exceeds","type":"exceed_context_size_error","code":400}}', Failure.CONTEXT_LENGTH),
    _shape("filtered", "Azure", 400, '{"error":{"message":"filtered","type":null,"code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}', Failure.CONTENT_FILTER),
    _shape("vetoed", "OpenRouter", 403, '{"error":{"message":"your input was flagged","code":403}}', Failure.CONTENT_FILTER),
    _shape("redirect", "a gateway", 307, "", Failure.MALFORMED, TEXT),
    _shape("page instead of an answer", "a gateway", 200, "<html>Welcome</html>", Failure.MALFORMED, HTML),
    _shape("words instead of an answer", "any", 200, "OK", Failure.MALFORMED, TEXT),
    _shape("empty answer", "any", 200, "", Failure.MALFORMED),
    _shape("cut JSON", "any", 200, '{"choices":[{"mess', Failure.MALFORMED),
)
"""Answers that are no success."""
# fmt: on


def _event(name: str, moment: str, failure: Failure | None, note: str = "") -> Event:
    return Event(name, moment, failure, note)


EVENTS: tuple[Event, ...] = (
    _event("connection refused", "connecting", Failure.CONNECT),
    _event(
        "connection ends", "before the answer", Failure.UNKNOWN_EXECUTION, "retried under `retry.unknown`, or if the connection was stale"
    ),
    _event("silence", "before the answer", Failure.FIRST_TOKEN_TIMEOUT),
    _event("bytes that are no HTTP", "before the answer", Failure.MALFORMED),
    _event("connection ends", "in the head", Failure.BROKEN),
    _event("connection ends", "in a whole answer", Failure.BROKEN),
    _event("silence", "in a whole answer", Failure.FIRST_TOKEN_TIMEOUT, "as before the answer: one limit, `answer_s`"),
    _event("cut tool call", "in a whole answer", Failure.BROKEN, "arguments that end inside their JSON; not if the answer says `length`"),
    _event("connection ends", "in a stream, before content", Failure.BROKEN),
    _event("error event", "in a stream, before content", Failure.OVERLOADED, "by what the event says, as an answer would be"),
    _event("error without `data:`", "in a stream, before content", Failure.OVERLOADED, "Google sends such"),
    _event("silence", "in a stream, before content", Failure.FIRST_TOKEN_TIMEOUT),
    _event("connection ends", "in a stream, after content", Failure.BROKEN),
    _event("error event", "in a stream, after content", Failure.SERVER, "an error with empty `choices`, as OpenRouter sends it, too"),
    _event("silence", "in a stream, after content", Failure.STALLED),
    _event(
        "trickle", "in a stream, after content", Failure.SLOW, "under `min_speed`; time in which the client reads slowly does not count"
    ),
    _event("clean end without finish reason", "in a stream, after content", Failure.BROKEN),
    _event("bad chunk", "in a stream, after content", Failure.BROKEN),
    _event("cut tool call", "in a stream, after content", Failure.BROKEN, "told at the finish reason; not if that is `length`"),
    _event("clean end without `[DONE]`", "in a stream, finished", None, "complete at once"),
    _event("connection ends without `[DONE]`", "in a stream, finished", None, "complete at once"),
    _event("silence", "in a stream, finished", None, "complete after 2 s, however short `stall_s`"),
    _event("malformed event", "in a stream, healthy", None, "dropped and counted (`dispatch_stream_events_dropped_total`)"),
    _event("finish reason `length`", "in a stream, finished", None, "passed on as it is, cut tool calls too"),
)
"""What happens on the wire."""
