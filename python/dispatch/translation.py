"""What a link does for a door that its provider does not have: the request, the answer or the stream in another dialect.

Chosen once, when the tables are built; a link whose provider has the door never comes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from secrets import token_hex
from time import time
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from dispatch.dialects import embeddings, gemini_embeddings
from dispatch.dialects.form import Unknown, Usage
from dispatch.dialects.messages.write_request import hosted_body
from dispatch.dialects.shape import MalformedAnswer
from dispatch.dialects.table import DIALECTS, HOSTED, Hosted
from dispatch.dialects.target import Losses
from dispatch.errors import BadRequest
from dispatch.routing import LEFT_OUT
from dispatch.translated import UNPRINTABLE, Headed, Translated, dropped_line
from dispatch.wire.http1 import COMPLETE, GOOD, JSON_OK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dispatch.dialects.form import Event, Request
    from dispatch.dialects.table import Reader, Writer
    from dispatch.dialects.target import Target
    from dispatch.exchange import Answer, Body, Call

__all__ = [
    "STREAM",
    "Asked",
    "LineTranslator",
    "Rewriting",
    "Translation",
    "Translator",
    "native_door",
    "translation_of",
]

PREFERRED = {
    "chat": ("messages", "generate", "ollama", "responses"),
    "messages": ("chat", "generate", "ollama", "responses"),
    "generate": ("chat", "messages", "ollama", "responses"),
    "generate_stream": ("chat", "messages", "ollama", "responses"),
    "converse": ("messages", "chat", "generate", "ollama", "responses"),
    "converse_stream": ("messages", "chat", "generate", "ollama", "responses"),
    "responses": ("chat", "messages", "generate", "ollama"),
    "completions": ("chat", "messages", "generate", "ollama"),
    "ollama": ("chat", "messages", "generate", "responses"),
    "ollama_generate": ("ollama", "chat", "messages", "generate", "responses"),
}
"""For a door that a provider lacks: those that can stand in, best first; after them what is in `HOSTED`."""
_OF_GOOGLE = ("gemini_embed_batch", "embed_predict", "gemini_embed")
_OF_BEDROCK = ("cohere_invoke", "titan_embed")
_EMBEDDINGS = {
    "embeddings": ("cohere_embed", "ollama_embed", *_OF_GOOGLE, *_OF_BEDROCK),
    "ollama_embed": ("embeddings", "cohere_embed", *_OF_GOOGLE, *_OF_BEDROCK),
    "gemini_embed": ("embed_predict", "embeddings", "cohere_embed", "ollama_embed", *_OF_BEDROCK),
    "gemini_embed_batch": ("embed_predict", "gemini_embed", "embeddings", "cohere_embed", "ollama_embed", *_OF_BEDROCK),
}
"""The same for embeddings."""
_EMBED_DOORS = {**embeddings.DOORS, **gemini_embeddings.DOORS}
_EMBED_UPSTREAMS = {**embeddings.UPSTREAMS, **gemini_embeddings.UPSTREAMS}

Count = Callable[[int, int], None]
"""Counts what could not be said: a place in `LEFT_OUT`, how many."""
_REFUSED, _REQUEST, _ANSWER, STREAM = range(len(LEFT_OUT))

_KEPT = (b"user-agent", b"traceparent", b"tracestate", b"x-request-id", b"idempotency-key")
"""Of a client's header lines, those that mean the same to every provider."""
_STREAMS = {"generate": "generate_stream", "invoke_model": "invoke_model_stream", **{name: f"{name}_stream" for name in HOSTED}}
"""Where streams have a door of their own."""
_OWN = {
    "messages": (b"anthropic-beta",),
    "predict": (b"anthropic-beta",),
    "chat": (b"openai-beta",),
    "responses": (b"openai-beta",),
}
_SILENT = frozenset(("messages", "invoke", "predict", "converse"))
"""Dialects without a word for how sure a model is."""
_LINES = {"messages": b"anthropic-version: 2023-06-01\r\n"}
"""What a door wants beside the body."""
_BETA = re.compile(rb"(?im)^anthropic-beta: *([^\r]*)")
_NOTHING = (0, 0, 0, 0)
MOST_TOKENS = 1 << 32
"""As many are counted by the core; no answer has that many."""
_COUNTS = (b"x-amzn-bedrock-input-token-count", b"x-amzn-bedrock-output-token-count")
_DIGITS_MOST = 10
_EVENTS = b"text/event-stream"
_LINES_TYPE = b"application/x-ndjson"


