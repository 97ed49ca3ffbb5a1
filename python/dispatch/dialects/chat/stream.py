"""The chunks of a streamed chat completion: read into events, written from them. One call per chunk, nothing is kept back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec import Struct, field

from dispatch.dialects.chat.answers import FINISHES, REASONS, annotation, read_usage, reasoning_detail, write_usage
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
from dispatch.dialects.writer import StreamWriter

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Event
    from dispatch.dialects.writer import Writes

__all__ = ["ChatReader", "ChatWriter"]


class _Function(Struct):
    name: str | None = None
    arguments: str | Any = None
    input: str | None = None


class _Call(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    custom: _Function | None = None
    extra_content: Any = None


class _Delta(Struct):
    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | Any = None
    reasoning_details: list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _Choice(Struct):
    index: int = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    logprobs: Any = None


class _Chunk(Struct):
    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[_Choice] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    service_tier: str | None = None


_decode = msgspec.json.Decoder(_Chunk).decode
_encode = msgspec.json.encode


class ChatReader:
    """Chunks in, events out."""

    __slots__ = ("_calls", "_has_thought", "_started", "_tier")

    def __init__(self) -> None:
        self._started = False
        self._has_thought = False
        self._tier = ""
        self._calls: dict[int, list[tuple[int | None, str]]] = {}
        """Per choice, the provider's index and id of each call."""

    def read(self, data: bytes) -> list[Event]:
        """Read the data of one event."""
        if data == b"[DONE]":
            return []
        try:
            chunk = _decode(data)
        except msgspec.ValidationError:
            return [Unknown("malformed")]
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Start(chunk.id or "", chunk.model or "", None, int(chunk.created or 0)))
        for choice in chunk.choices:
            delta = choice.delta or choice.message
            if delta is not None:
                self._read_delta(events, choice, delta)
            if choice.finish_reason:
                stop = choice.stop_reason if isinstance(choice.stop_reason, str) else ""
                events.append(Finish(REASONS.get(choice.finish_reason, "other"), choice.index, stop, choice.finish_reason))
        self._tier = chunk.service_tier or self._tier
        if chunk.usage is not None:
            usage = read_usage(chunk.usage)
            usage.tier = self._tier
            events.append(UsageReport(usage))
        return events

    def _read_delta(self, events: list[Event], choice: _Choice, delta: _Delta) -> None:
        index = choice.index
        thought = delta.reasoning_content or delta.reasoning
        if isinstance(thought, str) and thought:
            self._has_thought = True
            events.append(ThinkingDelta(thought, index))
        for detail in delta.reasoning_details or ():
            _read_detail(events, detail, index, has_text=self._has_thought)
        content = delta.content
        if content:
            logprobs = choice.logprobs.get("content") if isinstance(choice.logprobs, dict) else None
            if isinstance(content, str):
                events.append(TextDelta(content, index, logprobs))
            else:
                for part in content:
                    _read_part(events, part, index)
        if delta.refusal:
            events.append(RefusalDelta(delta.refusal, index))
        for call in delta.tool_calls or ():
            self._read_call(events, call, index)
        if delta.function_call is not None:
            self._read_call(events, _Call(0, delta.function_call.name, delta.function_call), index)

    def _read_call(self, events: list[Event], call: _Call, choice: int) -> None:
        """A piece of a call. Some servers leave the index out, others use one index for every call."""
        known = self._calls.setdefault(choice, [])
        is_custom = call.custom is not None and bool(call.custom.name or call.custom.input)
        function = (call.custom if is_custom else call.function) or _Function()
        place = next((at for at in range(len(known) - 1, -1, -1) if known[at][0] == call.index), -1)
        is_other = place >= 0 and call.id and known[place][1] != call.id
        if place < 0 or is_other or (call.index is None and function.name):
            place = len(known)
            known.append((call.index, call.id or ""))
            google = call.extra_content.get("google") if isinstance(call.extra_content, dict) else None
            signature = (google or {}).get("thought_signature") or ""
            events.append(ToolBegin(place, call.id or "", function.name or "", choice, signature, is_custom))
        arguments = function.arguments or function.input
        if arguments:
            text = arguments if isinstance(arguments, str) else _encode(arguments).decode()
            events.append(ToolDelta(place, text, choice))


def _read_detail(events: list[Event], detail: Any, choice: int, *, has_text: bool) -> None:
    """OpenRouter repeats the text of `reasoning` here, and we do, once it is signed; MiniMax has it nowhere else."""
    if not isinstance(detail, dict):
        return
    if not has_text and detail.get("text"):
        events.append(ThinkingDelta(detail["text"], choice))
    if detail.get("type") == "reasoning.encrypted" and detail.get("data"):
        events.append(SignatureDelta(detail["data"], choice, is_redacted=True))
    elif detail.get("signature"):
        events.append(SignatureDelta(detail["signature"], choice))


