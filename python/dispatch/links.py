"""An endpoint joined with its connections: what an attempt sends, and what it reads from an answer.

Same dialect in and out is passed through: the head is a template made once per endpoint and door, the body is the client's
own bytes with the model's name spliced in.
"""

from __future__ import annotations

import zlib
from time import time
from typing import TYPE_CHECKING

import msgspec

from dispatch.config import FROM_CLIENT
from dispatch.dialects.table import HOSTED
from dispatch.errors import BadRequest, Failure, UpstreamError
from dispatch.policy.mask import masked
from dispatch.policy.prefill import prefill_of
from dispatch.policy.provider_limits import left
from dispatch.policy.retry_after import retry_after_s
from dispatch.providers.base import has_capability, target_of
from dispatch.providers.classify import describe
from dispatch.translated import Translated
from dispatch.translation import ignore, native_door, translation_of
from dispatch.wire import sse
from dispatch.wire.http1 import COMPLETE, CUT_CALL, ENCODED, JSON_OK, read_answer

if TYPE_CHECKING:
    from dispatch.config import Endpoint
    from dispatch.exchange import Answer, Call
    from dispatch.providers.base import Provider
    from dispatch.routing import Lease
    from dispatch.translation import Count, Translation
    from dispatch.transport.connection import Owner

__all__ = ["DIALECTS", "DOORS", "Link", "endpoint_lines"]

DOORS = (
    *("chat", "completions", "embeddings", "responses", "messages", "count_tokens", "generate", "generate_stream"),
    *("gemini_count", "gemini_embed", "gemini_embed_batch", "embed_predict"),
    *("moderations", "rerank", "images", "image_edits", "image_variations", "speech", "transcriptions", "audio_translations"),
    *("stored", "responses_stored", "responses_compact", "responses_counted", "realtime"),
    *(place for name in HOSTED for place in (name, f"{name}_stream")),
    *("ollama", "ollama_generate", "ollama_embed", "cohere_v1", "cohere_generate", "cohere_embed"),
    *("invoke_model", "invoke_model_stream", "invoke_model_stream_others", "titan_embed", "cohere_invoke"),
)
DIALECTS = {
    "chat": sse.CHAT,
    "completions": sse.CHAT,
    "embeddings": sse.CHAT,
    "responses": sse.RESPONSES,
    "messages": sse.ANTHROPIC,
    "count_tokens": sse.ANTHROPIC,
    "generate": sse.CHAT,
    "responses_stored": sse.RESPONSES,
    "responses_compact": sse.RESPONSES,
    "responses_counted": sse.RESPONSES,
    "stored": sse.RESPONSES,
    "realtime": sse.RAW,
    "moderations": sse.CHAT,
    "rerank": sse.CHAT,
    "images": sse.MEDIA,
    "image_edits": sse.MEDIA,
    "image_variations": sse.MEDIA,
    "speech": sse.MEDIA,
    "transcriptions": sse.MEDIA,
    "audio_translations": sse.MEDIA,
    "gemini_count": sse.CHAT,
    "gemini_embed": sse.CHAT,
    "gemini_embed_batch": sse.CHAT,
    "embed_predict": sse.CHAT,
    "generate_stream": sse.CHAT,
    "invoke": sse.FRAMED_ANTHROPIC,
    "predict": sse.ANTHROPIC,
    "converse": sse.CONVERSE,
    "converse_stream": sse.CONVERSE,
    "invoke_model": sse.FRAMED_ANTHROPIC,
    "invoke_model_stream": sse.FRAMED_ANTHROPIC,
    "invoke_model_stream_others": sse.FRAMED,
    "titan_embed": sse.CHAT,
    "cohere_invoke": sse.CHAT,
    "ollama": sse.OLLAMA,
    "ollama_generate": sse.OLLAMA,
    "ollama_embed": sse.OLLAMA,
    "cohere": sse.COHERE,
    "cohere_v1": sse.OLLAMA,
    "cohere_generate": sse.OLLAMA,
    "cohere_embed": sse.COHERE,
}
NOT_JSON = frozenset(("stored", "speech", "transcriptions", "audio_translations"))
"""Doors whose answers may be sound, plain text, or any file."""
_WITH_USAGE = frozenset(("chat", "completions"))

KEPT_LINES = 4
MAX_CLIENT_HEADS = 1024
MAX_REASON = 1000
"""Characters of a provider's text that are repeated. Those of OpenAI's that quote a schema have some hundreds."""

PEEK_BYTES = 1024
MAX_DECODED_BYTES = 64 * 1024 * 1024