def native_door(door: str, doors: Iterable[str]) -> str | None:
    """The door of a provider that can stand in for `door`; None if there is none."""
    offered = set(doors)
    stand_ins = (*PREFERRED[door], *HOSTED) if door in PREFERRED else _EMBEDDINGS.get(door, ())
    return next((name for name in stand_ins if name in offered), None)


def ignore(place: int, count: int, /) -> None:
    """Count nothing."""


def translation_of(door: str, native: str, target: Target, forwarded: Iterable[str] = (), count: Count = ignore) -> Translation:
    """What is done for `door` where `native` stands in for it; `count` is told of what cannot be said."""
    if door in _EMBEDDINGS:
        return EmbedTranslation(door, native, target, forwarded, count)
    if native.startswith("invoke_model"):
        return Counting(door, native, target, forwarded, count)
    if door.removesuffix("_stream") == native:
        return Completing(door, native, target, forwarded, count)
    like = HOSTED[native].like if native in HOSTED else ""
    return (Rewriting if like == door else Translation)(door, native, target, forwarded, count)


class Asked(Protocol):
    """What is translated: a call, or as much of one."""

    body: Body | None
    drops: bool
    dropped: Sequence[str]
    upstream_name: str
    wants_logprobs: bool


class Translation:
    """From the dialect of a door to that of an endpoint and back."""

    __slots__ = ("_forwarded", "_lines", "_source", "_target", "_tells", "_to", "count", "native", "native_stream")

    is_same = False
    """Answers need no translation: only requests are changed."""

    def __init__(self, door: str, native: str, target: Target, forwarded: Iterable[str] = (), count: Count = ignore) -> None:
        self.native = native
        self.native_stream = _STREAMS.get(native, native)
        self._source, self._to = self._sides(door, native)
        self._target = target
        self._tells = native not in _SILENT
        self.count = count
        self._lines = _LINES.get(native, b"") + b"content-type: application/json\r\n"
        self._forwarded = frozenset((*_KEPT, *_OWN.get(native, ()), *(name.lower().encode() for name in forwarded)))

    @staticmethod
    def _sides(door: str, native: str) -> tuple[Any, Any]:
        """The client's dialect and the endpoint's: of chat, or what a subclass translates."""
        return DIALECTS[door.removesuffix("_stream")], HOSTED.get(native) or DIALECTS[native]

    def request(self, call: Asked, head: bytes) -> bytes:
        """The request to send.

        Raises:
            BadRequest: it cannot be said in the endpoint's dialect, or is malformed.
        """
        lines, sent = self._taken(call)
        losses = Losses(drops=self._target.drops or call.drops)
        try:
            request = self._source.read_request(sent)
            if not self._target.model:
                request.model = call.upstream_name
            if call.wants_logprobs:
                # A wish of ours: what cannot tell is asked all the same.
                request.logprobs = self._tells
            written = self._written(request, losses)
        except (KeyError, TypeError, AttributeError, ValueError):
            # What a reader has not looked at, a writer stumbles over.
            raise BadRequest("a field of the request has another type than its API says") from None
        call.dropped = losses.names
        if losses.names:
            self.count(_REQUEST, len(losses.names))
        return self._composed(head, lines, written)

    def _written(self, request: Request, losses: Losses) -> bytes:
        try:
            body: bytes = self._to.write_request(request, self._target, losses)
        except BadRequest:
            self.count(_REFUSED, 1)
            raise
        return body

    def _taken(self, call: Asked) -> tuple[bytes, bytes]:
        """What the client sent: its header lines, its body."""
        body = call.body
        if body is None:
            raise BadRequest("the request's body is gone", code="upstream_error", status=502)
        lines, _, sent = body.compose(b"", b"", False).partition(b"\r\n\r\n")
        return lines, sent

    def _kept(self, lines: bytes) -> bytes:
        """Of a client's header lines, those that mean something to the endpoint."""
        return b"".join([line + b"\r\n" for line in lines.split(b"\r\n") if line.partition(b":")[0] in self._forwarded])

    def _composed(self, head: bytes, lines: bytes, written: bytes) -> bytes:
        kept = self._kept(lines)
        return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (head, kept, self._lines, len(written), written)

    def answer(self, call: Asked, answer: Answer) -> Answer:
        """A whole answer for the client. One that cannot be read comes back without the flags of a good one."""
        losses = Losses(drops=True)
        if call.dropped:
            losses.names = [*call.dropped]
        try:
            body, usage, logprob = self._rewritten(call, answer, losses)
        except (MalformedAnswer, KeyError, TypeError, AttributeError, ValueError):
            return Translated(answer, answer.body, _NOTHING, b"", COMPLETE)
        if len(losses.names) > len(call.dropped):
            self.count(_ANSWER, len(losses.names) - len(call.dropped))
        counts = _NOTHING if usage is None else _counts(usage)
        made = Translated(answer, body, counts, dropped_line(losses.names), COMPLETE | JSON_OK | GOOD)
        made.logprob = logprob
        return made

    def _rewritten(self, call: Asked, answer: Answer, losses: Losses) -> tuple[bytes, Usage | None, float | None]:
        """The body, its usage, and how sure the model is of it where a plan wants to know."""
        found = self._to.read_answer(answer.body)
        logprob = found.take_logprobs() if call.wants_logprobs else None
        found.id = found.id or f"msg_{token_hex(12)}"
        found.model = found.model or self._model(call)
        return self._source.write_answer(found, int(time()), losses), found.usage, logprob

    def stream(self, call: Call) -> Translator:
        """What turns the events of an answer into those of the client's dialect."""
        to = self._to
        reader = to.reader(f"msg_{token_hex(12)}", self._model(call)) if isinstance(to, Hosted) and to.is_nameless else to.reader()
        writer = self._source.writer(int(time()), wants_usage=call.wants_usage)
        kind = LineTranslator if to.is_lines else Translator
        return kind(reader, writer, has_comments=not self._source.is_lines)

    def _model(self, call: Asked) -> str:
        """The model's name, for answers that do not say."""
        return self._target.model or call.upstream_name

    def head(self, call: Call, answer: Answer) -> Answer:
        """The head of a stream for the client."""
        return Headed(answer, call.dropped, _LINES_TYPE if self._source.is_lines else _EVENTS)


