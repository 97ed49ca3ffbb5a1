"""What writers of streams have in common: which event is written how, and what is only remembered until the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from dispatch.dialects.form import Finish, Unknown, Usage, UsageReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.dialects.form import Event

__all__ = ["BlockWriter", "FirstChoiceWriter", "StreamWriter", "Writes"]

Writes = Mapping[type, Callable[[Any, Any, list[bytes]], None]]
"""How each kind of event is written."""


class StreamWriter:
    """Events in, bytes out, in the same call.

    Attributes:
        lost: names of what could not be told.
        writes: how each kind of event is written; what a dialect writes itself comes on top of these here.
    """

    __slots__ = ("_final", "_usage", "lost")

    def __init__(self) -> None:
        self.lost: list[str] = []
        self._final = Finish("stop")
        self._usage: Usage | None = None

    def write(self, events: Iterable[Event]) -> bytes:
        """Write what has come."""
        out: list[bytes] = []
        writes = self.writes
        for event in events:
            writes[type(event)](self, event, out)
        return b"".join(out)

    def lose(self, name: str) -> None:
        """Name what cannot be told, once."""
        if name not in self.lost:
            self.lost.append(name)

    def _end_choice(self, event: Finish, out: list[bytes]) -> None:
        self._final = event

    def _report(self, event: UsageReport, out: list[bytes]) -> None:
        self._usage = event.usage

    def _unknown(self, event: Unknown, out: list[bytes]) -> None:
        self.lose(event.kind)

    writes: ClassVar[Writes] = {
        Finish: _end_choice,
        UsageReport: _report,
        Unknown: _unknown,
    }


class FirstChoiceWriter(StreamWriter):
    """The same where there is one answer to a request: of several choices the first is told."""

    __slots__ = ()

    def write(self, events: Iterable[Event]) -> bytes:
        """Write what has come."""
        out: list[bytes] = []
        writes = self.writes
        for event in events:
            if getattr(event, "choice", 0):
                self.lose("choices")
            else:
                writes[type(event)](self, event, out)
        return b"".join(out)


class BlockWriter(FirstChoiceWriter):
    """The same where an answer is a row of blocks, of which one is open at a time.

    Args:
        now_s: no event of such a dialect says when.
        wants_usage: usage is always told.

    Attributes:
        block_end: the event that ends a block, with `%d` for its number.
    """

    __slots__ = ("_calls", "_index", "_kind", "_started")

    block_end: ClassVar[bytes]

    def __init__(self, now_s: int, *, wants_usage: bool) -> None:
        del now_s, wants_usage
        super().__init__()
        self._index = -1
        self._kind = ""
        """Of the open block; empty: none."""
        self._calls: dict[int, int] = {}
        """By the number of a call, its block."""
        self._started = False

    def _close(self, out: list[bytes]) -> None:
        if self._kind:
            out.append(self.block_end % self._index)
            self._kind = ""

    def _next(self, kind: str, out: list[bytes]) -> None:
        self._close(out)
        self._index += 1
        self._kind = kind
