"""The events of a streamed response, written from those of the form: numbered, each item told when it begins and when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from dispatch.dialects.form import (
    CitationDelta,
    RefusalDelta,
    SignatureDelta,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolBegin,
    ToolDelta,
    ToolUse,
)
from dispatch.dialects.responses.answers import call_item, ending, message_item, note_of, reasoning_item, response, text_part
from dispatch.dialects.writer import FirstChoiceWriter

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.writer import Writes

__all__ = ["ResponsesWriter"]

_encode = msgspec.json.encode


class _Call:
    """A call that may still get pieces."""

    __slots__ = ("at", "begin", "identity", "pieces", "prefix")

    def __init__(self, at: int, identity: str, begin: ToolBegin) -> None:
        self.at = at
        self.identity = identity
        self.begin = begin
        self.pieces: list[str] = []
        kind = b"custom_tool_call_input" if begin.is_custom else b"function_call_arguments"
        item = _encode(self.item("in_progress")["id"])
        name = b"response." + kind
        self.prefix = b'event: %b.delta\ndata: {"type":"%b.delta","item_id":%b,"output_index":%d,"delta":' % (name, name, item, at)

    def item(self, status: str) -> Tree:
        begin = self.begin
        arguments = "".join(self.pieces)
        use = ToolUse(id=begin.id, name=begin.name, arguments=arguments, is_custom=begin.is_custom, space=begin.space)
        return call_item(self.identity, use, status)


class ResponsesWriter(FirstChoiceWriter):
    """Events of the form in, those of a response out.

    Args:
        now_s: what `created_at` says where the provider does not, seconds since 1970.
        wants_usage: usage is always told.
    """

    __slots__ = ("_calls", "_id", "_kind", "_logprobs", "_notes", "_now_s", "_number", "_output", "_pieces", "_prefix", "_tree")

    def __init__(self, now_s: int, *, wants_usage: bool) -> None:
        del wants_usage
        super().__init__()
        self._now_s = now_s
        self._number = 0
        self._id = ""
        self._tree: Tree = {}
        self._output: list[Tree] = []
        """Items that have begun; whole once they have ended."""
        self._kind = ""
        """Of the open item: `text`, `refusal` or `thinking`; empty: none, or calls."""
        self._pieces: list[str] = []
        self._notes: list[Tree] = []
        self._logprobs: list[Tree] = []
        self._prefix = b""
        self._calls: dict[int, _Call] = {}

    def end(self) -> bytes:
        """Write what ends a complete stream."""
        out: list[bytes] = []
        tree = self._begin(out)
        self._close(out)
        self._close_calls(out)
        whole = ending(tree, self._final.reason, self._output, self._usage)
        self._put(out, f"response.{whole['status']}", {"response": whole})
        return b"".join(out)

    def _put(self, out: list[bytes], kind: str, fields: Tree) -> None:
        name = kind.encode()
        data = _encode(fields)[1:-1]
        out.append(b'event: %b\ndata: {"type":"%b",%b,"sequence_number":%d}\n\n' % (name, name, data, self._number))
        self._number += 1

    def _delta(self, out: list[bytes], prefix: bytes, text: str, more: bytes = b"") -> None:
        """Hot: a piece of an item; `prefix` was made when the item began."""
        out.append(b'%b%b%b,"sequence_number":%d}\n\n' % (prefix, _encode(text), more, self._number))
        self._number += 1

    def _start(self, event: Start, out: list[bytes]) -> None:
        if self._tree:
            return
        self._id = event.id
        self._usage = event.usage
        self._tree = tree = response(event.id, event.model, event.created or self._now_s, "in_progress")
        self._put(out, "response.created", {"response": tree})
        self._put(out, "response.in_progress", {"response": tree})

    def _begin(self, out: list[bytes]) -> Tree:
        if not self._tree:
            self._start(Start("", ""), out)
        return self._tree

    def _open(self, kind: str, out: list[bytes]) -> None:
        """Begin an item that is told in pieces."""
        self._begin(out)
        self._close(out)
        self._close_calls(out)
        self._kind = kind
        at = len(self._output)
        if kind == "thinking":
            item = reasoning_item(f"rs_{self._id}_{at}", "")
            place: Tree = {"item_id": item["id"], "output_index": at, "summary_index": 0}
            part: Tree = {"type": "summary_text", "text": ""}
            added, name = "response.reasoning_summary_part.added", "response.reasoning_summary_text"
        else:
            item = message_item(f"msg_{self._id}_{at}", [], "in_progress")
            place = {"item_id": item["id"], "output_index": at, "content_index": 0}
            part = text_part("") if kind == "text" else {"type": "refusal", "refusal": ""}
            added, name = "response.content_part.added", "response.output_text" if kind == "text" else "response.refusal"
        self._output.append(item)
        self._put(out, "response.output_item.added", {"output_index": at, "item": item})
        self._put(out, added, {**place, "part": part})
        named = f"{name}.delta".encode()
        self._prefix = b'event: %b\ndata: {"type":"%b",%b,"delta":' % (named, named, _encode(place)[1:-1])

    def _close(self, out: list[bytes], *, signature: str = "") -> None:
        """End the open item."""
        kind, self._kind = self._kind, ""
        if not kind:
            return
        at = len(self._output) - 1
        identity, text = self._output[at]["id"], "".join(self._pieces)
        self._pieces.clear()
        if kind == "thinking":
            item = reasoning_item(identity, text, signature)
            place: Tree = {"item_id": identity, "output_index": at, "summary_index": 0}
            self._put(out, "response.reasoning_summary_text.done", {**place, "text": text})
            self._put(out, "response.reasoning_summary_part.done", {**place, "part": {"type": "summary_text", "text": text}})
        else:
            place = {"item_id": identity, "output_index": at, "content_index": 0}
            part = text_part(text, self._notes, self._logprobs) if kind == "text" else {"type": "refusal", "refusal": text}
            if kind == "text":
                self._put(out, "response.output_text.done", {**place, "text": text, "logprobs": self._logprobs})
            else:
                self._put(out, "response.refusal.done", {**place, "refusal": text})
            self._put(out, "response.content_part.done", {**place, "part": part})
            item = message_item(identity, [part])
            self._notes, self._logprobs = [], []
        self._ended(at, item, out)

    def _ended(self, at: int, item: Tree, out: list[bytes]) -> None:
        self._output[at] = item
        self._put(out, "response.output_item.done", {"output_index": at, "item": item})

    def _close_calls(self, out: list[bytes]) -> None:
        """End the calls: pieces of one may come after another has begun, but not after something else has."""
        for call in self._calls.values():
            item = call.item("completed")
            is_custom = call.begin.is_custom
            if not is_custom and not call.pieces:
                item["arguments"] = "{}"
            field, name = ("input", "custom_tool_call_input") if is_custom else ("arguments", "function_call_arguments")
            fields: Tree = {"item_id": item["id"], "output_index": call.at, field: item[field]}
            self._put(out, f"response.{name}.done", fields if is_custom else {**fields, "name": item["name"]})
            self._ended(call.at, item, out)
        self._calls.clear()

    def _text(self, event: TextDelta, out: list[bytes]) -> None:
        if self._kind != "text":
            self._open("text", out)
        self._pieces.append(event.text)
        if event.logprobs is None:
            self._delta(out, self._prefix, event.text, b',"logprobs":[]')
        else:
            self._logprobs += event.logprobs
            self._delta(out, self._prefix, event.text, b',"logprobs":' + _encode(event.logprobs))

    def _refusal(self, event: RefusalDelta, out: list[bytes]) -> None:
        if self._kind != "refusal":
            self._open("refusal", out)
        self._pieces.append(event.text)
        self._delta(out, self._prefix, event.text)

    def _thinking(self, event: ThinkingDelta, out: list[bytes]) -> None:
        if self._kind != "thinking":
            self._open("thinking", out)
        self._pieces.append(event.text)
        self._delta(out, self._prefix, event.text)

    def _signature(self, event: SignatureDelta, out: list[bytes]) -> None:
        if self._kind == "thinking" and not event.is_redacted:
            self._close(out, signature=event.signature)
            return
        self._begin(out)
        self._close(out)
        self._close_calls(out)
        at = len(self._output)
        item = reasoning_item(f"rs_{self._id}_{at}", "", event.signature, is_redacted=event.is_redacted)
        self._output.append(item)
        self._put(out, "response.output_item.added", {"output_index": at, "item": item})
        self._ended(at, item, out)

    def _tool_begin(self, event: ToolBegin, out: list[bytes]) -> None:
        self._begin(out)
        self._close(out)
        if event.signature:
            self._signature(SignatureDelta(event.signature), out)
        at = len(self._output)
        call = self._calls[event.index] = _Call(at, f"{self._id}_{at}", event)
        item = call.item("in_progress")
        self._output.append(item)
        self._put(out, "response.output_item.added", {"output_index": at, "item": item})

    def _tool_delta(self, event: ToolDelta, out: list[bytes]) -> None:
        call = self._calls.get(event.index)
        if call is not None:
            call.pieces.append(event.text)
            self._delta(out, call.prefix, event.text)

    def _citation(self, event: CitationDelta, out: list[bytes]) -> None:
        if self._kind != "text":
            self._open("text", out)
        at = len(self._output) - 1
        note = note_of(event.citation, sum(map(len, self._pieces)), "")
        place: Tree = {"item_id": self._output[at]["id"], "output_index": at, "content_index": 0, "annotation_index": len(self._notes)}
        self._notes.append(note)
        self._put(out, "response.output_text.annotation.added", {**place, "annotation": note})

    writes: ClassVar[Writes] = {
        **FirstChoiceWriter.writes,
        Start: _start,
        TextDelta: _text,
        RefusalDelta: _refusal,
        ThinkingDelta: _thinking,
        SignatureDelta: _signature,
        ToolBegin: _tool_begin,
        ToolDelta: _tool_delta,
        CitationDelta: _citation,
    }