class Rewriting(Translation):
    """Anthropic's API at another host: the body says the version and not the model. Answers are passed through."""

    __slots__ = ()

    is_same = True

    def request(self, call: Asked, head: bytes) -> bytes:
        """The request to send, with every field that the client sent."""
        lines, sent = self._taken(call)
        body = msgspec.json.decode(sent)
        betas = _BETA.findall(lines)
        if betas and self.native == "invoke":
            body.setdefault("anthropic_beta", [one.strip() for line in betas for one in line.decode("latin-1").split(",")])
        return self._composed(head, lines, msgspec.json.encode(hosted_body(body, self._target)))

    def answer(self, call: Asked, answer: Answer) -> Answer:
        """As it came."""
        del call
        return answer


class Completing(Rewriting):
    """Converse at an endpoint with a guardrail of its own, which each request gets. Answers are passed through."""

    __slots__ = ()

    def request(self, call: Asked, head: bytes) -> bytes:
        """The request to send, with every other field that the client sent."""
        lines, sent = self._taken(call)
        body = msgspec.json.decode(sent)
        losses = Losses(drops=self._target.drops or call.drops)
        if any(body.get(name) is not None for name in self._target.body):
            losses.cannot("guardrailConfig", "the endpoint has a guardrail of its own")
        call.dropped = losses.names
        # The path says these two.
        own = {name: value for name, value in body.items() if name not in {"model", "stream"}}
        return self._composed(head, lines, msgspec.json.encode(own | self._target.body))


