"""Doors whose path says which model is asked, and whether for a stream: Gemini's, Bedrock's.

The body that routing reads, and a translation too, has the model's name and whether it is a stream written into it; a body that
is passed through goes as it came.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

import msgspec

from dispatch.server.openai_api import Door
from dispatch.wire.http1 import Scan

if TYPE_CHECKING:
    from collections.abc import Collection

    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound

__all__ = ["PathBody", "PathDoor"]

_IN_PATH = frozenset(("model", "stream"))
"""What a path says, and the body that others read."""
_EXECUTION = re.compile(rb"(?im)^idempotency-key:[^\n]*\n")


class PathDoor(Door):
    """One verb."""

    __slots__ = ()

    said_again: Collection[str] = ()
    """Fields that a body may have as well, and of which the path is meant."""

    @staticmethod
    def model_in(line: bytes) -> bytes:
        """The model's name in a request line, percent-encoded."""
        raise NotImplementedError

    def __call__(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan | None = None) -> None:
        """Take a request in."""
        named = msgspec.json.encode(unquote(self.model_in(inbound.line).decode("latin-1")))
        body = _without(inbound.body, self.said_again).lstrip()
        if not body.startswith(b"{"):
            # Not JSON, or no object: the scan says what is wrong with it.
            body = inbound.body or b"nothing"
        else:
            inside = body[1:].lstrip()
            given = b'{"model":%b%b' % (named, b',"stream":true' if self.name.endswith("_stream") else b"")
            body = given + (inside if inside.startswith(b"}") else b"," + inside)
        self.take(front, client, inbound, Scan(body))

    def take(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan) -> None:
        """Go on as at any door."""
        super().__call__(front, client, inbound, scan)

    @staticmethod
    def body_of(inbound: Inbound, scan: Scan) -> PathBody:
        """The body for an endpoint of the same dialect, and for a translation."""
        return PathBody(inbound.forward, inbound.body, scan)


def _without(body: bytes, names: Collection[str]) -> bytes:
    """A body without fields that the path says."""
    if not any(b'"%b"' % name.encode() in body for name in names):
        return body
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    if not isinstance(tree, dict) or tree.keys().isdisjoint(names):
        return body
    return msgspec.json.encode({name: value for name, value in tree.items() if name not in names})


class PathBody:
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
        body = self.sent(model) if prefix else self._scan.body(model, False)
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (prefix, self._forward, len(body), body)

    def sent(self, model: bytes) -> bytes:
        """The body for an endpoint where the model has this name."""
        del model
        return self._own

    def body(self, model: bytes, inject_usage: bool, /) -> bytes:
        """The JSON with the model's name."""
        return self._scan.body(model, inject_usage)

    def rewritten(self, body: bytes, /) -> Self:
        """Another body, given with the model's name; not under the client's name for this execution of its own."""
        scan = self._scan.rewritten(body)
        tree = msgspec.json.decode(body)
        own = msgspec.json.encode({name: value for name, value in tree.items() if name not in _IN_PATH})
        return type(self)(_EXECUTION.sub(b"", self._forward), own, scan)
