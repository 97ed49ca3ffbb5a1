"""WebSocket (RFC 6455), as far as somebody in the middle needs it: the handshake, where frames begin and end, and what short texts say."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

__all__ = ["GOING_AWAY", "Frames", "accept_of", "close_frame", "is_key"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
GOING_AWAY: Final = 1001
_TEXT: Final = 1
_FIN: Final = 0x80
_MASKED: Final = 0x80
_PEEK: Final = 256
"""By so many of its first bytes a text is known."""


def is_key(key: bytes) -> bool:
    """Whether a `Sec-WebSocket-Key` is one: 16 bytes in base64."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def accept_of(key: bytes) -> bytes:
    """The `Sec-WebSocket-Accept` that answers a key."""
    # The protocol wants this hash; nothing depends on its strength.
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def close_frame(code: int, *, masked: bool) -> bytes:
    """A frame that ends a conversation. A mask of zeros is a mask."""
    payload = code.to_bytes(2, "big")
    return bytes((_FIN | 8, _MASKED | len(payload))) + bytes(4) + payload if masked else bytes((_FIN | 8, len(payload))) + payload


class Frames:
    """Follows the frames of one direction; their bytes are passed on by somebody else.

    Args:
        max_bytes: longest frame.
        mark: texts with this among their first bytes are kept, and returned when they are whole.
        max_kept: longest text that is kept.
    """

    __slots__ = ("_head", "_kept", "_left", "_mark", "_max_bytes", "_max_kept")

    def __init__(self, max_bytes: int, mark: bytes = b"", max_kept: int = 1 << 20) -> None:
        self._max_bytes = max_bytes
        self._mark = mark
        self._max_kept = max_kept
        self._head = b""
        self._left = 0
        self._kept: bytearray | None = None

    @property
    def is_between(self) -> bool:
        """Whether no frame is under way, so that one of ours may be written."""
        return not self._head and not self._left

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; returns the marked texts that are whole now.

        Raises:
            ValueError: a frame is too long.
        """
        found: list[bytes] = []
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                self._keep(piece, found)
            else:
                need = _head_length(self._head) - len(self._head)
                self._head += data[at : at + need]
                at += need
                if len(self._head) == _head_length(self._head):
                    self._begin()
        return found

    def _begin(self) -> None:
        head, self._head = self._head, b""
        length = head[1] & 0x7F
        if length >= 126:
            length = int.from_bytes(head[2:4] if length == 126 else head[2:10], "big")
        if length > self._max_bytes:
            raise ValueError(f"a frame of {length} bytes")
        self._left = length
        wanted = bool(self._mark) and head[0] == _FIN | _TEXT and not head[1] & _MASKED and length <= self._max_kept
        self._kept = bytearray() if wanted else None

    def _keep(self, piece: bytes, found: list[bytes]) -> None:
        kept = self._kept
        if kept is None:
            return
        kept += piece
        if (len(kept) >= _PEEK or not self._left) and self._mark not in kept[:_PEEK]:
            self._kept = None
        elif not self._left:
            found.append(bytes(kept))


def _head_length(head: bytes) -> int:
    """How long a frame's head is, as far as it is known."""
    if len(head) < 2:
        return 2
    length = head[1] & 0x7F
    return 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if head[1] & _MASKED else 0)
