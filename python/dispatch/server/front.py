"""What the connections of one worker share: the doors, the generation in force, room for bodies, the slow clocks."""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.errors import BadRequest, DispatchError
from dispatch.lane import LOOPBACK_HOSTS
from dispatch.server import admin, bedrock_api, gemini_api, judgement, models_api, ollama_api, openai_api, realtime_api
from dispatch.server.answers import page
from dispatch.server.anthropic_api import AnthropicCount, AnthropicDoor
from dispatch.server.counting import ResponsesCount
from dispatch.server.media_api import FormDoor, SpeechDoor
from dispatch.server.room import Room
from dispatch.server.stored_api import ResponsesDoor, stored_at
from dispatch.wire.http1 import HAS_ORIGIN, JSON, RequestReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.config import Server
    from dispatch.dispatcher import Dispatcher
    from dispatch.exchange import Call
    from dispatch.generation import Model
    from dispatch.lane import Lane
    from dispatch.server.http1 import ClientConnection
    from dispatch.server.session import Session
    from dispatch.wire.http1 import Inbound

    Door = Callable[["Front", ClientConnection, Inbound], None]

__all__ = ["DOORS", "Front"]

MAX_HEAD_BYTES = 32 * 1024
MAX_FIELDS = 128
SWEEP_S = 0.5
FLUSH_POLL_S = 0.02
_NS = 1_000_000_000

FORWARDED = (
    b"content-type",
    b"accept",
    b"user-agent",
    b"openai-beta",
    b"anthropic-version",
    b"anthropic-beta",
    b"idempotency-key",
    b"traceparent",
    b"tracestate",
    b"x-request-id",
)
"""Header fields of a client that reach an upstream (CONTRACT section 2), beside the configured ones."""


DOORS: dict[bytes, Door] = {
    b"POST /v1/chat/completions": openai_api.Door("chat"),
    b"POST /v1/completions": openai_api.Door("completions"),
    b"POST /v1/embeddings": openai_api.Door("embeddings"),
    b"POST /v1/responses": ResponsesDoor("responses"),
    b"POST /v1/responses/input_tokens": ResponsesCount("responses_counted"),
    b"POST /v1/responses/compact": openai_api.Door("responses_compact"),
    b"POST /v1/moderations": openai_api.Door("moderations"),
    b"POST /v1/rerank": openai_api.Door("rerank"),
    b"POST /v1/images/generations": openai_api.Door("images"),
    b"POST /v1/images/edits": FormDoor("image_edits"),
    b"POST /v1/images/variations": FormDoor("image_variations"),
    b"POST /v1/audio/speech": SpeechDoor("speech"),
    b"POST /v1/audio/transcriptions": FormDoor("transcriptions"),
    b"POST /v1/audio/translations": FormDoor("audio_translations"),
    b"POST /v1/messages": AnthropicDoor("messages"),
    b"POST /v1/messages/count_tokens": AnthropicCount("count_tokens"),
    b"POST /api/chat": ollama_api.OllamaDoor("ollama"),
    b"POST /api/generate": ollama_api.OllamaDoor("ollama_generate"),
    b"POST /api/embed": openai_api.Door("ollama_embed"),
    b"POST /api/show": ollama_api.show,
    b"GET /api/tags": ollama_api.tags,
    b"GET /api/ps": ollama_api.running,
    b"GET /api/version": ollama_api.version,
    b"POST /v2/chat": openai_api.Door("cohere"),
    b"POST /v2/embed": openai_api.Door("cohere_embed"),
    b"POST /v2/rerank": openai_api.Door("rerank"),
    b"POST /v1/chat": openai_api.Door("cohere_v1"),
    b"POST /v1/generate": openai_api.Door("cohere_generate"),
    b"GET /v1/realtime": realtime_api.realtime,
    b"GET /v1/models": models_api.models,
    b"GET /healthz": admin.healthz,
    b"GET /readyz": admin.readyz,
    b"GET /metrics": admin.metrics,
    b"GET /admin/decision": judgement.decision,
    b"POST /admin/route": judgement.route,
    b"POST /v1/feedback": judgement.feedback,
}
DIALECTS = {
    **dict.fromkeys(("messages", "count_tokens"), "anthropic"),
    "generate_array": "gemini_array",
    **dict.fromkeys(("generate", "generate_stream", "gemini_count", "gemini_embed", "gemini_embed_batch"), "gemini"),
    **dict.fromkeys(("ollama", "ollama_generate", "ollama_embed"), "ollama"),
    **dict.fromkeys(("converse", "converse_stream", "invoke_model", "invoke_model_stream"), "bedrock"),
    **dict.fromkeys(("cohere", "cohere_embed", "cohere_v1", "cohere_generate"), "cohere"),
}
"""In which dialect a door refuses, where that is not OpenAI's."""

