"""The events of one streamed answer, in parts, so that a fault can leave out or change one of them."""

from __future__ import annotations

from typing import Final

__all__ = ["DONE", "Script"]

DONE: Final = b"data: [DONE]\n\n"


class Script:
    """Events as bytes; only the deltas are made one at a time.

    Attributes:
        opening: events before the first delta.
        count: number of deltas.
        finish: events that say that the answer is whole.
        usage: the usage event if it stands alone.
        done: the terminator, if the dialect has one.
        tokens: of the whole output, for usage and the journal.
    """

    __slots__ = ("_pieces", "_prefixes", "_suffix", "count", "done", "finish", "opening", "tokens", "usage")

    def __init__(self, *, opening: bytes, prefixes: tuple[bytes, ...], pieces: tuple[bytes, ...], suffix: bytes, tokens: int) -> None:
        """Take deltas as `prefix + piece + suffix`; several prefixes are the choices of an answer, played in turn."""
        self.opening = opening
        self._prefixes = prefixes
        self._pieces = pieces
        self._suffix = suffix
        self.count = len(pieces) * len(prefixes)
        self.tokens = tokens
        self.finish = b""
        self.usage = b""
        self.done = DONE

    def delta(self, index: int) -> bytes:
        """Give the event of one delta."""
        prefixes = self._prefixes
        if len(prefixes) == 1:
            return prefixes[0] + self._pieces[index] + self._suffix
        return prefixes[index % len(prefixes)] + self._pieces[index // len(prefixes)] + self._suffix

    def malformed(self, index: int) -> bytes:
        """Give the event of one delta, broken in the middle of its JSON."""
        whole = self.delta(index).rstrip(b"\n")
        return whole[: len(whole) * 2 // 3] + b"\n\n"
