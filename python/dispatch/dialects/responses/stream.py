"""The events of a streamed response: read into events of the form, written from them. One call per event, nothing is kept back.

Each item of the output is told when it begins, in pieces, and whole when it ends, and all of them again at the end of the response; so
the writer keeps what it has written, but never holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from dispatch.dialects.responses.answers import CALLS, citation_of, finish_of, own_id, read_usage
from dispatch.dialects.responses.marks import hidden_in_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.dialects import Tree
    from dispatch.dialects.form import Event

__all__ = ["ResponsesReader"]


class _Item(Struct):
    type: str = ""
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    encrypted_content: str | None = None


class _Frame(Struct):
    type: str = ""
    delta: str | Any = None
    output_index: int = 0
    summary_index: int = 0
    item: _Item | None = None
    annotation: Any = None
    logprobs: list[Any] | None = None
    response: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Frame).decode
_QUIET = frozenset(("keepalive", "response.queued"))
_TOLD = (".in_progress", ".done", ".part.added", "_part.added", ".completed", ".searching", ".generating", ".interpreting")
"""Ends of the names of events that say nothing which others do not."""


class ResponsesReader:
    """Events of a response in, those of the form out."""

    __slots__ = ("_calls", "_filled", "_started")

    def __init__(self) -> None:
        self._calls: dict[int, int] = {}
        """By the item's index, the number of its call."""
        self._filled: set[int] = set()
        """Calls whose arguments have begun."""
        self._started = False

    def read(self, data: bytes) -> list[Event]:
        """Read the data of one event."""
        if data == b"[DONE]":
            return []
        try:
            frame = _decode(data)
        except msgspec.ValidationError:
            return [Unknown("malformed")]
        read = _READS.get(frame.type)
        if read is not None:
            return read(self, frame)
        return [] if frame.type in _QUIET or frame.type.endswith(_TOLD) else [Unknown(frame.type)]

    def _start(self, frame: _Frame) -> list[Event]:
        if self._started or frame.response is None:
            return []
        self._started = True
        tree = frame.response
        return [Start(own_id(tree), tree.get("model") or "", None, int(tree.get("created_at") or 0))]

    def _text(self, frame: _Frame) -> list[Event]:
        return [TextDelta(frame.delta, 0, frame.logprobs or None)] if frame.delta else []

    def _refusal(self, frame: _Frame) -> list[Event]:
        return [RefusalDelta(frame.delta)] if frame.delta else []

    def _thinking(self, frame: _Frame) -> list[Event]:
        return [ThinkingDelta(frame.delta)] if frame.delta else []

    def _summary(self, frame: _Frame) -> list[Event]:
        """A further part of a summary begins: as in the whole answer, an empty line stands before it."""
        return [ThinkingDelta("\n\n")] if frame.summary_index else []

    def _arguments(self, frame: _Frame) -> list[Event]:
        call = self._calls.get(frame.output_index)
        if call is None or not frame.delta:
            # A call of the provider's own tools, which was named when it began.
            return []
        self._filled.add(call)
        return [ToolDelta(call, frame.delta)]

    def _begin(self, frame: _Frame) -> list[Event]:
        item = frame.item or _Item()
        if item.type in CALLS:
            call = self._calls[frame.output_index] = len(self._calls)
            is_custom = item.type == "custom_tool_call"
            return [ToolBegin(call, item.call_id or item.id or "", item.name or "", 0, "", is_custom, item.namespace or "")]
        return [] if item.type in {"message", "reasoning"} else [Unknown(item.type)]

    def _end(self, frame: _Frame) -> list[Event]:
        item = frame.item or _Item()
        if item.type == "reasoning" and item.encrypted_content:
            return [SignatureDelta(hidden_in_signature(item.id or "", item.encrypted_content))]
        call = self._calls.get(frame.output_index)
        whole = item.arguments or item.input
        # Some servers give a call's arguments only when it is whole.
        return [ToolDelta(call, whole)] if call is not None and call not in self._filled and whole else []

    def _citation(self, frame: _Frame) -> list[Event]:
        found = citation_of(frame.annotation)
        return [Unknown("annotation")] if found is None else [CitationDelta(found)]

    def _finish(self, frame: _Frame) -> list[Event]:
        tree: Tree = frame.response or {}
        events = self._start(frame)
        usage = tree.get("usage")
        if isinstance(usage, dict):
            found = read_usage(usage)
            found.tier = tree.get("service_tier") or ""
            events.append(UsageReport(found))
        reason, said = finish_of(tree, has_calls=bool(self._calls))
        return [*events, Finish(reason, 0, "", said)]


_READS: dict[str, Callable[[ResponsesReader, _Frame], list[Event]]] = {
    "response.created": ResponsesReader._start,
    "response.in_progress": ResponsesReader._start,
    "response.output_text.delta": ResponsesReader._text,
    "response.refusal.delta": ResponsesReader._refusal,
    "response.reasoning_text.delta": ResponsesReader._thinking,
    "response.reasoning_summary_text.delta": ResponsesReader._thinking,
    "response.reasoning_summary_part.added": ResponsesReader._summary,
    "response.function_call_arguments.delta": ResponsesReader._arguments,
    "response.custom_tool_call_input.delta": ResponsesReader._arguments,
    "response.output_item.added": ResponsesReader._begin,
    "response.output_item.done": ResponsesReader._end,
    "response.output_text.annotation.added": ResponsesReader._citation,
    "response.completed": ResponsesReader._finish,
    "response.incomplete": ResponsesReader._finish,
}