COHERE_PATHS = frozenset((b"/v2/chat", b"/v2/embed", b"/v2/rerank", b"/v1/chat", b"/v1/generate"))

METHODS: dict[bytes, list[bytes]] = {}
for _line in DOORS:
    _method, _, _path = _line.partition(b" ")
    METHODS.setdefault(_path, []).append(_method)


def door_at(line: bytes) -> Door | None:
    """The door of a method and a path that names something; None if there is none."""
    if models_api.is_of_models(line):
        return models_api.models
    return gemini_api.door_at(line) or bedrock_api.door_at(line) or stored_at(line)


class Front:
    """See the module.

    Args:
        scrape: the text of `/metrics`.
    """

    def __init__(self, dispatcher: Dispatcher, scrape: Callable[[], bytes]) -> None:
        self.dispatcher = dispatcher
        self.scrape = scrape
        self.connections: set[ClientConnection] = set()
        self.reading: set[ClientConnection] = set()
        self.sessions: set[Session] = set()
        self.settings: Server
        self.lane: Lane | None = None
        self.ask_other: Callable[[int, str, str | None, float | None, Callable[[int, bytes], None]], None] | None = None
        """Asks another worker about a decision of its own, by `judgement.told_of`; None: there is none."""
        self._forwarded: tuple[bytes, ...] = FORWARDED
        self._hosts: frozenset[bytes] = LOOPBACK_HOSTS
        self._origins: frozenset[bytes] = frozenset()
        self.room = Room(self._free_bytes)
        self.records = dispatcher.decisions.records

    def start(self) -> None:
        """Start the slow clock on this worker's loop."""
        asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def configure(self) -> None:
        """Take over the settings of the dispatcher's generation."""
        generation = self.dispatcher.generation
        assert generation is not None
        self.lane = generation.lane
        self.settings = settings = generation.config.server
        extra = {name.lower().encode() for endpoint in generation.config.endpoints for name in endpoint.forward_headers}
        self._forwarded = (*FORWARDED, *sorted(extra - set(FORWARDED)))
        self._hosts = LOOPBACK_HOSTS | {name.lower().encode() for name in settings.hosts}
        self._origins = frozenset(origin.encode() for origin in settings.cors_origins)
        for session in [*self.sessions]:
            session.recheck(generation)

    def new_reader(self) -> RequestReader:
        return RequestReader(MAX_HEAD_BYTES, MAX_FIELDS, self.settings.max_body_bytes, self._forwarded)

    def name(self, call: Call, model: Model, given: bytes | None = None) -> None:
        """Number a request, and write the lines by which its answer names it: its id, `given` or a new one, and that of its record."""
        records = self.records
        number = records.begin()
        call.request_id = records.lines(number, model.is_noted)
        if model.is_noted:
            call.number = number
        if given is not None:
            call.request_id = b"x-request-id: %b\r\n%b" % (given, call.request_id.partition(b"\r\n")[2])
            if model.is_noted:
                records.named(number, given)

    def serve_other(self, client: ClientConnection, inbound: Inbound, door: Door | None) -> None:
        """Serve what is no plain request at a known door. Raises `DispatchError` for what is refused."""
        method, _, path = inbound.line.partition(b" ")
        if inbound.flags & HAS_ORIGIN:
            client.cors = self._origin_lines(inbound.header(b"origin") or b"")
        if method == b"OPTIONS" and (path in METHODS or path == b"*"):
            client.answer(page(204, b"", extra=self._option_lines(inbound, path), keep=client.keeps))
        elif door is not None or (door := door_at(inbound.line)) is not None:
            door(self, client, inbound)
        elif method == b"HEAD" and b"GET" in METHODS.get(path, ()):
            client.answer(page(200, b"", keep=client.keeps, head_only=True))
        else:
            raise self._nothing_there(method, path)

    def _nothing_there(self, method: bytes, path: bytes) -> DispatchError:
        shown = path[:200].decode("latin-1")
        allowed = METHODS.get(path)
        if allowed is None:
            return BadRequest(f"there is nothing at {shown}", code="not_found", status=404)
        names = b", ".join(allowed).decode()
        error = BadRequest(f"{shown} takes {names}, not {method.decode('latin-1')}", code="method_not_allowed", status=405)
        error.allow = f"{names}, OPTIONS"
        return error

    @property
    def has_keys(self) -> bool:
        """Whether keys are configured: then they protect, and not where a request comes from."""
        generation = self.dispatcher.generation
        return generation is not None and bool(generation.keys)

    def _origin_lines(self, origin: bytes) -> bytes:
        """What lets the page of a listed origin read its answer. Raises `BadRequest` for others while there are no keys."""
        if origin in self._origins:
            return b"access-control-allow-origin: %b\r\nvary: origin\r\n" % origin
        if self.has_keys:
            return b""
        raise BadRequest(
            "requests of web pages of this origin are not allowed (server.cors_origins)", code="origin_not_allowed", status=403
        )

    def _option_lines(self, inbound: Inbound, path: bytes) -> bytes:
        allow = b"allow: %b, OPTIONS\r\n" % b", ".join(METHODS.get(path, [b"GET", b"POST"]))
        if inbound.header(b"origin") not in self._origins:
            return allow
        wanted = inbound.header(b"access-control-request-headers") or b"authorization, content-type"
        return b"%baccess-control-allow-methods: GET, POST\r\naccess-control-allow-headers: %b\r\n" % (allow, wanted)

    def check_head(self, client: ClientConnection, inbound: Inbound) -> None:
        """Refuse a request before its body arrives, where its head is enough to know."""
        method, _, path = inbound.line.partition(b" ")
        if inbound.line not in DOORS and door_at(inbound.line) is None and method != b"OPTIONS":
            raise self._nothing_there(method, path)
        if inbound.flags & HAS_ORIGIN:
            client.cors = self._origin_lines(inbound.header(b"origin") or b"")
        if method == b"POST":
            accepts = getattr(DOORS.get(inbound.line) or door_at(inbound.line), "accepts", JSON)
            openai_api.check_type(inbound, accepts)
            openai_api.identify(self, inbound)

    def check_host(self, inbound: Inbound) -> None:
        """Without keys only this machine is served, by its own names: a web page must not spend money (DNS rebinding)."""
        host = inbound.header(b"host") or b""
        name = host if host in self._hosts else host.rpartition(b":")[0] or host
        if name.lower() not in self._hosts and inbound.minor:
            raise BadRequest("without keys, Host must be loopback or listed in server.hosts", code="host_not_allowed", status=403)

    def dialect_of(self, line: bytes) -> str:
        """The dialect in which a request at `line` is refused."""
        path = line.partition(b" ")[2]
        if path.startswith(b"/v1/messages"):
            return "anthropic"
        if path.startswith(b"/api/"):
            return "ollama"
        if path.startswith(b"/model/"):
            return "bedrock"
        if path in COHERE_PATHS:
            return "cohere"
        return "gemini" if path.startswith(b"/v1beta/") or gemini_api.door_at(line) is not None else "openai"

    def dialect_of_door(self, door: str) -> str:
        return DIALECTS.get(door, "openai")

    def _free_bytes(self) -> int:
        return self.settings.buffer_bytes - self.dispatcher.held_bytes

    def abort_when_flushed(self, client: ClientConnection) -> None:
        """End a connection by a reset, once what was written has left."""
        if client.transport.get_write_buffer_size() and not client.transport.is_closing():
            asyncio.get_running_loop().call_later(FLUSH_POLL_S, self.abort_when_flushed, client)
        else:
            client.reset()

    def _sweep(self) -> None:
        asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        now_ns = monotonic_ns()
        settings = self.settings
        allowed_ns = int(settings.read_timeout_s * _NS)
        for client in [client for client in self.reading if client.is_late(now_ns, allowed_ns)]:
            client.time_out()
        idle_ns = now_ns - int(settings.idle_s * _NS)
        stuck_ns = now_ns - int(settings.write_timeout_s * _NS)
        for client in [*self.connections]:
            if client.paused_ns and not client.has_taken(now_ns) and client.paused_ns < stuck_ns:
                client.reset()
            elif client.call is not None:
                # Its idle time begins with its answer.
                client.touched_ns = now_ns
            elif client.touched_ns < idle_ns and not client.is_reading:
                client.transport.close()

    def end_after_answers(self) -> None:
        """Let no connection outlive the answer that it is waiting for."""
        for client in self.connections:
            client.end_after_answer()
        for session in [*self.sessions]:
            session.drain()

    def close_idle(self, *, fresh: bool) -> None:
        """Close connections without a request; `fresh`: also those that have not had one yet."""
        for client in [*self.connections]:
            if client.call is None and not client.is_reading and (fresh or client.received_ns):
                client.transport.close()
