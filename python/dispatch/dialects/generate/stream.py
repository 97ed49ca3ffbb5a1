"""The chunks of `streamGenerateContent`: read into events, written from them.

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
    UsageReport,
)
from dispatch.dialects.generate.answers import call_id, finish_of, read_usage, reason_of, write_usage
from dispatch.dialects.generate.signatures import hidden, thinking_of
from dispatch.dialects.shape import json_object
from dispatch.dialects.writer import StreamWriter

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Event
    from dispatch.dialects.writer import Writes

__all__ = ["GenerateReader", "GenerateWriter"]


class _Call(Struct):
    name: str = ""
    args: dict[str, Any] | None = None
    id: str | None = None


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    thought_signature: str = ""
    function_call: _Call | None = None


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    index: int = 0


class _Chunk(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: dict[str, Any] | None = None
    model_version: str = ""
    response_id: str = ""
    prompt_feedback: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Chunk).decode
_encode = msgspec.json.encode


class GenerateReader:
    """Chunks in, events out."""

    __slots__ = ("_calls", "_id", "_started")

    def __init__(self) -> None:
        self._started = False
        self._id = ""
        self._calls: dict[int, int] = {}
        """By candidate, how many calls it has made."""

    def read(self, data: bytes) -> list[Event]:
        """Read the data of one event."""
        try:
            chunk = _decode(data)
        except msgspec.DecodeError:
            return [Unknown("malformed")]
        events: list[Event] = []
        if not self._started:
            self._started = True
            self._id = chunk.response_id
            events.append(Start(chunk.response_id, chunk.model_version))
        for candidate in chunk.candidates or ():
            for part in (candidate.content and candidate.content.parts) or ():
                self._read_part(events, part, candidate.index)
            said = candidate.finish_reason
            if said:
                reason = finish_of(said, has_calls=candidate.index in self._calls)
                events += [Finish(reason, candidate.index, "", said)] if reason else []
        if chunk.prompt_feedback and chunk.prompt_feedback.get("blockReason"):
            events.append(Finish("filter", 0, "", str(chunk.prompt_feedback["blockReason"])))
        if chunk.usage_metadata is not None:
            events.append(UsageReport(read_usage(chunk.usage_metadata)))
        return events

    def _read_part(self, events: list[Event], part: _Part, choice: int) -> None:
        call = part.function_call
        if call is not None:
            number = self._calls.get(choice, 0)
            self._calls[choice] = number + 1
            events.append(ToolBegin(number, call.id or call_id(self._id, number), call.name, choice, part.thought_signature))
            events.append(ToolDelta(number, _encode(call.args or {}).decode(), choice))
        elif part.text is None:
            events.append(Unknown("part"))
        elif part.thought:
            thought = thinking_of(part.text, part.thought_signature)
            events += [ThinkingDelta(thought.text, choice)] if thought.text else []
            events += [SignatureDelta(thought.signature, choice, thought.is_redacted)] if thought.signature else []
        elif part.text:
            events.append(TextDelta(part.text, choice))


class GenerateWriter(StreamWriter):
    """Events in, chunks out.

    Args:
        now_s: nothing here says when.
        wants_usage: usage is always told.
    """

    __slots__ = ("_calls", "_finishes", "_prefix")

    def __init__(self, now_s: int, *, wants_usage: bool) -> None:
        del now_s, wants_usage
        super().__init__()
        self._prefix = b""
        self._calls: dict[tuple[int, int], tuple[ToolBegin, list[str]]] = {}
        self._finishes: dict[int, str] = {}

    def end(self) -> bytes:
        """Write what ends a complete stream: nothing but the last reason and the usage."""
        out: list[bytes] = []
        self._flush(out)
        usage = write_usage(self._usage) if self._usage is not None else {}
        candidates = [
            {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": reason_of(reason), "index": index}
            for index, reason in (self._finishes or {0: "stop"}).items()
        ]
        out += (self._head(), b'"candidates":', _encode(candidates), b',"usageMetadata":', _encode(usage), b"}\r\n\r\n")
        return b"".join(out)

    def _head(self) -> bytes:
        if not self._prefix:
            self._start(Start("", ""), [])
        return self._prefix

    def _start(self, event: Start, out: list[bytes]) -> None:
        self._prefix = b"data: " + _encode({"modelVersion": event.model, "responseId": event.id})[:-1] + b","
        if event.usage is not None:
            self._usage = event.usage

    def _put(self, choice: int, part: bytes, out: list[bytes]) -> None:
        out.append(b'%b"candidates":[{"content":{"parts":[%b],"role":"model"},"index":%d}]}\r\n\r\n' % (self._head(), part, choice))

    def _text(self, event: TextDelta | RefusalDelta, out: list[bytes]) -> None:
        if self._calls:
            self._flush(out)
        self._put(event.choice, b'{"text":%b}' % _encode(event.text), out)

    def _thinking(self, event: ThinkingDelta, out: list[bytes]) -> None:
        self._put(event.choice, b'{"text":%b,"thought":true}' % _encode(event.text), out)

    def _signature(self, event: SignatureDelta, out: list[bytes]) -> None:
        """The text has gone ahead of it."""
        signature = hidden(event.signature, is_redacted=event.is_redacted)
        self._put(event.choice, b'{"text":"","thought":true,"thoughtSignature":"%b"}' % signature.encode(), out)

    def _tool_begin(self, event: ToolBegin, out: list[bytes]) -> None:
        self._calls[event.choice, event.index] = (event, [])

    def _tool_delta(self, event: ToolDelta, out: list[bytes]) -> None:
        call = self._calls.get((event.choice, event.index))
        if call is not None:
            call[1].append(event.text)

    def _flush(self, out: list[bytes]) -> None:
        """Give out the calls that are collected: something else has begun, or all is over."""
        for begin, pieces in self._calls.values():
            tree: Tree = {"functionCall": {"id": begin.id, "name": begin.name, "args": json_object("".join(pieces))}}
            if begin.signature:
                tree["thoughtSignature"] = begin.signature
            self._put(begin.choice, _encode(tree), out)
        self._calls.clear()

    def _citation(self, event: CitationDelta, out: list[bytes]) -> None:
        self.lose("citations")

    def _finish(self, event: Finish, out: list[bytes]) -> None:
        self._finishes[event.choice] = event.reason

    writes: ClassVar[Writes] = {
        **StreamWriter.writes,
        Start: _start,
        TextDelta: _text,
        RefusalDelta: _text,
        ThinkingDelta: _thinking,
        SignatureDelta: _signature,
        ToolBegin: _tool_begin,
        ToolDelta: _tool_delta,
        CitationDelta: _citation,
        Finish: _finish,
    }