class Link:
    """An endpoint, as attempts use it.

    Attributes:
        heads: per door, the request line and every header line that does not depend on the request.
        model: the name upstream, as a JSON string; empty passes on what the client asked for.
        prefill: how it can be asked to go on with an answer (`policy.prefill`); empty: not at all.
        translations: the doors that the provider does not have and another one of it stands in for; mostly empty.
    """

    __slots__ = (
        "_asks_usage",
        "_client_heads",
        "_lines",
        "endpoint",
        "first_lines",
        "from_client",
        "heads",
        "model",
        "name",
        "origin",
        "prefill",
        "provider",
        "translations",
    )

    def __init__(self, endpoint: Endpoint, provider: Provider, origin: Owner, secret: str, count: Count = ignore) -> None:
        self.endpoint = endpoint
        self.name = endpoint.name
        self.provider = provider
        self.origin = origin
        self.model = b"" if endpoint.passes_name else msgspec.json.encode(endpoint.model or endpoint.name)
        self._lines = [endpoint_lines(endpoint.name, attempts) for attempts in range(KEPT_LINES)]
        self.first_lines = self._lines[1]
        self.prefill = prefill_of(provider.capabilities, endpoint)
        self.from_client = endpoint.api_key == FROM_CLIENT
        self._client_heads: dict[tuple[str, bytes], bytes] = {}
        self._asks_usage = has_capability(provider, endpoint, "stream_usage")
        doors = DOORS if endpoint.doors is None else [door for door in DOORS if _family(door) in endpoint.doors]
        found = ((door, provider.head(endpoint, door, secret)) for door in doors)
        self.heads: dict[str, bytes] = {door: head for door, head in found if head is not None}
        self.translations: dict[str, Translation] = {}
        self._translate(count)

    def _translate(self, count: Count) -> None:
        """Let another door of the provider stand in for each that it lacks, where one can."""
        target = target_of(self.provider, self.endpoint)
        stand_ins = {door: native for door in DOORS if door not in self.heads and (native := native_door(door, self.heads)) is not None}
        if target.body and "converse" in self.heads:
            stand_ins |= {"converse": "converse", "converse_stream": "converse"}
        stand_ins |= {door: "invoke_model" for door in ("invoke_model", "invoke_model_stream") if door in self.heads}
        if "invoke_model_stream_others" in self.heads:
            stand_ins["invoke_model_stream"] = "invoke_model_stream_others"
        for door, native in stand_ins.items():
            self.translations[door] = translation_of(door, native, target, self.endpoint.forward_headers, count)
            self.heads.setdefault(door, self.heads[native])

    def request(self, call: Call) -> bytes:
        """The request to send. Raises `BadRequest` when the client's own credential is needed and missing."""
        head = self.heads[call.door]
        translation = self.translations.get(call.door) if self.translations else None
        door = call.door
        if translation is not None:
            door = translation.native_stream if call.stream else translation.native
            head = self.heads[door]
        if self.from_client:
            head = self._client_head(call, head, door)
        if translation is not None:
            return translation.request(call, head)
        body = call.body
        if body is None:
            raise BadRequest("the request's body is gone", code="upstream_error", status=502)
        model = self.model or msgspec.json.encode(call.upstream_name)
        return body.compose(head, model, call.stream and self.injects(call))

    def head_for(self, call: Call) -> bytes:
        """The fixed part of a request that is no HTTP exchange. Raises `BadRequest` when the client's own credential is missing."""
        head = self.heads[call.door]
        return self._client_head(call, head, call.door) if self.from_client else head

    def _client_head(self, call: Call, head: bytes, door: str) -> bytes:
        if not call.credential:
            raise BadRequest(f"{self.name} uses the client's own key, and the request has none", code="invalid_api_key", status=401)
        kept = self._client_heads.get((door, call.credential))
        if kept is None:
            try:
                kept = self.provider.head(self.endpoint, door, call.credential.decode("latin-1"))
            except ValueError:
                raise BadRequest("the API key holds characters that no key has", code="invalid_api_key", status=401) from None
            if len(self._client_heads) >= MAX_CLIENT_HEADS:
                self._client_heads.clear()
            self._client_heads[door, call.credential] = kept or head
        return kept or head

    def injects(self, call: Call) -> bool:
        """Whether this stream's usage is asked for by us and not by the client."""
        return call.stream and self._asks_usage and not call.wants_usage and call.door in _WITH_USAGE

    def dialect(self, door: str) -> int:
        """Tell the number of the stream dialect in which the endpoint answers at a door."""
        translation = self.translations.get(door) if self.translations else None
        return DIALECTS[door if translation is None else translation.native]

    def translated(self, call: Call, answer: Answer) -> Answer:
        """A successful answer in the client's dialect; one that is none in its own is not good any more."""
        translation = self.translations.get(call.door)
        if translation is None or not 200 <= answer.status < 300 or isinstance(answer, Translated) or answer.flags & CUT_CALL:
            return answer
        plain = self.decoded(answer)
        return answer if plain is None else translation.answer(call, plain)

    def lines(self, attempts: int) -> bytes:
        """Header lines for a client: who answered, at which attempt."""
        lines = self._lines
        if attempts < len(lines):
            return lines[attempts]
        return endpoint_lines(self.name, attempts)

    def is_good(self, answer: Answer, door: str) -> bool:
        """Whether it is a success with a body as the door has it. Some gateways send an error object with status 200."""
        if door in NOT_JSON and answer.status == 200 and not answer.flags & (JSON_OK | ENCODED):
            kind = answer.header(b"content-type") or b""
            return bool(answer.body) and not kind.startswith((b"application/json", b"text/html"))
        if answer.status != 200 or answer.flags & (JSON_OK | CUT_CALL) != JSON_OK:
            return False
        if answer.usage is not None or b'"error"' not in answer.body[:PEEK_BYTES]:
            return True
        return self.provider.classify(200, b"application/json", answer.body) is Failure.NONE

    def decoded(self, answer: Answer) -> Answer | None:
        """The answer without its content coding; None when the coding is unknown or broken. Identity is asked for, always."""
        if not answer.flags & ENCODED:
            return answer
        coding = answer.header(b"content-encoding")
        if coding not in (b"gzip", b"x-gzip", b"deflate"):
            return None
        try:
            inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
            body = inflate.decompress(answer.body, MAX_DECODED_BYTES)
        except zlib.error:
            return None
        if inflate.unconsumed_tail or not inflate.eof:
            return None
        return Decoded(answer, body)

    def explain(self, answer: Answer) -> tuple[Failure, str, float | None]:
        """What a bad answer means: the failure, the provider's text without secrets, and when to come back."""
        if answer.flags & CUT_CALL:
            return Failure.BROKEN, "the arguments of a tool call are cut", None
        body = b"" if answer.flags & ENCODED else answer.body
        kind = answer.header(b"content-type") or b""
        failure = self.provider.classify(answer.status, kind, body)
        if failure is Failure.CREDENTIAL:
            self.origin.on_refused()
        if 200 <= answer.status < 300 and failure is Failure.NONE:
            failure = Failure.MALFORMED
        after_s = retry_after_s(answer.header(b"retry-after-ms"), answer.header(b"retry-after"), time())
        text = _text(body)
        return failure, f"status {answer.status}: {text}" if text else f"status {answer.status}", after_s

    def explain_event(self, event: bytes) -> tuple[Failure, str, float | None]:
        """The same for an error that came inside a stream."""
        failure = self.provider.classify(200, b"application/json", event)
        if failure is Failure.NONE:
            failure = Failure.SERVER
        return failure, f"error in the stream: {_text(event)}", None

    def error(self, failure: Failure, reason: str, answer: Answer | None, after_s: float | None) -> UpstreamError:
        """A failed attempt as an error; `answer` is what the provider said, if that was an answer."""
        status = 0 if answer is None else answer.status
        error = UpstreamError(f"{self.name}: {reason}", failure=failure, endpoint=self.name, upstream_status=status, retry_after_s=after_s)
        error.answer = answer
        error.is_clients = answer is not None and self.is_clients(status)
        return error

    def is_clients(self, status: int) -> bool:
        """Whether it was the client who chose what a provider refuses by this status."""
        return self.from_client or (status == 404 and self.endpoint.passes_name)


