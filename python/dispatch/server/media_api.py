"""OpenAI's doors of images and sound (https://platform.openai.com/docs/api-reference/images, .../audio).

Some of them take forms in place of JSON. A form is held, like any other body, so that it can be sent again, but in pieces, which are sent
as they are; what is read of it is which model is meant, and only the model's name is ever changed in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from dispatch.policy.cost import BYTES_PER_TOKEN
from dispatch.server.openai_api import Door, check_type
from dispatch.wire.http1 import MULTIPART
from dispatch.wire.multipart import Form, boundary_of
from dispatch.wire.rope import InPieces, Rope

if TYPE_CHECKING:
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound, Scan

__all__ = ["FormDoor", "SpeechDoor"]

MOST_TOKENS = 100_000
"""More is not estimated for a file: an hour of sound."""
FILE_BYTES_PER_TOKEN = 1_600
"""Compressed sound has some 16 kB a second, and a second is counted as ten tokens."""


class FormDoor(Door):
    """A POST path that takes a form with files."""

    __slots__ = ()
    accepts = MULTIPART

    def __call__(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan | None = None) -> None:
        """Take a request in. Raises `BodyError` for what is no form, or names no model."""
        check_type(inbound, MULTIPART)
        form = Form(Rope(inbound.pieces()), boundary_of(inbound.header(b"content-type") or b""))
        super().__call__(front, client, inbound, cast("Scan", _ScannedForm(inbound, form)))


class SpeechDoor(Door):
    """Text to speech: a stream of events is asked for by another word than elsewhere."""

    __slots__ = ()

    def __call__(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan | None = None) -> None:
        """Take a request in."""
        if inbound.is_complete and b'"stream_format"' in inbound.body and inbound.flags & self.accepts:
            scan = inbound.scan()
            if msgspec.json.decode(inbound.body, type=_Speech).stream_format == "sse":
                scan = cast("Scan", _Streamed(scan))
        super().__call__(front, client, inbound, scan)


class _Speech(msgspec.Struct):
    stream_format: Any = None


class _Streamed:
    """A body whose answer is a stream, though it does not say so in the usual word."""

    __slots__ = ("_scan", "body", "compose")

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self.body = scan.body
        self.compose = scan.compose

    @property
    def facts(self) -> tuple[str, bool, int, int, int, int, int]:
        """As of the body, but for the stream."""
        name, _, *rest = self._scan.facts
        return cast("tuple[str, bool, int, int, int, int, int]", (name, True, *rest))


class _ScannedForm:
    """A form in the place of a scanned body."""

    __slots__ = ("_form", "_inbound")

    def __init__(self, inbound: Inbound, form: Form) -> None:
        self._inbound = inbound
        self._form = form

    @property
    def facts(self) -> tuple[str, bool, int, int, int, int, int]:
        """What routing asks for: `Scan.facts`."""
        size = max(0, self._inbound.content_length) // FILE_BYTES_PER_TOKEN
        return self._form.model, self._form.stream, 0, BYTES_PER_TOKEN * min(size, MOST_TOKENS), 0, 1, 0

    def body(self, model: bytes, inject_usage: bool, /) -> bytes:
        """What names the user."""
        del model, inject_usage
        return msgspec.json.encode({"user": self._form.user})

    def compose(self, prefix: bytes, model: bytes, inject_usage: bool, /) -> bytes:
        """The request with another name of the model."""
        del inject_usage
        name = msgspec.json.decode(model, type=str) if model else self._form.model
        pieces = self._form.renamed(name)
        length = b"content-length: %d\r\n\r\n" % sum(map(len, pieces))
        request = InPieces.of(prefix + self._inbound.forward + length, pieces)
        # A form may be large: only who asks for its bytes without an endpoint gets them in one.
        return request if prefix else request.whole()
