"""What a link does for a door that its provider does not have: the request, the answer or the stream in another dialect.

Chosen once, when the tables are built; a link whose provider has the door never comes here.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from dispatch.dialects.form import Unknown
from dispatch.dialects.shape import MalformedAnswer
from dispatch.dialects.table import DIALECTS
from dispatch.dialects.target import Losses
from dispatch.errors import BadRequest
from dispatch.wire.http1 import COMPLETE, GOOD, JSON_OK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.dialects.form import Event
    from dispatch.dialects.table import Reader, Writer
    from dispatch.dialects.target import Target
    from dispatch.exchange import Answer, Call

__all__ = ["Headed", "Translated", "Translation", "Translator", "native_door"]

PREFERRED = {
    "chat": ("messages", "generate"),
    "messages": ("chat", "generate"),
    "generate": ("chat", "messages"),
    "generate_stream": ("chat", "messages"),
}
"""For a door that a provider lacks: those that can stand in, best first."""

_KEPT = (b"user-agent", b"traceparent", b"tracestate", b"x-request-id", b"idempotency-key")
"""Of a client's header lines, those that mean the same to every provider."""
_STREAMS = {"generate": "generate_stream"}
"""Where streams have a door of their own."""
_OWN = {"messages": (b"anthropic-beta",), "chat": (b"openai-beta",)}
_LINES = {"messages": b"anthropic-version: 2023-06-01\r\n"}
"""What a door wants beside the body."""


def native_door(door: str, doors: Iterable[str]) -> str | None:
    """The door of a provider that can stand in for `door`; None if there is none."""
    offered = set(doors)
    return next((name for name in PREFERRED.get(door, ()) if name in offered), None)


class Translation:
    """From the dialect of a door to that of an endpoint and back."""

    __slots__ = ("_forwarded", "_lines", "_source", "_target", "_to", "native", "native_stream")

    def __init__(self, door: str, native: str, target: Target, forwarded: Iterable[str] = ()) -> None:
        self.native = native
        self.native_stream = _STREAMS.get(native, native)
        self._source = DIALECTS[door.removesuffix("_stream")]
        self._to = DIALECTS[native]
        self._target = target
        self._lines = _LINES.get(native, b"") + b"content-type: application/json\r\n"
        self._forwarded = frozenset((*_KEPT, *_OWN.get(native, ()), *(name.lower().encode() for name in forwarded)))

    def request(self, call: Call, head: bytes) -> bytes:
        """The request to send.

        Raises:
            BadRequest: it cannot be said in the endpoint's dialect, or is malformed.
        """
        body = call.body
        if body is None:
            raise BadRequest("the request's body is gone", code="upstream_error", status=502)
        lines, _, sent = body.compose(b"", b"", False).partition(b"\r\n\r\n")
        request = self._source.read_request(sent)
        if not self._target.model:
            request.model = call.upstream_name
        losses = Losses(drops=self._target.drops or call.drops)
        written = self._to.write_request(request, self._target, losses)
        call.dropped = losses.names
        kept = b"".join(line + b"\r\n" for line in lines.split(b"\r\n") if line.partition(b":")[0] in self._forwarded)
        return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (head, kept, self._lines, len(written), written)

    def answer(self, call: Call, answer: Answer) -> Answer:
        """A whole answer for the client. One that cannot be read comes back without the flags of a good one."""
        losses = Losses(drops=True)
        losses.names = [*call.dropped]
        try:
            found = self._to.read_answer(answer.body)
            body = self._source.write_answer(found, int(time()), losses)
        except (MalformedAnswer, KeyError, TypeError, AttributeError, ValueError):
            return Translated(answer, answer.body, (0, 0, 0, 0), b"", COMPLETE)
        usage = found.usage
        counts = (0, 0, 0, 0) if usage is None else (usage.input, usage.output, usage.cached, usage.reasoning)
        return Translated(answer, body, counts, dropped_line(losses.names), COMPLETE | JSON_OK | GOOD)

    def stream(self, call: Call) -> Translator:
        """What turns the events of an answer into those of the client's dialect."""
        return Translator(self._to.reader(), self._source.writer(int(time()), wants_usage=call.wants_usage))


def dropped_line(names: Iterable[str]) -> bytes:
    """The header line that tells what was left out; nothing for nothing."""
    listed = ", ".join(names)
    return f"x-dispatch-dropped: {listed}\r\n".encode("ascii", "replace") if listed else b""


class Translator:
    """One stream from one dialect to another: whole events in, whole events out, in the same call."""

    __slots__ = ("_read", "_writer")

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._read = reader.read
        self._writer = writer

    def feed(self, data: bytes) -> bytes:
        """Translate whole events, as the core's reader gives them out."""
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events: list[Event] = []
        for block in data.split(b"\n\n"):
            # A JSON text holds no line end, so what follows one is a field's name.
            _, *pieces = (b"\n" + block).split(b"\ndata:")
            if pieces:
                payload = pieces[0] if len(pieces) == 1 else b"\n".join(pieces)
                if b"\n" in payload:
                    payload = b"\n".join(piece.partition(b"\n")[0] for piece in pieces)
                events += self._events(payload.strip())
        return self._writer.write(events)

    def _events(self, payload: bytes) -> list[Event]:
        try:
            return self._read(payload)
        except (KeyError, TypeError, AttributeError, ValueError):
            # JSON, but not of this dialect: left out of a healthy stream, as broken JSON is.
            return [Unknown("malformed")]

    def end(self) -> bytes:
        """What ends a complete stream, with a comment on what could not be told in it."""
        lost = ", ".join(self._writer.lost)
        comment = f": x-dispatch-dropped: {lost}\n\n".encode("ascii", "replace") if lost else b""
        return comment + self._writer.end()


class Translated:
    """An answer in the client's dialect."""

    __slots__ = ("_answer", "body", "flags", "head", "status", "usage")

    def __init__(self, answer: Answer, body: bytes, usage: tuple[int, int, int, int], lines: bytes, flags: int) -> None:
        self._answer = answer
        self.status = answer.status
        self.head = answer.head + lines
        self.body = body
        self.usage: tuple[int, int, int, int] | None = usage
        self.flags = flags

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

    def __init__(self, answer: Answer, dropped: Iterable[str]) -> None:
        super().__init__(answer, b"", (0, 0, 0, 0), dropped_line(dropped), answer.flags)
