"""Gemini's other form of a stream: one JSON array, whose elements come one by one (`streamGenerateContent` without `alt=sse`).

Everything before the client works with server-sent events; here, on the last yard, each event's data becomes an element. Nothing waits
for the next event.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dispatch.replies import framed
from dispatch.wire import sse

if TYPE_CHECKING:
    from dispatch.errors import DispatchError
    from dispatch.exchange import Answer, Call, Sink

__all__ = ["ArraySink"]

_EVENTS = re.compile(rb"(?im)^content-type:[^\r]*")
_ARRAY = b"content-type: application/json; charset=UTF-8"


class ArraySink:
    """Stands between a call, whose stream it takes unframed, and its client.

    Args:
        sink: the client.
        chunked: how the client's message is framed.
    """

    __slots__ = ("_begun", "_chunked", "_rest", "_sink")

    def __init__(self, sink: Sink, *, chunked: bool) -> None:
        self._sink = sink
        self._chunked = chunked
        self._rest = b""
        self._begun = False

    def on_answer(self, call: Call, answer: Answer) -> None:
        self._sink.on_answer(call, answer)

    def on_chunk(self, call: Call, data: bytes) -> None:
        out = self._elements(data)
        if out:
            self._give(call, out)

    def on_end(self, call: Call, tail: bytes) -> None:
        out = self._elements(tail + b"\n\n")
        out += b"]" if self._begun else b"[]"
        out = framed(out, self._chunked) + (sse.LAST_CHUNK if self._chunked else b"")
        self._name(call)
        self._sink.on_end(call, out)

    def on_silence(self, call: Call) -> None:
        self._give(call, b"\n")

    def on_error(self, call: Call, error: DispatchError) -> None:
        call.chunked = self._chunked
        if self._begun:
            call.door = "generate_array"
        self._sink.on_error(call, error)
        call.door = "generate_stream"

    def _give(self, call: Call, out: bytes) -> None:
        self._name(call)
        self._sink.on_chunk(call, framed(out, self._chunked))
        call.chunked = False

    def _name(self, call: Call) -> None:
        """The head is the client's own, which is written with the first bytes."""
        call.chunked = self._chunked
        if not isinstance(call.answer, _Head):
            call.answer = _Head(call.answer)

    def _elements(self, data: bytes) -> bytes:
        """The whole events of what has come, as elements."""
        *blocks, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
        out = b""
        for block in blocks:
            payload = b"".join(line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:"))
            if payload and payload != b"[DONE]":
                out += (b",\r\n" if self._begun else b"[") + payload
                self._begun = True
        return out


class _Head:
    """The head of a stream, of another type."""

    __slots__ = ("_answer", "body", "flags", "head", "status", "usage")

    def __init__(self, answer: Answer | None) -> None:
        self._answer = answer
        self.status = 200 if answer is None else answer.status
        self.flags = 0 if answer is None else answer.flags
        self.head = _ARRAY + b"\r\n" if answer is None else _EVENTS.sub(_ARRAY, answer.head)
        self.body = b""
        self.usage: tuple[int, int, int, int] | None = None

    def header(self, name: bytes, /) -> bytes | None:
        """As of the answer that came."""
        return None if self._answer is None else self._answer.header(name)

    def compose(self, head: bytes, extra: bytes, overhead_us: int, /) -> bytes:
        """A stream has no whole answer."""
        raise AssertionError("the head of a stream is no answer")
