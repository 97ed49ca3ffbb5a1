"""The events of ConverseStream, written from those of the form: one call per event, nothing is kept back but what ends the message.

They are written as server-sent events with the event's name around its payload, as the core gives out those of an endpoint; what makes
frames of them stands before the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from dispatch.dialects.converse.answers import METRICS, stop_of, write_citation, write_usage
from dispatch.dialects.converse.words import blob_of
from dispatch.dialects.form import (
    CitationDelta,
    RefusalDelta,
    SignatureDelta,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolBegin,
    ToolDelta,
    Usage,
)
from dispatch.dialects.writer import BlockWriter

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.writer import Writes

__all__ = ["ConverseWriter"]

_encode = msgspec.json.encode
_STARTED = b'event: messageStart\ndata: {"messageStart":{"role":"assistant"}}\n\n'


class ConverseWriter(BlockWriter):
    """Events of the form in, Bedrock's out."""

    __slots__ = ()
    block_end = b'event: contentBlockStop\ndata: {"contentBlockStop":{"contentBlockIndex":%d}}\n\n'

    def end(self) -> bytes:
        """Write what ends a complete stream."""
        out: list[bytes] = []
        self._start(None, out)
        self._close(out)
        finish = self._final
        stop = {"stopReason": stop_of(finish.reason, finish.raw, finish.stop_sequence, calls=bool(self._calls))}
        usage = self._usage or Usage()
        told: Tree = {"usage": write_usage(usage), "metrics": METRICS}
        if usage.tier in {"default", "priority", "flex", "reserved"}:
            told["serviceTier"] = {"type": usage.tier}
        out += (b'event: messageStop\ndata: {"messageStop":', _encode(stop), b"}\n\n")
        out += (b'event: metadata\ndata: {"metadata":', _encode(told), b"}\n\n")
        return b"".join(out)

    def _start(self, event: Start | None, out: list[bytes]) -> None:
        if event is not None and event.usage is not None:
            self._usage = event.usage
        if not self._started:
            self._started = True
            out.append(_STARTED)

    def _open(self, kind: str, out: list[bytes]) -> None:
        """Only blocks of calls have an event for their beginning."""
        self._start(None, out)
        self._next(kind, out)

    def _put(self, kind: str, delta: bytes, out: list[bytes]) -> None:
        if self._kind != kind:
            self._open(kind, out)
        _delta(self._index, delta, out)

    def _text(self, event: TextDelta | RefusalDelta, out: list[bytes]) -> None:
        self._put("text", b'{"text":%b}' % _encode(event.text), out)

    def _thinking(self, event: ThinkingDelta, out: list[bytes]) -> None:
        self._put("thinking", b'{"reasoningContent":{"text":%b}}' % _encode(event.text), out)

    def _signature(self, event: SignatureDelta, out: list[bytes]) -> None:
        name, value = b"signature", event.signature
        if event.is_redacted:
            self._close(out)
            name, value = b"redactedContent", blob_of(event.signature)
        self._put("thinking", b'{"reasoningContent":{"%b":%b}}' % (name, _encode(value)), out)
        # The next thought has a signature of its own.
        self._close(out)

    def _tool_begin(self, event: ToolBegin, out: list[bytes]) -> None:
        if event.signature:
            self._signature(SignatureDelta(event.signature), out)
        self._open("tool", out)
        self._calls[event.index] = self._index
        use = {"toolUseId": event.id or f"tooluse_{event.index}", "name": event.name}
        start = {"start": {"toolUse": use}, "contentBlockIndex": self._index}
        out += (b'event: contentBlockStart\ndata: {"contentBlockStart":', _encode(start), b"}\n\n")

    def _tool_delta(self, event: ToolDelta, out: list[bytes]) -> None:
        block = self._calls.get(event.index)
        if block is not None:
            # A piece of an earlier call may come after another one has begun; its index says whose it is.
            _delta(block, b'{"toolUse":{"input":%b}}' % _encode(event.text), out)

    def _citation(self, event: CitationDelta, out: list[bytes]) -> None:
        self._put("text", b'{"citation":%b}' % _encode(write_citation(event.citation)), out)

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


def _delta(index: int, delta: bytes, out: list[bytes]) -> None:
    out.append(b'event: contentBlockDelta\ndata: {"contentBlockDelta":{"delta":%b,"contentBlockIndex":%d}}\n\n' % (delta, index))
