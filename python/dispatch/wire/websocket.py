"""WebSocket (RFC 6455), as far as somebody in the middle needs it: the handshake, where frames begin and end, and what short texts say."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re

__all__ = ["BROKEN", "GOING_AWAY", "TOO_LONG", "TRY_LATER", "Frames", "accept_of", "close_frame", "is_key", "text_frame"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
GOING_AWAY: Final = 1001
TOO_LONG: Final = 1009
BROKEN: Final = 1011
TRY_LATER: Final = 1013
"""Codes of RFC 6455 section 7.4.1 and of its registry."""
_TEXT: Final = 1
_CONTROL: Final = 8
_CLOSE: Final = 8
_REASON: Final = 123
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


def close_frame(code: int, reason: str = "", *, masked: bool) -> bytes:
    """A frame that ends a conversation; `reason` is cut to the 123 bytes that such a frame holds. A mask of zeros is a mask."""
    text = reason.encode()[:_REASON].decode(errors="ignore").encode()
    payload = code.to_bytes(2, "big") + text
    return bytes((_FIN | 8, _MASKED | len(payload))) + bytes(4) + payload if masked else bytes((_FIN | 8, len(payload))) + payload


def text_frame(text: bytes) -> bytes:
    """A text for a client, below 64 KiB."""
    length = bytes((len(text),)) if len(text) < 126 else b"\x7e" + len(text).to_bytes(2, "big")
    return bytes((_FIN | _TEXT,)) + length + text


class Frames:
    """Follows the frames of one direction; their bytes are passed on by somebody else.

    Args:
        max_bytes: longest frame.
        mark: texts with this among their first bytes are kept, and returned when they are whole.
        max_kept: longest text that is kept.

    Attributes:
        is_closing: a frame has come that ends the conversation.
    """

    __slots__ = ("_head", "_is_control", "_is_last", "_kept", "_left", "_mark", "_max_bytes", "_max_kept", "is_closing")

    def __init__(self, max_bytes: int, mark: re.Pattern[bytes] | None = None, max_kept: int = 1 << 20) -> None:
        self._max_bytes = max_bytes
        self._mark = mark
        self._max_kept = max_kept
        self._head = b""
        self._left = 0
        self._is_last = True
        self._is_control = False
        self._kept: bytearray | None = None
        self.is_closing = False

    @property
    def is_between(self) -> bool:
        """Whether no message is under way, so that one of ours may be written."""
        return self._is_last and not self._head and not self._left

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
                if self._kept is not None and not self._is_control:
                    self._kept += piece
            else:
                need = _head_length(self._head) - len(self._head)
                self._head += data[at : at + need]
                at += need
                if len(self._head) < _head_length(self._head):
                    continue
                self._begin()
            if self._kept is not None and self._mark is not None:
                self._look(self._kept, self._mark, found)
        return found

    def _begin(self) -> None:
        head, self._head = self._head, b""
        length = head[1] & 0x7F
        if length >= 126:
            length = int.from_bytes(head[2:4] if length == 126 else head[2:10], "big")
        if length > self._max_bytes:
            raise ValueError(f"a frame of {length} bytes")
        self._left = length
        kind = head[0] & 0x0F
        self._is_control = kind >= _CONTROL
        if self._is_control:
            self.is_closing |= kind == _CLOSE
            return
        self._is_last = bool(head[0] & _FIN)
        if kind:
            # The first of a message; what it has no room for, or what a client masks, is not read.
            self._kept = bytearray() if kind == _TEXT and self._mark is not None and not head[1] & _MASKED else None
        if self._kept is not None and len(self._kept) + length > self._max_kept:
            self._kept = None

    def _look(self, kept: bytearray, mark: re.Pattern[bytes], found: list[bytes]) -> None:
        """Give up a text that is not marked; hand over one that is whole."""
        is_whole = self._is_last and not self._left and not self._is_control
        if is_whole or len(kept) >= _PEEK:
            if mark.search(kept, 0, _PEEK) is None:
                self._kept = None
            elif is_whole:
                self._kept = None
                found.append(bytes(kept))


def _head_length(head: bytes) -> int:
    """How long a frame's head is, as far as it is known."""
    if len(head) < 2:
        return 2
    length = head[1] & 0x7F
    return 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if head[1] & _MASKED else 0)