class Counting(Rewriting):
    """Bedrock's InvokeModel: bodies are those of each model's maker, and pass as they are. What they cost stands in the head."""

    __slots__ = ()

    @staticmethod
    def _sides(door: str, native: str) -> tuple[Any, Any]:
        """Nothing is translated; streams are Anthropic's."""
        del door, native
        return DIALECTS["messages"], HOSTED["invoke"]

    def request(self, call: Asked, head: bytes) -> bytes:
        """The request as it came."""
        if call.body is None:
            raise BadRequest("the request's body is gone", code="upstream_error", status=502)
        return call.body.compose(head, b"", False)

    def answer(self, call: Asked, answer: Answer) -> Answer:
        """As it came, with its counts for the books and for the client, which looks for them there."""
        del call
        counts = _counted(answer)
        lines = b"".join(b"%b: %d\r\n" % (name, count) for name, count in zip(_COUNTS, counts, strict=True)) if any(counts) else b""
        usage = answer.usage or _counts(Usage(input=counts[0], output=counts[1]))
        return Translated(answer, answer.body, usage, lines, answer.flags)


class EmbedTranslation(Translation):
    """The same for embeddings."""

    __slots__ = ()

    @staticmethod
    def _sides(door: str, native: str) -> tuple[Any, Any]:
        return _EMBED_DOORS[door], _EMBED_UPSTREAMS[native]

    def _rewritten(self, call: Asked, answer: Answer, losses: Losses) -> tuple[bytes, Usage | None, None]:
        """The vectors as the client asked for them."""
        del losses
        found = self._to.read_answer(answer.body)
        if not found.usage.input:
            found.usage.input = _counted(answer)[0]
        found.model = found.model or self._model(call)
        sent = self._taken(call)[1]
        found.is_base64 = b'"base64"' in sent and self._source.read_request(sent).is_base64
        return self._source.write_answer(found), found.usage, None


def _counted(answer: Answer) -> tuple[int, int]:
    """Tokens in and out by the head of an answer of Bedrock's; zeros where it has none."""
    found = [answer.header(name) or b"" for name in _COUNTS]
    read, written = (int(value) if value.isdigit() and len(value) < _DIGITS_MOST else 0 for value in found)
    return read, written


def _counts(usage: Usage) -> tuple[int, int, int, int]:
    """What is booked; counts that cannot be are unknown, as where nobody says any."""
    counts = (usage.input, usage.output, usage.cached, usage.reasoning)
    is_sound = type(sum(counts)) is int and min(counts) >= 0 and max(counts) < MOST_TOKENS
    return counts if is_sound else _NOTHING


class Translator:
    """One stream from one dialect to another: whole events in, whole events out, in the same call."""

    __slots__ = ("_has_comments", "_read", "_writer")

    def __init__(self, reader: Reader, writer: Writer, *, has_comments: bool = True) -> None:
        self._read = reader.read
        self._writer = writer
        self._has_comments = has_comments

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

    @property
    def lost(self) -> int:
        """How many kinds of things could not be told so far."""
        return len(self._writer.lost)

    def end(self) -> bytes:
        """What ends a complete stream, with a comment on what could not be told in it."""
        lost = UNPRINTABLE.sub("?", ", ".join(self._writer.lost)) if self._has_comments else ""
        comment = f": x-dispatch-dropped: {lost}\n\n".encode("ascii", "replace") if lost else b""
        return comment + self._writer.end()


class LineTranslator(Translator):
    """The same for a stream of JSON lines."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """Translate whole lines, as the core's reader gives them out."""
        return self._writer.write([event for line in data.splitlines() if line for event in self._events(line)])
