"""Streams that reach their client in another form than server-sent events: the last yard, before the client.

Everything before works with server-sent events; here each event becomes what the client reads. Nothing waits for the next event.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from dispatch.replies import framed
from dispatch.wire import sse

if TYPE_CHECKING:
    from dispatch.errors import DispatchError
    from dispatch.exchange import Answer, Call, Sink

__all__ = ["Reframed"]

_TYPE = re.compile(rb"(?im)^content-type:[^\r]*")


class Reframed:
    """Stands between a call, whose stream it takes unframed, and its client.

    Args:
        sink: the client.
        chunked: how the client's message is framed.
    """

    __slots__ = ("_begun", "_chunked", "_rest", "_sink")

    kind: ClassVar[bytes]
    """The type of what the client gets, as a header line."""
    sign: ClassVar[bytes]
    """What a client passes over: it says that nobody has hung up."""

    def __init__(self, sink: Sink, *, chunked: bool) -> None:
        self._sink = sink
        self._chunked = chunked
        self._rest = b""
        self._begun = False
        """An event was given."""

    def event(self, data: bytes) -> bytes:
        """One event's data in the client's form."""
        raise NotImplementedError

    def close(self) -> bytes:
        """What ends a whole stream."""
        return b""

    def break_off(self, call: Call) -> None:
        """An error follows amid the stream."""

    def on_answer(self, call: Call, answer: Answer) -> None:
        self._sink.on_answer(call, answer)

    def on_chunk(self, call: Call, data: bytes) -> None:
        out = self._events(data)
        if out:
            self._give(call, out)

    def on_end(self, call: Call, tail: bytes) -> None:
        out = self._events(tail + b"\n\n") + self.close()
        self._name(call)
        end = sse.LAST_CHUNK if self._chunked else b""
        self._sink.on_end(call, (framed(out, self._chunked) if out else b"") + end)

    def on_silence(self, call: Call) -> None:
        self._give(call, self.sign)

    def on_error(self, call: Call, error: DispatchError) -> None:
        call.chunked = self._chunked
        door = call.door
        self.break_off(call)
        self._sink.on_error(call, error)
        call.door = door

    def _give(self, call: Call, out: bytes) -> None:
        self._name(call)
        self._sink.on_chunk(call, framed(out, self._chunked))
        call.chunked = False

    def _name(self, call: Call) -> None:
        """The head is the client's own, which is written with the first bytes."""
        call.chunked = self._chunked
        if not isinstance(call.answer, _Head):
            call.answer = _Head(call.answer, self.kind)

    def _events(self, data: bytes) -> bytes:
        """The whole events of what has come."""
        *blocks, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
        out = b""
        for block in blocks:
            payload = b"".join(line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:"))
            if payload and payload != b"[DONE]":
                out += self.event(payload)
                self._begun = True
        return out


class _Head:
    """The head of a stream, of another type."""

    __slots__ = ("_answer", "body", "flags", "head", "status", "usage")

    def __init__(self, answer: Answer | None, kind: bytes) -> None:
        self._answer = answer
        self.status = 200 if answer is None else answer.status
        self.flags = 0 if answer is None else answer.flags
        self.head = kind + b"\r\n" if answer is None else _TYPE.sub(kind, answer.head)
        self.body = b""
        self.usage: tuple[int, int, int, int] | None = None

    def header(self, name: bytes, /) -> bytes | None:
        """As of the answer that came."""
        return None if self._answer is None else self._answer.header(name)

    def compose(self, head: bytes, extra: bytes, overhead_us: int, /) -> bytes:
        """A stream has no whole answer."""
        raise AssertionError("the head of a stream is no answer")
