"""The events of ConverseStream, read into those of the form: one call per event, nothing is kept back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from dispatch.dialects.converse.answers import REASONS, citation, read_usage
from dispatch.dialects.converse.words import hidden_in
from dispatch.dialects.form import (
    CitationDelta,
    Finish,
    SignatureDelta,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolBegin,
    ToolDelta,
    Unknown,
    UsageReport,
)

if TYPE_CHECKING:
    from dispatch.dialects.form import Event

__all__ = ["ConverseReader"]


class _ToolInput(Struct):
    input: str = ""


class _Reasoning(Struct, rename="camel"):
    text: str = ""
    signature: str = ""
    redacted_content: str = ""


class _Delta(Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolInput | None = None
    reasoning_content: _Reasoning | None = None
    citation: dict[str, Any] | None = None


class _BlockDelta(Struct, rename="camel"):
    delta: _Delta
    content_block_index: int = 0


class _Tool(Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""
    type: str = ""


class _Start(Struct, rename="camel"):
    tool_use: _Tool | None = None
    tool_result: dict[str, Any] | None = None


class _BlockStart(Struct, rename="camel"):
    start: _Start
    content_block_index: int = 0


class _Stop(Struct, rename="camel"):
    stop_reason: str = ""


class _Metadata(Struct, rename="camel"):
    usage: dict[str, Any] | None = None
    service_tier: dict[str, Any] | None = None


class _Frame(Struct, rename="camel"):
    """An event under its name. Exactly one member is set."""

    content_block_delta: _BlockDelta | None = None
    content_block_start: _BlockStart | None = None
    message_stop: _Stop | None = None
    metadata: _Metadata | None = None
    message_start: dict[str, Any] | None = None
    content_block_stop: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Frame).decode


class ConverseReader:
    """Events in, events out.

    Args:
        id: of the answer, which has none of its own here.
        model: that was asked.
    """

    __slots__ = ("_calls", "_count", "_id", "_model", "_started")

    def __init__(self, id: str = "", model: str = "") -> None:  # noqa: A002  # as in every answer
        self._id = id
        self._model = model
        self._started = False
        self._calls: dict[int, int] = {}
        """By the block's index, the number of its call; -1: a block that nobody else can be told."""
        self._count = 0

    def read(self, data: bytes) -> list[Event]:
        """Read the data of one event."""
        try:
            frame = _decode(data)
        except msgspec.DecodeError:
            return [Unknown("malformed")]
        events = self._read(frame)
        if not self._started:
            self._started = True
            # Some streams have no beginning of their own.
            events.insert(0, Start(self._id, self._model))
        return events

    def _read(self, frame: _Frame) -> list[Event]:
        if frame.content_block_delta is not None:
            return self._read_delta(frame.content_block_delta)
        if frame.content_block_start is not None:
            return self._read_block(frame.content_block_start)
        if frame.message_stop is not None:
            said = frame.message_stop.stop_reason
            return [Finish(REASONS.get(said, "other"), 0, "", said)]
        if frame.metadata is not None:
            tier = (frame.metadata.service_tier or {}).get("type") or ""
            return [] if frame.metadata.usage is None else [UsageReport(read_usage(frame.metadata.usage, tier))]
        known = frame.message_start is not None or frame.content_block_stop is not None
        return [] if known else [Unknown("event")]

    def _read_delta(self, block: _BlockDelta) -> list[Event]:
        delta = block.delta
        if delta.text is not None:
            return [TextDelta(delta.text)]
        if delta.tool_use is not None:
            call = self._calls.get(block.content_block_index, -1)
            return [ToolDelta(call, delta.tool_use.input)] if call >= 0 and delta.tool_use.input else []
        thought = delta.reasoning_content
        if thought is not None:
            if thought.redacted_content:
                return [SignatureDelta(hidden_in(thought.redacted_content), is_redacted=True)]
            return [SignatureDelta(thought.signature)] if thought.signature else [ThinkingDelta(thought.text)]
        if delta.citation is not None:
            return [CitationDelta(citation(delta.citation))]
        return [] if block.content_block_index in self._calls else [Unknown("delta")]

    def _read_block(self, block: _BlockStart) -> list[Event]:
        tool = block.start.tool_use
        if tool is not None and tool.type != "server_tool_use":
            call = self._calls[block.content_block_index] = self._count
            self._count += 1
            return [ToolBegin(call, tool.tool_use_id, tool.name)]
        if tool is not None or block.start.tool_result is not None:
            # A tool of the provider's own, and what it gave.
            self._calls[block.content_block_index] = -1
            return [Unknown("server_tool_use" if tool is not None else "tool_result")]
        return []
