"""AWS event streams for clients: each server-sent event as a frame, errors as frames of exceptions.

A frame is: its length, the length of its headers, the CRC-32 of these two, the headers, the payload, the CRC-32 of all before it, numbers
big-endian (smithy's `eventstream` specification; `rust/src/sse/frames.rs` reads what is written here).
"""

from __future__ import annotations

from base64 import b64encode
from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from dispatch.server.reframed import Reframed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ChunkSink", "FrameSink", "event_frame", "exception_frame"]

_decode = Decoder(dict[str, Raw]).decode
_PRELUDE = Struct(">II")
_NUMBER = Struct(">I")
_STRING = 7
"""The number of the type of a header that is a string."""


def _headers(kind: bytes, fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    told = (*fields, (b":content-type", b"application/json"), (b":message-type", kind))
    return b"".join(b"%c%b%c%b%b" % (len(name), name, _STRING, len(value).to_bytes(2, "big"), value) for name, value in told)


def _frame(headers: bytes, payload: bytes) -> bytes:
    prelude = _PRELUDE.pack(16 + len(headers) + len(payload), len(headers))
    body = b"%b%b%b%b" % (prelude, _NUMBER.pack(crc32(prelude)), headers, payload)
    return body + _NUMBER.pack(crc32(body))


def event_frame(name: bytes, payload: bytes) -> bytes:
    """An event of the stream."""
    return _frame(_headers(b"event", ((b":event-type", name),)), payload)


def exception_frame(name: str, payload: bytes) -> bytes:
    """An exception: the last frame of a stream that broke."""
    return _frame(_headers(b"exception", ((b":exception-type", name.encode()),)), payload)


class ChunkSink(Reframed):
    """Makes frames of events that stand in base64, as InvokeModel gives those of each model."""

    __slots__ = ()
    kind = b"content-type: application/vnd.amazon.eventstream\r\nx-amzn-bedrock-content-type: application/json"
    sign = event_frame(b"keepAlive", b"{}")

    def event(self, data: bytes) -> bytes:
        """One frame."""
        return event_frame(b"chunk", b'{"bytes":"%b"}' % b64encode(data))


class FrameSink(Reframed):
    """Makes frames of events whose data is an object with one member, the event's payload under the event's name."""

    __slots__ = ()
    kind = b"content-type: application/vnd.amazon.eventstream"
    # An event of a type that no model of the API has: AWS's SDKs pass over it.
    sign = event_frame(b"keepAlive", b"{}")

    def event(self, data: bytes) -> bytes:
        """One frame. What is none of these events is left out."""
        try:
            name, payload = next(iter(_decode(data).items()))
        except (DecodeError, StopIteration, UnicodeDecodeError):
            return b""
        return event_frame(name.encode(), bytes(payload))
