"""HTTP/1.1 messages: readers for both sides of the path, and the bits of their `flags`."""

from __future__ import annotations

from typing import Final

from dispatch._core import Answer, BodyError, Inbound, ProtocolError, RequestReader, ResponseReader, Scan, affinity, read_answer

__all__ = [
    "CLOSE",
    "COMPLETE",
    "CUT_CALL",
    "ENCODED",
    "EXPECT_CONTINUE",
    "GOOD",
    "HAS_AUDIO",
    "HAS_BODY",
    "HAS_DEADLINE",
    "HAS_DISPATCH",
    "HAS_ENCODING",
    "HAS_FILES",
    "HAS_FORMAT",
    "HAS_IMAGES",
    "HAS_LOGPROBS",
    "HAS_ORIGIN",
    "HAS_REQUEST_ID",
    "HAS_RETRY_AFTER",
    "HAS_SESSION",
    "HAS_TOOLS",
    "HAS_TRACEPARENT",
    "INCLUDE_USAGE_TRUE",
    "JSON",
    "JSON_OK",
    "KEEP_ALIVE",
    "MULTIPART",
    "NEAR_LIMIT",
    "REUSABLE",
    "STREAM",
    "Answer",
    "BodyError",
    "Inbound",
    "ProtocolError",
    "RequestReader",
    "ResponseReader",
    "Scan",
    "affinity",
    "read_answer",
]

COMPLETE: Final = 1
"""`Inbound` and `Answer`: the body is whole."""

# Bits of Inbound.flags; the core has them in http1::request::flag.
KEEP_ALIVE: Final = 1 << 1
EXPECT_CONTINUE: Final = 1 << 2
HAS_BODY: Final = 1 << 3
"""A body is announced, even an empty one."""
JSON: Final = 1 << 4
"""`content-type: application/json`."""
HAS_DEADLINE: Final = 1 << 5
"""`x-dispatch-deadline-ms`."""
HAS_REQUEST_ID: Final = 1 << 6
HAS_TRACEPARENT: Final = 1 << 7
HAS_SESSION: Final = 1 << 8
"""`x-dispatch-session`."""
HAS_ORIGIN: Final = 1 << 9
HAS_ENCODING: Final = 1 << 10
"""`content-encoding` other than identity: 415."""
MULTIPART: Final = 1 << 11
HAS_DISPATCH: Final = 1 << 12
"""Another `x-dispatch-*` than key, session and deadline."""

# Bits of Answer.flags; the core has them in http1::response::flag.
STREAM: Final = 1 << 1
"""`text/event-stream` of a 2xx answer: go on with `start_stream()` and `forward(b"")`."""
JSON_OK: Final = 1 << 2
"""The body is JSON, validated whole."""
CLOSE: Final = 1 << 3
"""The connection ends with this answer."""
HAS_RETRY_AFTER: Final = 1 << 4
"""`retry-after` or `retry-after-ms`."""
ENCODED: Final = 1 << 5
"""`content-encoding` other than identity: the body is as it came; decode it, then ask `read_answer()`."""
GOOD: Final = 1 << 6
"""Status 200, a JSON body that says what it cost, and no limit near."""
REUSABLE: Final = 1 << 7
"""The connection may carry another request."""
NEAR_LIMIT: Final = 1 << 8
"""The provider says that little is left of one of its limits: `policy.provider_limits` reads which."""
CUT_CALL: Final = 1 << 9
"""The arguments of a tool call end inside their JSON, and the answer does not say that it was limited."""

# Bits of Scan.flags; the core has them in json::flag.
INCLUDE_USAGE_TRUE: Final = 1
"""The client asked for the stream's usage event itself."""
HAS_TOOLS: Final = 1 << 1
HAS_IMAGES: Final = 1 << 2
HAS_AUDIO: Final = 1 << 3
HAS_FILES: Final = 1 << 4
HAS_FORMAT: Final = 1 << 5
"""`response_format`, or `text` of the Responses API."""
HAS_LOGPROBS: Final = 1 << 6
