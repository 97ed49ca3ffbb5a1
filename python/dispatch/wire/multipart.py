"""Forms (RFC 7578), as far as routing needs them: which model is meant, whether a stream is asked for, where the model's name stands.

Files are not looked into: the search goes from delimiter to delimiter, and nothing is copied but the few short fields that are read.
"""

from __future__ import annotations

import re
from typing import Final

from dispatch.wire.http1 import BodyError
from dispatch.wire.rope import Rope

__all__ = ["Form", "boundary_of"]

MAX_PARTS: Final = 256
"""An edit of images has sixteen files; nobody means more than this."""
MAX_PART_HEAD: Final = 4 * 1024
MAX_FIELD: Final = 1024
"""Longest value of a field that is read."""

_BOUNDARY = re.compile(rb'(?i);\s*boundary=(?:"([^"\r\n]{1,70})"|([0-9A-Za-z\'()+_,./:=?-]{1,70}))\s*(?:;|\Z)')
_DISPOSITION = re.compile(rb"(?im)^content-disposition[ \t]*:(.*)$")
_PARAMETER = re.compile(rb'[ \t]*;[ \t]*([^\s=;"]+)="((?:[^"\\]|\\.)*)"|[ \t]*;[ \t]*([^\s=;"]+)=([^\s;"]+)')
_READ = (b"model", b"stream", b"user")


def boundary_of(content_type: bytes) -> bytes:
    """The delimiter that the parts of a form have between them; empty: it names none."""
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2]) if found is not None else b""


class Form:
    """A form that was read, with its body.

    Args:
        body: the whole of it, maybe in pieces.
        boundary: as `boundary_of` finds it.

    Raises:
        BodyError: it is none, names no model, or names one twice.

    Attributes:
        model: the model's name.
        stream: whether a stream is asked for.
        user: for whom the request is.
    """

    __slots__ = ("_body", "_end", "_start", "model", "stream", "user")

    def __init__(self, body: bytes | Rope, boundary: bytes) -> None:
        self._body = body = body if isinstance(body, Rope) else Rope([body])
        places: dict[bytes, tuple[int, int]] = {}
        for name, start, end in _parts(body, b"--" + boundary):
            if name in _READ:
                if name in places:
                    raise _wrong("duplicate_parameter", f"the form has {name.decode()!r} twice", name.decode())
                places[name] = (start, end)
        if b"model" not in places:
            raise _wrong("missing_parameter", "the form has no field 'model'", "model")
        self._start, self._end = places[b"model"]
        self.model = _value(body, places, b"model")
        self.stream = _value(body, places, b"stream").lower() == "true"
        self.user = _value(body, places, b"user")
        if not self.model:
            raise _wrong("missing_parameter", "the form's field 'model' is empty", "model")

    def renamed(self, model: str) -> list[bytes | memoryview]:
        """The form with another name of the model, in pieces of its body; all else is as it was."""
        body = self._body
        return [*body.pieces(0, self._start), model.encode(), *body.pieces(self._end, len(body))]


def _value(body: Rope, places: dict[bytes, tuple[int, int]], name: bytes) -> str:
    start, end = places.get(name, (0, 0))
    if end - start > MAX_FIELD:
        raise _wrong("invalid_request", f"the form's field {name.decode()!r} is too long", name.decode())
    try:
        return body.slice(start, end).decode()
    except UnicodeDecodeError:
        raise _wrong("invalid_request", f"the form's field {name.decode()!r} is not UTF-8", name.decode()) from None


def _parts(body: Rope, delimiter: bytes) -> list[tuple[bytes, int, int]]:
    """Name, start and end of each part."""
    between = b"\r\n" + delimiter
    at = 0 if body.startswith(delimiter) else body.find(between)
    if at < 0 or len(delimiter) < 3:
        raise _wrong("invalid_request", "the body is no form with the boundary that its Content-Type names")
    at += len(delimiter) if at == 0 and body.startswith(delimiter) else len(between)
    found: list[tuple[bytes, int, int]] = []
    while not body.startswith(b"--", at):
        head_end = body.find(b"\r\n\r\n", at, at + MAX_PART_HEAD)
        if head_end < 0 or len(found) >= MAX_PARTS:
            raise _wrong("invalid_request", "the form has a part without an end of its head, or too many parts")
        end = body.find(between, head_end + 2)
        if end < 0:
            raise _wrong("invalid_request", "the form is cut: its last delimiter is missing")
        name = _name_of(body.slice(at, head_end))
        # An empty part's delimiter begins with the line end of its head.
        found.append((name, min(head_end + 4, end) if end > head_end + 2 else end, end))
        at = end + len(between)
    return found


def _name_of(head: bytes) -> bytes:
    """A part's name. What two readers could read differently is refused, or a field could be hidden from us."""
    found = _DISPOSITION.findall(head + b"\r\n")
    if len(found) != 1 or b"\n " in head or b"\n\t" in head:
        raise _wrong("invalid_request", "a part of the form needs exactly one Content-Disposition, on one line")
    kind, semicolon, _ = found[0].strip().partition(b";")
    rest = found[0].strip()[len(kind) :]
    names: list[bytes] = []
    at = 0
    while semicolon and at < len(rest):
        parameter = _PARAMETER.match(rest, at)
        if parameter is None:
            raise _wrong("invalid_request", "a part of the form has a Content-Disposition that cannot be read")
        label = (parameter[1] or parameter[3]).lower()
        if label.startswith(b"name"):
            names.append(label[4:] + (parameter[2] if parameter[2] is not None else parameter[4]))
        at = parameter.end()
    if kind.strip().lower() != b"form-data" or len(names) != 1:
        raise _wrong("invalid_request", "a part of the form needs exactly one name")
    return names[0]


def _wrong(code: str, message: str, param: str | None = None) -> BodyError:
    return BodyError(code, message, param)
