"""A whole answer of `/v2/chat`, and the events of a stream, read into the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from dispatch.dialects.form import (
    Answer,
    Choice,
    CitationDelta,
    Finish,
    Start,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolBegin,
    ToolDelta,
    ToolUse,
    Unknown,
    Usage,
    UsageReport,
)
from dispatch.dialects.shape import MalformedAnswer, answer_tree

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Event, Part

__all__ = ["CohereReader", "read_answer", "read_usage"]

_FINISHES = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "ERROR_LIMIT": "length",
    "TOOL_CALL": "tool",
    "ERROR_TOXIC": "filter",
}
_FAILED = frozenset(("ERROR", "TIMEOUT"))
_SILENT = frozenset(("content-start", "content-end", "tool-call-end", "citation-end"))
"""Events that say only where something begins or ends."""


def read_answer(body: bytes) -> Answer:
    """Read an answer.

    Raises:
        MalformedAnswer: it has no message, or says that it failed.
    """
    tree = answer_tree(body)
    message = tree.get("message")
    if not isinstance(message, dict):
        raise MalformedAnswer("the answer has no message")
    said = str(tree.get("finish_reason") or "")
    if said in _FAILED:
        raise MalformedAnswer(f"the answer ended in {said}")
    parts: list[Part] = [Thinking(text=message["tool_plan"])] if message.get("tool_plan") else []
    content = message.get("content") or ()
    parts += [_part(one) for one in ([{"text": content}] if isinstance(content, str) else content)]
    texts = [part for part in parts if isinstance(part, Text)]
    if texts:
        texts[-1].citations = [found for one in message.get("citations") or () for found in citations(one)]
    parts += [_call(one) for one in message.get("tool_calls") or ()]
    logprobs = [_logprob(one) for one in tree.get("logprobs") or ()] or None
    choice = Choice(parts=parts, finish=_FINISHES.get(said, "other" if said else ""), raw_finish=said, logprobs=logprobs)
    usage = tree.get("usage")
    found = read_usage(usage) if isinstance(usage, dict) else None
    return Answer(id=tree.get("id") or "", model="", choices=[choice], usage=found)


def _part(tree: Any) -> Part:
    if not isinstance(tree, dict):
        raise MalformedAnswer("a part of the answer is no object")
    if tree.get("thinking"):
        return Thinking(text=tree["thinking"])
    return Text(text=tree.get("text") or "")


def _call(tree: Tree) -> ToolUse:
    function = tree.get("function") or {}
    return ToolUse(id=tree.get("id") or "", name=function.get("name") or "", arguments=function.get("arguments") or "")


def _logprob(tree: Tree) -> Tree:
    """A chunk of text, which may be several tokens."""
    shown = tree.get("text") or ""
    return {"token": shown, "logprob": sum(tree.get("logprobs") or (0.0,)), "bytes": list(shown.encode()), "top_logprobs": []}


def citations(tree: Tree) -> list[Tree]:
    """The sources of a piece of text, in Anthropic's form for what a search has found."""
    return [
        {
            "type": "search_result_location",
            "cited_text": tree.get("text") or "",
            "source": source.get("id") or "",
            "title": (source.get("document") or {}).get("title") or source.get("id"),
            "search_result_index": at,
            "start_block_index": 0,
            "end_block_index": 0,
        }
        for at, source in enumerate(tree.get("sources") or ())
    ]


def read_usage(tree: Tree) -> Usage:
    """Tokens as the model counted them; as they are billed, where there is nothing else."""
    tokens = tree.get("tokens") or tree.get("billed_units") or {}
    return Usage(
        input=int(tokens.get("input_tokens") or 0),
        output=int(tokens.get("output_tokens") or 0),
        cached=int(tree.get("cached_tokens") or 0),
    )


class _Event(Struct):
    type: str = ""
    id: str = ""
    delta: dict[str, Any] | None = None
    logprobs: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Event).decode


class CohereReader:
    """Events of a stream in, events of the form out.

    Args:
        known: an id for an answer that has none.
        model: the name that was asked for: answers do not say it.
    """

    __slots__ = ("_calls", "_known", "_model")

    def __init__(self, known: str, model: str) -> None:
        self._known = known
        self._model = model
        self._calls = -1

    def read(self, data: bytes) -> list[Event]:
        """Read the data of one event."""
        if data == b"[DONE]":
            return []
        try:
            event = _decode(data)
        except msgspec.ValidationError:
            return [Unknown("malformed")]
        kind, delta = event.type, event.delta or {}
        message = delta.get("message") or {}
        if kind == "content-delta":
            return self._content(message.get("content") or {}, event.logprobs)
        if kind == "tool-plan-delta":
            return [ThinkingDelta(message.get("tool_plan") or "")]
        if kind.startswith("tool-call-") and kind not in _SILENT:
            return self._call(message.get("tool_calls") or {}, begins=kind == "tool-call-start")
        if kind == "message-end":
            return _end(delta)
        if kind == "message-start":
            return [Start(event.id or self._known, self._model)]
        if kind == "citation-start":
            return [CitationDelta(found) for found in citations(message.get("citations") or {})]
        return [] if kind in _SILENT else [Unknown(kind or "event")]

    def _content(self, content: Tree, logprobs: Tree | None) -> list[Event]:
        if content.get("thinking"):
            return [ThinkingDelta(content["thinking"])]
        shown = content.get("text")
        return [TextDelta(shown, 0, None if logprobs is None else [_logprob(logprobs)])] if shown else []

    def _call(self, call: Tree, *, begins: bool) -> list[Event]:
        function = call.get("function") or {}
        events: list[Event] = []
        if begins:
            self._calls += 1
            events.append(ToolBegin(self._calls, call.get("id") or "", function.get("name") or ""))
        if function.get("arguments"):
            events.append(ToolDelta(self._calls, function["arguments"]))
        return events


def _end(delta: Tree) -> list[Event]:
    said = str(delta.get("finish_reason") or "")
    events: list[Event] = [Finish(_FINISHES.get(said, "other"), 0, "", said)]
    usage = delta.get("usage")
    if isinstance(usage, dict):
        events.append(UsageReport(read_usage(usage)))
    return events
