"""Answers and heads of streams as the client's dialect has them, around those that came."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.exchange import Answer

__all__ = ["UNPRINTABLE", "Headed", "Translated", "dropped_line"]

UNPRINTABLE = re.compile(r"[^ -~]")
"""What may not stand in a header line or a comment."""
_TYPE = re.compile(rb"(?im)^content-type: *([^\r;]*)[^\r]*\r\n")


def dropped_line(names: Sequence[str]) -> bytes:
    """The header line that tells what was left out; nothing for nothing."""
    if not names:
        return b""
    listed = UNPRINTABLE.sub("?", ", ".join(names))
    return f"x-dispatch-dropped: {listed}\r\n".encode("ascii")


class Translated:
    """An answer in the client's dialect.

    Attributes:
        logprob: the mean of the logarithms of its tokens' probabilities, nats, for plans that want to know it (`Call.wants_logprobs`).
    """

    __slots__ = ("_answer", "body", "flags", "head", "logprob", "status", "usage")

    def __init__(self, answer: Answer, body: bytes, usage: tuple[int, int, int, int], lines: bytes, flags: int) -> None:
        self._answer = answer
        self.status = answer.status
        self.head = answer.head + lines
        self.body = body
        self.usage: tuple[int, int, int, int] | None = usage
        self.flags = flags
        self.logprob: float | None = None

    def header(self, name: bytes, /) -> bytes | None:
        """As of the answer that came."""
        return self._answer.header(name)

    def compose(self, head: bytes, extra: bytes, overhead_us: int, /) -> bytes:
        """The whole answer for the client."""
        own = b"x-dispatch-overhead-us: %d\r\ncontent-length: %d\r\n\r\n" % (overhead_us, len(self.body))
        return b"%b%b%b%b%b" % (head, self.head, extra, own, self.body)


class Headed(Translated):
    """The head of a stream, with what was left out of its request."""

    __slots__ = ()

    def __init__(self, answer: Answer, dropped: Sequence[str], kind: bytes) -> None:
        super().__init__(answer, b"", (0, 0, 0, 0), dropped_line(dropped), answer.flags)
        found = _TYPE.search(self.head)
        if found is None or found[1] != kind:
            # Frames or lines have become events on the way, or events lines.
            self.head = b"content-type: %b\r\n%b" % (kind, _TYPE.sub(b"", self.head))
