"""Answers kept in this process: so many bytes, the one unused for longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatch.cache import Kept

__all__ = ["PART", "Memory"]

PART = 8
"""An answer may take an eighth of the room, so that one does not drive out all."""

_NS = 1_000_000_000


class Memory:
    """See the module.

    Args:
        max_bytes: room for all entries, by `Kept.size`.
        ttl_s: for how long an entry is given out.

    Attributes:
        used_bytes: what the entries take now; never more than `max_bytes`.
    """

    __slots__ = ("_entries", "_max_bytes", "_ttl_ns", "used_bytes")

    def __init__(self, max_bytes: int, ttl_s: float) -> None:
        self._max_bytes = max_bytes
        self._ttl_ns = int(ttl_s * _NS)
        self._entries: OrderedDict[bytes, tuple[Kept, int]] = OrderedDict()
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def longest(self) -> int:
        """The size above which an answer is not kept."""
        return self._max_bytes // PART

    def get(self, key: bytes, now_ns: int) -> Kept | None:
        """Return the entry of that key, unless it is too old."""
        found = self._entries.get(key)
        if found is None:
            return None
        kept, until_ns = found
        if now_ns >= until_ns:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return kept

    def put(self, key: bytes, kept: Kept, now_ns: int, age_ns: int = 0) -> None:
        """Keep an answer in place of the one that had the key. One that is too large is not kept, and the old one goes all the same.

        Args:
            key: what it answers.
            kept: the answer.
            now_ns: now.
            age_ns: of an answer that was kept elsewhere before.
        """
        if key in self._entries:
            self._drop(key)
        if kept.size > self.longest or age_ns >= self._ttl_ns:
            return
        while self.used_bytes + kept.size > self._max_bytes:
            self._drop(next(iter(self._entries)))
        self._entries[key] = (kept, now_ns + self._ttl_ns - age_ns)
        self.used_bytes += kept.size

    def _drop(self, key: bytes) -> None:
        kept, _ = self._entries.pop(key)
        self.used_bytes -= kept.size
