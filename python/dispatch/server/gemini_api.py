"""Google's Gemini API as doors of the sidecar (https://ai.google.dev/api): model and verb stand in the path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

from dispatch.errors import BadRequest
from dispatch.server.array import ArraySink
from dispatch.server.counting import Counting
from dispatch.server.path_door import PathBody, PathDoor

if TYPE_CHECKING:
    from dispatch.exchange import Call
    from dispatch.generation import Model
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound, Scan

__all__ = ["GeminiDoor", "door_at"]

_NAMED = re.compile(rb'"model"\s*:')
_ROOTS = (b"POST /v1beta/models/", b"POST /v1/models/", b"POST /v1alpha/models/")


def door_at(line: bytes) -> GeminiDoor | None:
    """The door of a method and path; None if it is none of Gemini's."""
    if not line.startswith(_ROOTS):
        return None
    return _DOORS.get(line.rpartition(b":")[2])


class GeminiDoor(PathDoor):
    """One verb."""

    __slots__ = ()
    # Some clients write it into the body as well.
    said_again = ("model",)

    @staticmethod
    def model_in(line: bytes) -> bytes:
        """What stands between the collection and the verb."""
        return line.partition(b"/models/")[2].rpartition(b":")[0]

    @staticmethod
    def body_of(inbound: Inbound, scan: Scan) -> _Body:
        """The body for an endpoint of the same dialect, and for a translation."""
        return _Body(inbound.forward, inbound.body, scan)


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


class _Body(PathBody):
    __slots__ = ()

    def sent(self, model: bytes) -> bytes:
        """The body with the endpoint's name of the model where it says one."""
        return _renamed(self._own, model)


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