def _family(door: str) -> str:
    """A door without the ways to use it."""
    return door.removesuffix("_others").removesuffix("_stream").removesuffix("_stored").removesuffix("_compact").removesuffix("_counted")


def endpoint_lines(name: str, attempts: int) -> bytes:
    """Header lines that say which endpoint answered, after how many attempts."""
    return b"x-dispatch-endpoint: %b\r\nx-dispatch-attempts: %d\r\n" % (name.encode(), attempts)


def learn(lease: Lease, answer: Answer, now_ns: int) -> None:
    """Let the core know what a provider says of its limits, where little is left of them."""
    for one in left(answer.header, time()):
        lease.learn(one.kind, one.remaining, one.limit, int(one.reset_s * 1e9), now_ns)


def _text(body: bytes) -> str:
    """What a provider's error says, without secrets: its message and code if they can be found, else its beginning."""
    body = masked(body)
    fault = describe(body)
    if not fault.message:
        return body[:MAX_REASON].decode("utf-8", "replace")
    return fault.message[:MAX_REASON] + (f" ({fault.code})" if fault.code else "")


class Decoded:
    """An answer whose body came in a content coding."""

    __slots__ = ("_answer", "body", "flags", "head", "status", "usage")

    def __init__(self, answer: Answer, body: bytes) -> None:
        is_json, self.usage = read_answer(body)
        self._answer = answer
        self.status = answer.status
        self.head = answer.head
        self.body = body
        self.flags = COMPLETE | (JSON_OK if is_json else 0)

    def header(self, name: bytes, /) -> bytes | None:
        """As of the answer that came."""
        return None if name == b"content-encoding" else self._answer.header(name)

    def compose(self, head: bytes, extra: bytes, overhead_us: int, /) -> bytes:
        """The whole answer for the client."""
        own = b"x-dispatch-overhead-us: %d\r\ncontent-length: %d\r\n\r\n" % (overhead_us, len(self.body))
        return b"%b%b%b%b%b" % (head, self.head, extra, own, self.body)
