"""The lines of a stream of `/api/chat` or `/api/generate`: read into events, written from them.

A call's arguments are one object here, so that of other dialects they are collected until the call is whole; text and reasoning
never wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec import Struct

from dispatch.dialects.form import (
    CitationDelta,
    Finish,
    RefusalDelta,
    SignatureDelta,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolBegin,
    ToolDelta,
    Unknown,
    Usage,
    UsageReport,
)
from dispatch.dialects.ollama.answers import call_id, finish_of, id_of, reason_of, seconds_of, time_of, tool_calls, write_counts
from dispatch.dialects.writer import FirstChoiceWriter

if TYPE_CHECKING:
    from dispatch.dialects.form import Event
    from dispatch.dialects.writer import Writes

__all__ = ["GenerateLineWriter", "LineWriter", "OllamaReader"]


class _Function(Struct):
    name: str = ""
    arguments: dict[str, Any] | None = None


class _Call(Struct):
    function: _Function
    id: str = ""


class _Message(Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(Struct):
    model: str = ""
    created_at: str = ""
    message: _Message | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int = 0
    eval_count: int = 0
    logprobs: list[Any] | None = None


_decode = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.encode


class OllamaReader:
    """Lines in, events out."""

    __slots__ = ("_calls", "_id")

    def __init__(self) -> None:
        self._id = ""
        self._calls = 0

    def read(self, data: bytes) -> list[Event]:
        """Read one line."""
        try:
            line = _decode(data)
        except msgspec.ValidationError:
            return [Unknown("malformed")]
        events: list[Event] = []
        if not self._id:
            self._id = id_of(line.created_at)
            events.append(Start(self._id, line.model, None, seconds_of(line.created_at)))
        message = line.message or _Message(line.response, line.thinking)
        if message.thinking:
            events.append(ThinkingDelta(message.thinking))
        if message.content:
            events.append(TextDelta(message.content, 0, line.logprobs))
        for call in message.tool_calls or ():
            number = self._calls
            self._calls += 1
            events.append(ToolBegin(number, call.id or call_id(self._id, number), call.function.name))
            events.append(ToolDelta(number, _encode(call.function.arguments or {}).decode()))
        if line.done:
            said = line.done_reason or ""
            events.append(Finish(finish_of(said, has_calls=self._calls > 0), 0, "", said))
            events.append(UsageReport(Usage(input=line.prompt_eval_count, output=line.eval_count)))
        return events


class LineWriter(FirstChoiceWriter):
    """Events in, lines of `/api/chat` out. Of several choices the first is told.

    Args:
        now_s: what `created_at` says where the provider does not, seconds since 1970.
        wants_usage: usage is always told.
    """

    __slots__ = ("_calls", "_prefix", "now_s")

    def __init__(self, now_s: int, *, wants_usage: bool) -> None:
        del wants_usage
        super().__init__()
        self.now_s = now_s
        self._prefix = b""
        self._calls: dict[int, tuple[ToolBegin, list[str]]] = {}

    def end(self) -> bytes:
        """Write what ends a complete stream."""
        out: list[bytes] = []
        self._flush(out)
        last = _encode({"done": True, "done_reason": reason_of(self._final.reason), **write_counts(self._usage)})
        out.append(b"%b%b,%b\n" % (self._head(), self.inside(b"content", b'""'), last[1:]))
        return b"".join(out)

    def inside(self, name: bytes, value: bytes) -> bytes:
        """A piece of the answer, as it stands in a line."""
        return b'"message":{"role":"assistant",%b"%b":%b}' % (b"" if name == b"content" else b'"content":"",', name, value)

    def _head(self) -> bytes:
        if not self._prefix:
            self._start(Start("", ""), [])
        return self._prefix

    def _start(self, event: Start, out: list[bytes]) -> None:
        tree = {"model": event.model, "created_at": time_of(event.created or self.now_s)}
        self._prefix = _encode(tree)[:-1] + b","
        if event.usage is not None:
            self._usage = event.usage

    def _put(self, name: bytes, value: bytes, out: list[bytes], more: bytes = b"") -> None:
        out.append(b'%b%b%b,"done":false}\n' % (self._head(), self.inside(name, value), more))

    def _text(self, event: TextDelta | RefusalDelta, out: list[bytes]) -> None:
        if self._calls:
            self._flush(out)
        logprobs = event.logprobs if isinstance(event, TextDelta) else None
        self._put(b"content", _encode(event.text), out, b"" if logprobs is None else b',"logprobs":' + _encode(logprobs))

    def _thinking(self, event: ThinkingDelta, out: list[bytes]) -> None:
        self._put(b"thinking", _encode(event.text), out)

    def _signature(self, event: SignatureDelta, out: list[bytes]) -> None:
        if event.is_redacted:
            self.lose("redacted_thinking")

    def _tool_begin(self, event: ToolBegin, out: list[bytes]) -> None:
        self._calls[event.index] = (event, [])

    def _tool_delta(self, event: ToolDelta, out: list[bytes]) -> None:
        call = self._calls.get(event.index)
        if call is not None:
            call[1].append(event.text)

    def _flush(self, out: list[bytes]) -> None:
        """Give out the calls that are collected: something else has begun, or all is over."""
        if self._calls:
            found = tool_calls((begin.id, begin.name, "".join(pieces)) for begin, pieces in self._calls.values())
            self._calls.clear()
            self.put_calls(_encode(found), out)

    def put_calls(self, calls: bytes, out: list[bytes]) -> None:
        """Write whole calls."""
        self._put(b"tool_calls", calls, out)

    def _citation(self, event: CitationDelta, out: list[bytes]) -> None:
        self.lose("citations")

    writes: ClassVar[Writes] = {
        **FirstChoiceWriter.writes,
        Start: _start,
        TextDelta: _text,
        RefusalDelta: _text,
        ThinkingDelta: _thinking,
        SignatureDelta: _signature,
        ToolBegin: _tool_begin,
        ToolDelta: _tool_delta,
        CitationDelta: _citation,
    }


class GenerateLineWriter(LineWriter):
    """The same for `/api/generate`, which knows no calls."""

    __slots__ = ()

    def inside(self, name: bytes, value: bytes) -> bytes:
        """A piece of the answer, as it stands in a line."""
        return b'"response":%b' % value if name == b"content" else b'"response":"","%b":%b' % (name, value)

    def put_calls(self, calls: bytes, out: list[bytes]) -> None:
        """Leave calls out, and say so."""
        del calls, out
        self.lose("tool_calls")
