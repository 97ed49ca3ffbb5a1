"""The events of a streamed message: read into events of the form, written from them. One call per event, nothing is kept back.

What Anthropic says at the end in one event, why it stopped and what it cost, comes from others in several; so `message_delta` is
written when the stream ends. Content never waits.
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
from dispatch.dialects.messages.answers import REASONS, STOPS, add_usage, tool_id, write_usage
from dispatch.dialects.writer import BlockWriter

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Event
    from dispatch.dialects.writer import Writes

__all__ = ["MessagesReader", "MessagesWriter"]


class _Delta(Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: dict[str, Any] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Block(Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    text: str = ""
    thinking: str = ""
    data: str = ""
    input: Any = None


class _Message(Struct):
    id: str = ""
    model: str = ""
    usage: dict[str, Any] | None = None


class _Frame(Struct):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Message | None = None
    usage: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Frame).decode
_encode = msgspec.json.encode


class MessagesReader:
    """Anthropic's events in, those of the form out."""

    __slots__ = ("_calls", "_count", "_full", "_usage")

    def __init__(self) -> None:
        self._usage = Usage()
        self._calls: dict[int, int] = {}
        """By the block's index, the number of its call; -1: a block that nobody else can be told."""
        self._count = 0
        self._full = -1

    def read(self, data: bytes) -> list[Event]:
        """Read the data of one event."""
        try:
            frame = _decode(data)
        except msgspec.DecodeError:
            return [Unknown("malformed")]
        if frame.type == "content_block_delta" and frame.delta is not None:
            return self._read_delta(frame.index, frame.delta)
        if frame.type == "content_block_start" and frame.content_block is not None:
            return self._read_block(frame.index, frame.content_block)
        if frame.type == "message_start" and frame.message is not None:
            message = frame.message
            usage = add_usage(self._usage, message.usage or {})
            return [Start(message.id, message.model, usage)]
        if frame.type == "message_delta":
            return self._read_end(frame)
        return [] if frame.type in {"ping", "content_block_stop", "message_stop"} else [Unknown(frame.type)]

    def _read_delta(self, index: int, delta: _Delta) -> list[Event]:
        kind = delta.type
        if kind == "text_delta":
            return [TextDelta(delta.text)]
        if kind == "input_json_delta":
            call = self._calls.get(index, -1)
            # Some send the whole object at the beginning and then an empty piece.
            return [ToolDelta(call, delta.partial_json)] if call >= 0 and delta.partial_json and index != self._full else []
        if kind == "thinking_delta":
            return [ThinkingDelta(delta.thinking)]
        if kind == "signature_delta":
            return [SignatureDelta(delta.signature)]
        if kind == "citations_delta" and delta.citation is not None:
            return [CitationDelta(delta.citation)]
        return [Unknown(kind)]

    def _read_block(self, index: int, block: _Block) -> list[Event]:
        kind = block.type
        if kind == "tool_use":
            call = self._calls[index] = self._count
            self._count += 1
            events: list[Event] = [ToolBegin(call, block.id, block.name)]
            if block.input:
                self._full = index
                events.append(ToolDelta(call, _encode(block.input).decode()))
            return events
        if kind == "text":
            return [TextDelta(block.text)] if block.text else []
        if kind == "thinking":
            return [ThinkingDelta(block.thinking)] if block.thinking else []
        if kind == "redacted_thinking":
            return [SignatureDelta(block.data, is_redacted=True)]
        self._calls[index] = -1
        return [Unknown(kind)]

    def _read_end(self, frame: _Frame) -> list[Event]:
        events: list[Event] = []
        if frame.usage is not None:
            events.append(UsageReport(add_usage(self._usage, frame.usage)))
        delta = frame.delta
        if delta is not None and delta.stop_reason:
            reason = REASONS.get(delta.stop_reason, "other")
            events.append(Finish(reason, 0, delta.stop_sequence or "", delta.stop_reason))
        return events


