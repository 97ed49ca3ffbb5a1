"""Whole good answers kept, and given again to identical requests. `plan` asks, `memory` and `redis` keep."""

from __future__ import annotations

import msgspec

from dispatch.wire.http1 import COMPLETE, JSON_OK

__all__ = ["Kept"]

_BESIDE_BYTES = 512
"""What an entry takes beside its texts: objects, key, place in the order."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An answer that may be given again; a stream with the bytes that its client got. Reads as an `exchange.Answer`."""

    status: int
    head: bytes
    """Header lines for the client, each with its CRLF."""
    body: bytes
    is_stream: bool
    endpoint: str
    """Who gave it."""
    made_s: float
    """When, seconds since 1970."""

    flags = COMPLETE | JSON_OK
    usage = None

    @property
    def size(self) -> int:
        """Bytes of memory that it takes."""
        return len(self.head) + len(self.body) + _BESIDE_BYTES

    def header(self, name: bytes, /) -> bytes | None:
        """The first value of a header, by its lowercased name."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n"))
        return next((value.strip() for found, _, value in lines if found == name), None)

    def compose(self, head: bytes, extra: bytes, overhead_us: int, /) -> bytes:
        """The whole answer for the client."""
        own = b"x-dispatch-overhead-us: %d\r\ncontent-length: %d\r\n\r\n" % (overhead_us, len(self.body))
        return b"%b%b%b%b%b" % (head, self.head, extra, own, self.body)
