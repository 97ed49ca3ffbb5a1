"""Bytes in pieces: a large body is searched, and sent with a few bytes changed, without being put together."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["InPieces", "Rope"]


class InPieces(bytes):
    """The beginning of a request whose other bytes follow in pieces.

    Attributes:
        rest: what follows, in order.
    """

    rest: Sequence[bytes | memoryview] = ()

    @classmethod
    def of(cls, head: bytes, rest: Sequence[bytes | memoryview]) -> InPieces:
        """Join them, by name only."""
        made = cls(head)
        made.rest = rest
        return made

    def whole(self) -> bytes:
        """All of it, copied."""
        return b"".join((self, *self.rest))


class Rope:
    """Pieces that are searched as if they were one.

    Args:
        pieces: one at least.
    """

    __slots__ = ("_bounds", "_pieces")

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._bounds = [0, *accumulate(map(len, pieces))]

    def __len__(self) -> int:
        return self._bounds[-1]

    def find(self, what: bytes, start: int = 0, end: int | None = None) -> int:
        """Like `bytes.find`; `start` is not below 0, and `what` not empty."""
        last = (len(self) if end is None else min(end, len(self))) - len(what)
        for at in range(self._piece_at(start), len(self._pieces)):
            base, bound = self._bounds[at : at + 2]
            if base > last:
                break
            found = self._pieces[at].find(what, max(start - base, 0))
            if found >= 0:
                found += base
            else:
                # It may begin here and end in what follows.
                seam = max(start, base, bound - len(what) + 1)
                inside = self.slice(seam, bound + len(what) - 1).find(what)
                found = seam + inside if inside >= 0 else -1
            if found >= 0:
                return found if found <= last else -1
        return -1

    def startswith(self, what: bytes, start: int = 0) -> bool:
        """Like `bytes.startswith`."""
        return self.slice(start, start + len(what)) == what

    def slice(self, start: int, end: int) -> bytes:
        """The bytes there, copied."""
        return b"".join(self.pieces(start, end))

    def pieces(self, start: int, end: int) -> list[bytes | memoryview]:
        """The bytes there, not copied."""
        found: list[bytes | memoryview] = []
        end = min(end, len(self))
        for piece, (base, bound) in zip(self._pieces, pairwise(self._bounds), strict=True):
            if bound > start and base < end:
                is_whole = start <= base and bound <= end
                found.append(piece if is_whole else memoryview(piece)[max(start - base, 0) : end - base])
        return found

    def _piece_at(self, place: int) -> int:
        return min(max(bisect_right(self._bounds, place) - 1, 0), len(self._pieces) - 1)