def _read_part(events: list[Event], part: Any, choice: int) -> None:
    """Mistral's reasoning models stream parts."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        if part.get("text"):
            events.append(TextDelta(part["text"], choice))
    elif kind == "thinking":
        inside = part.get("thinking")
        pieces = [inside] if isinstance(inside, str) else [one.get("text") for one in inside or () if isinstance(one, dict)]
        events += [ThinkingDelta(piece, choice) for piece in pieces if piece]
    else:
        events.append(Unknown(str(kind)))


class ChatWriter(StreamWriter):
    """Events in, chunks out.

    Args:
        now_s: what `created` says where the provider does not, seconds since 1970.
        wants_usage: the client asked for the usage event.
    """

    __slots__ = ("_begun", "_chars", "_prefix", "_thoughts", "_wants_usage", "now_s")

    def __init__(self, now_s: int, *, wants_usage: bool) -> None:
        super().__init__()
        self.now_s = now_s
        self._wants_usage = wants_usage
        self._prefix = b""
        self._begun: set[int] = set()
        self._chars = 0
        self._thoughts: list[str] = []

    def end(self) -> bytes:
        """Write what ends a complete stream."""
        out: list[bytes] = []
        if self._wants_usage and self._usage is not None:
            out += (self._head(), b'"choices":[],"usage":', _encode(write_usage(self._usage)), b"}\n\n")
        out.append(b"data: [DONE]\n\n")
        return b"".join(out)

    def _head(self) -> bytes:
        if not self._prefix:
            self._start(Start("", ""), [])
        return self._prefix

    def _start(self, event: Start, out: list[bytes]) -> None:
        tree = {"id": event.id, "object": "chat.completion.chunk", "created": event.created or self.now_s, "model": event.model}
        self._prefix = b"data: " + _encode(tree)[:-1] + b","
        if event.usage is not None:
            self._usage = event.usage

    def _put(self, choice: int, delta: bytes, out: list[bytes], finish: bytes = b"null", more: bytes = b"") -> None:
        if choice not in self._begun:
            self._begun.add(choice)
            out.append(
                b'%b"choices":[{"index":%d,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n' % (self._head(), choice)
            )
        out.append(b'%b"choices":[{"index":%d,"delta":{%b},"finish_reason":%b%b}]}\n\n' % (self._prefix, choice, delta, finish, more))

    def _text(self, event: TextDelta, out: list[bytes]) -> None:
        self._chars += len(event.text)
        more = b"" if event.logprobs is None else b',"logprobs":{"content":%b}' % _encode(event.logprobs)
        self._put(event.choice, b'"content":' + _encode(event.text), out, more=more)

    def _thinking(self, event: ThinkingDelta, out: list[bytes]) -> None:
        self._thoughts.append(event.text)
        self._put(event.choice, b'"reasoning_content":' + _encode(event.text), out)

    def _signature(self, event: SignatureDelta, out: list[bytes]) -> None:
        """The reasoning again, whole and signed: in this form a client sends it back."""
        text = "" if event.is_redacted else "".join(self._thoughts)
        detail = reasoning_detail(text, event.signature, is_redacted=event.is_redacted, index=0)
        self._thoughts.clear()
        self._put(event.choice, b'"reasoning_details":[%b]' % _encode(detail), out)

    def _refusal(self, event: RefusalDelta, out: list[bytes]) -> None:
        self._put(event.choice, b'"refusal":' + _encode(event.text), out)

    def _tool_begin(self, event: ToolBegin, out: list[bytes]) -> None:
        if event.is_custom:
            call: Tree = {"index": event.index, "id": event.id, "type": "custom", "custom": {"name": event.name, "input": ""}}
        else:
            call = {"index": event.index, "id": event.id, "type": "function", "function": {"name": event.name, "arguments": ""}}
        if event.signature:
            call["extra_content"] = {"google": {"thought_signature": event.signature}}
        self._put(event.choice, b'"tool_calls":[%b]' % _encode(call), out)

    def _tool_delta(self, event: ToolDelta, out: list[bytes]) -> None:
        call = b'"tool_calls":[{"index":%d,"function":{"arguments":%b}}]' % (event.index, _encode(event.text))
        self._put(event.choice, call, out)

    def _citation(self, event: CitationDelta, out: list[bytes]) -> None:
        self._put(event.choice, b'"annotations":[%b]' % _encode(annotation(event.citation, self._chars, "")), out)

    def _finish(self, event: Finish, out: list[bytes]) -> None:
        more = b',"stop_reason":' + _encode(event.stop_sequence) if event.stop_sequence else b""
        self._put(event.choice, b"", out, _encode(FINISHES[event.reason]), more)

    writes: ClassVar[Writes] = {
        **StreamWriter.writes,
        Start: _start,
        TextDelta: _text,
        ThinkingDelta: _thinking,
        SignatureDelta: _signature,
        RefusalDelta: _refusal,
        ToolBegin: _tool_begin,
        ToolDelta: _tool_delta,
        CitationDelta: _citation,
        Finish: _finish,
    }
