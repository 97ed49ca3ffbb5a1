"""Google's Gemini API as doors of the sidecar (https://ai.google.dev/api): model and verb stand in the path.

The body that routing reads, and a translation too, has the model's name and whether it is a stream written into it; a body that
is passed through goes as it came.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

import msgspec

from dispatch.errors import BadRequest
from dispatch.server.array import ArraySink
from dispatch.server.counting import Counting
from dispatch.server.openai_api import Door
from dispatch.wire.http1 import Scan

if TYPE_CHECKING:
    from dispatch.exchange import Call
    from dispatch.generation import Model
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound

__all__ = ["GeminiDoor", "door_at"]

_IN_PATH = frozenset(("model", "stream"))
"""What a path says, and the body that others read."""
_EXECUTION = re.compile(rb"(?im)^idempotency-key:[^\n]*\n")
_NAMED = re.compile(rb'"model"\s*:')
_ROOTS = (b"POST /v1beta/models/", b"POST /v1/models/", b"POST /v1alpha/models/")


def door_at(line: bytes) -> GeminiDoor | None:
    """The door of a method and path; None if it is none of Gemini's."""
    if not line.startswith(_ROOTS):
        return None
    return _DOORS.get(line.rpartition(b":")[2])


class GeminiDoor(Door):
    """One verb."""

    __slots__ = ()

    def __call__(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan | None = None) -> None:
        """Take a request in."""
        is_stream = self.name == "generate_stream"
        path = inbound.line.partition(b"/models/")[2].rpartition(b":")[0]
        named = msgspec.json.encode(unquote(path.decode("latin-1")))
        body = _unnamed(inbound.body).lstrip()
        if not body.startswith(b"{"):
            # Not JSON, or no object: the scan says what is wrong with it.
            body = inbound.body or b"nothing"
        else:
            inside = body[1:].lstrip()
            given = b'{"model":%b%b' % (named, b',"stream":true' if is_stream else b"")
            body = given + (inside if inside.startswith(b"}") else b"," + inside)
        self.take(front, client, inbound, Scan(body))

    def take(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan) -> None:
        """Go on as at any door."""
        super().__call__(front, client, inbound, scan)

    @staticmethod
    def body_of(inbound: Inbound, scan: Scan) -> _Body:
        """The body for an endpoint of the same dialect, and for a translation."""
        return _Body(inbound.forward, inbound.body, scan)


def _unnamed(body: bytes) -> bytes:
    """A body without the `model` that some clients write into it as well; the path's is meant."""
    if b'"model"' not in body:
        return body
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    if not isinstance(tree, dict) or "model" not in tree:
        return body
    del tree["model"]
    return msgspec.json.encode(tree)


def _renamed(body: bytes, model: bytes) -> bytes:
    """A body with the endpoint's name of the model where it says one.

    Google's SDKs write it beside texts that become vectors, older ones beside everything, and the API takes no other than the path's.
    """
    if b'"model"' not in body or not _NAMED.search(body):
        return body
    tree = msgspec.json.decode(body)
    if not isinstance(tree, dict):
        return body
    parts = tree.get("requests")
    named = [one for one in (tree, *(parts if isinstance(parts, list) else ())) if isinstance(one, dict) and "model" in one]
    name = msgspec.json.decode(model, type=str)
    for one in named:
        one["model"] = name if "/" in name else f"models/{name}"
    return msgspec.json.encode(tree) if named else body


class _Body:
    """What the client sent, and the same with its model's name.

    Args:
        forward: the client's header lines that are passed on.
        own: the body without the fields that the path says.
        scan: of the body with them.
    """

    __slots__ = ("_forward", "_own", "_scan")

    def __init__(self, forward: bytes, own: bytes, scan: Scan) -> None:
        self._forward = forward
        self._own = own
        self._scan = scan

    @property
    def text_bytes(self) -> int:
        """Bytes of text in the prompt."""
        return self._scan.text_bytes

    def compose(self, prefix: bytes, model: bytes, inject_usage: bool, /) -> bytes:
        """The request as it came, below another path; without a prefix, for a translation, the body with the model's name."""
        del inject_usage
        body = _renamed(self._own, model) if prefix else self._scan.body(model, False)
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (prefix, self._forward, len(body), body)

    def body(self, model: bytes, inject_usage: bool, /) -> bytes:
        """The JSON with the model's name."""
        return self._scan.body(model, inject_usage)

    def rewritten(self, body: bytes, /) -> _Body:
        """Another body, given with the model's name; not under the client's name for this execution of its own."""
        scan = self._scan.rewritten(body)
        tree = msgspec.json.decode(body)
        own = msgspec.json.encode({name: value for name, value in tree.items() if name not in _IN_PATH})
        return _Body(_EXECUTION.sub(b"", self._forward), own, scan)


class _StreamDoor(GeminiDoor):
    """Streams: events with `?alt=sse`, else one array."""

    __slots__ = ()

    @staticmethod
    def amend(_model: Model, call: Call, inbound: Inbound) -> None:
        """Let the events become elements of an array where that is asked for. Raises `BadRequest` for a third form."""
        form = parse_qs(inbound.query.decode("latin-1")).get("alt", ["json"])
        if form == ["sse"]:
            return
        if form != ["json"]:
            raise BadRequest("alt: a stream is given as sse or json", code="unsupported_parameter", param="alt")
        call.sink = ArraySink(call.sink, chunked=call.chunked)
        call.chunked = False


class GeminiCount(GeminiDoor):
    """How many tokens a request would have."""

    __slots__ = ()

    def take(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan) -> None:
        """Let the counting door have it."""
        _COUNTING(front, client, inbound, scan)


class _Counting(Counting):
    __slots__ = ()
    member = "totalTokens"
    dialect = "generate"
    body_of = staticmethod(GeminiDoor.body_of)


_COUNTING = _Counting("gemini_count")
_DOORS: dict[bytes, GeminiDoor] = {
    b"generateContent": GeminiDoor("generate"),
    b"streamGenerateContent": _StreamDoor("generate_stream"),
    b"countTokens": GeminiCount("gemini_count"),
    b"embedContent": GeminiDoor("gemini_embed"),
    b"batchEmbedContents": GeminiDoor("gemini_embed_batch"),
}
