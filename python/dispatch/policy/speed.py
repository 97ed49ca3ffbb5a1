"""Whether a stream brings what it must: windows that follow each other, looked at now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatch.config import MinSpeed

__all__ = ["Speed"]

_NS = 1_000_000_000


class Speed:
    """One stream held against a least speed.

    The first window begins with the first look that finds content, so that waiting for it is not counted twice: that is
    `first_token_s`. A stream that falls below is found at the end of the first window that is slow as a whole, less than two after it fell.

    Args:
        least: what it must bring.
    """

    __slots__ = ("_chars", "_least", "_since_ns")

    def __init__(self, least: MinSpeed) -> None:
        self._least = least
        self._since_ns = 0
        self._chars = 0

    def pause(self) -> None:
        """Begin a new window with the next look: what was brought so far says nothing."""
        self._since_ns = 0

    def too_slow(self, chars: int, now_ns: int) -> float | None:
        """Characters a second of the window that ends here, if it is below the least; else None.

        Args:
            chars: brought since the stream began.
            now_ns: now.
        """
        if not self._since_ns:
            if chars:
                self._since_ns, self._chars = now_ns, chars
            return None
        took_s = (now_ns - self._since_ns) / _NS
        if took_s < self._least.window_s:
            return None
        speed = (chars - self._chars) / took_s
        self._since_ns, self._chars = now_ns, chars
        return speed if speed < self._least.chars_per_s else None
