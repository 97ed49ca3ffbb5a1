"""The model that is always there: it answers with the last user message, in process.

`answer` is a pure function from a request's body to the bytes of a whole HTTP/1.1 response, in the pieces in which a server would send
them, so that an echo passes through the same response reader, stream states and accounting as any upstream.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

import msgspec

from dispatch.providers.base import DOORS, PATHS, NoOptions, build_head, options_of
from dispatch.providers.classify import classify
from dispatch.providers.echo_answers import ANSWERS, STREAMS
from dispatch.providers.echo_request import Ask
from dispatch.schema import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.config import Endpoint
    from dispatch.errors import Failure

__all__ = ["PROVIDER", "answer", "respond"]

# Never opened: the scheme tells the transport that the answer is made here.
_ORIGIN = Origin("builtin", "echo", 0)
_BASE_URL = "http://echo/v1"
_DOOR_BY_PATH = {f"/v1{path}".encode(): door for door, path in PATHS.items() if door in DOORS}


class Echo:
    """Needs no server, no key and no model name."""

    name = "echo"
    capabilities = frozenset({"stream_usage"})

    def check(self, endpoint: Endpoint) -> None:
        """Check that there are no options."""
        options_of(endpoint, NoOptions)

    def head(self, endpoint: Endpoint, door: str, secret: str) -> bytes | None:
        """Build a head like any other; no secret is put into it."""
        del secret
        return build_head(_BASE_URL, PATHS[door], (), endpoint) if door in DOORS else None

    def origin(self, endpoint: Endpoint) -> Origin:
        """Tell that there is nowhere to connect to."""
        del endpoint
        return _ORIGIN

    def classify(self, status: int, content_type: bytes, body: bytes) -> Failure:
        """Name what an answer means."""
        return classify(status, content_type, body)


PROVIDER = Echo()


def respond(request: bytes) -> tuple[bytes, ...]:
    """Answer a whole HTTP request, as `head` and the core compose it."""
    head, _, body = request.partition(b"\r\n\r\n")
    return answer(_DOOR_BY_PATH[head.split(b" ", 2)[1]], body, now_s=int(time()))


def answer(door: str, body: bytes, *, now_s: int = 0) -> tuple[bytes, ...]:
    """Answer a request.

    Args:
        door: one of `DOORS`.
        body: the request's JSON body.
        now_s: what `created` says, seconds since 1970.

    Returns:
        The response's bytes: one piece, or for a stream the head and a piece for each event. An answer of 400 says what is wrong with
        a body that has nothing to answer.
    """
    try:
        ask = Ask.read(door, body, now_s)
    except ValueError as error:
        fault = {"error": {"message": str(error), "type": "invalid_request_error", "param": None, "code": "invalid_request"}}
        return (_whole(b"400 Bad Request", msgspec.json.encode(fault)),)
    if ask.is_stream and door in STREAMS:
        return tuple(_chunked(STREAMS[door](ask)))
    return (_whole(b"200 OK", msgspec.json.encode(ANSWERS[door](ask))),)


def _whole(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


def _chunked(events: Iterable[bytes]) -> Iterable[bytes]:
    yield b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    for event in events:
        yield b"%x\r\n%s\r\n" % (len(event), event)
    yield b"0\r\n\r\n"