class MessagesWriter(BlockWriter):
    """Events of the form in, Anthropic's out."""

    __slots__ = ()
    block_end = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'

    def end(self) -> bytes:
        """Write what ends a complete stream."""
        out: list[bytes] = []
        self._begin(out)
        self._close(out)
        finish = self._final
        reason = "tool" if finish.reason == "stop" and self._calls else finish.reason
        stop = "stop_sequence" if finish.stop_sequence and reason == "stop" else STOPS[reason]
        delta = {"stop_reason": stop, "stop_sequence": finish.stop_sequence or None}
        tree = {"type": "message_delta", "delta": delta, "usage": write_usage(self._usage)}
        out += (b"event: message_delta\ndata: ", _encode(tree), b'\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n')
        return b"".join(out)

    def _start(self, event: Start, out: list[bytes]) -> None:
        self._started = True
        self._usage = event.usage
        message: Tree = {
            "id": event.id,
            "type": "message",
            "role": "assistant",
            "model": event.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(event.usage),
        }
        out += (b"event: message_start\ndata: ", _encode({"type": "message_start", "message": message}), b"\n\n")

    def _begin(self, out: list[bytes]) -> None:
        if not self._started:
            self._start(Start("", ""), out)

    def _open(self, kind: str, block: bytes, out: list[bytes]) -> None:
        self._begin(out)
        self._next(kind, out)
        out.append(
            b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n' % (self._index, block)
        )

    def _put(self, delta: bytes, out: list[bytes]) -> None:
        out.append(b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n' % (self._index, delta))

    def _text(self, event: TextDelta | RefusalDelta, out: list[bytes]) -> None:
        if self._kind != "text":
            self._open("text", b'{"type":"text","text":""}', out)
        self._put(b'{"type":"text_delta","text":%b}' % _encode(event.text), out)

    def _thinking(self, event: ThinkingDelta, out: list[bytes]) -> None:
        if self._kind != "thinking":
            self._open("thinking", b'{"type":"thinking","thinking":"","signature":""}', out)
        self._put(b'{"type":"thinking_delta","thinking":%b}' % _encode(event.text), out)

    def _signature(self, event: SignatureDelta, out: list[bytes]) -> None:
        if event.is_redacted:
            self._open("redacted", b'{"type":"redacted_thinking","data":%b}' % _encode(event.signature), out)
            return
        if self._kind != "thinking":
            self._open("thinking", b'{"type":"thinking","thinking":"","signature":""}', out)
        self._put(b'{"type":"signature_delta","signature":%b}' % _encode(event.signature), out)
        self._close(out)

    def _tool_begin(self, event: ToolBegin, out: list[bytes]) -> None:
        if event.signature:
            self._signature(SignatureDelta(event.signature), out)
        self._open("tool", _encode({"type": "tool_use", "id": tool_id(event.id, event.index), "name": event.name, "input": {}}), out)
        self._calls[event.index] = self._index

    def _tool_delta(self, event: ToolDelta, out: list[bytes]) -> None:
        block = self._calls.get(event.index)
        if block is None:
            return
        delta = _encode(event.text)
        # A piece of an earlier call may come after another one has begun; its index says whose it is.
        out.append(
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":"input_json_delta","partial_json":%b}}\n\n' % (block, delta)
        )

    def _citation(self, event: CitationDelta, out: list[bytes]) -> None:
        if self._kind != "text":
            self._open("text", b'{"type":"text","text":""}', out)
        self._put(b'{"type":"citations_delta","citation":%b}' % _encode(event.citation), out)

    writes: ClassVar[Writes] = {
        **BlockWriter.writes,
        Start: _start,
        TextDelta: _text,
        RefusalDelta: _text,
        ThinkingDelta: _thinking,
        SignatureDelta: _signature,
        ToolBegin: _tool_begin,
        ToolDelta: _tool_delta,
        CitationDelta: _citation,
    }
