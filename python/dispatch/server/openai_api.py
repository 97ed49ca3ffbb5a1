"""OpenAI's API as doors of the sidecar (https://platform.openai.com/docs/api-reference).

A door looks at what routing needs, which the core has found in one pass, and hands the request on; the body itself is not
decoded here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.errors import BadRequest, InvalidKey
from dispatch.exchange import Call
from dispatch.lane import door_generates
from dispatch.policy.sharing import freshness
from dispatch.policy.users import user_named
from dispatch.queue import CLASSES
from dispatch.server.ids import PINNED, pin
from dispatch.server.sdks import suit
from dispatch.wire.http1 import (
    HAS_DEADLINE,
    HAS_DISPATCH,
    HAS_ENCODING,
    HAS_ORIGIN,
    HAS_REQUEST_ID,
    HAS_SESSION,
    HAS_TOOLS,
    INCLUDE_USAGE_TRUE,
    JSON,
    affinity,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.exchange import Body
    from dispatch.generation import KeyEntry, Model
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound, Scan

__all__ = ["Door", "check_type", "declared", "identify"]

_PRIORITIES = tuple(name.encode() for name in CLASSES)


class Door:
    """One POST path whose body is passed through."""

    __slots__ = ("generates", "name")

    accepts = JSON
    """The kind of body: a bit of `Inbound.flags`."""
    body_of: Callable[[Inbound, Scan], Body] | None = None
    """What a dialect adds to the body."""
    amend: Callable[[Model, Call, Inbound], None] | None = None
    """What a door changes of a call before it is dispatched."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.generates = door_generates(name)

    def __call__(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan | None = None) -> None:
        flags = inbound.flags
        if flags & (self.accepts | HAS_ENCODING) != self.accepts:
            check_type(inbound, self.accepts)
        dispatcher = front.dispatcher
        generation = dispatcher.generation
        assert generation is not None
        # Looked up by its SHA-256: how long that takes tells nothing about the keys that exist.
        key = generation.keys.get(inbound.key_digest()) or identify(front, inbound)
        if scan is None:
            scan = inbound.scan()
        name, is_stream, scanned, text_bytes, max_tokens, n, affinity_hash = scan.facts
        model = generation.models.get(name)
        if model is None or key.models is not None or model.is_pattern:
            model, upstream_name = generation.find(name, key)
        else:
            upstream_name = name
        received_ns = client.received_ns
        body = scan if self.body_of is None else self.body_of(inbound, scan)
        call = Call(client, name, self.name, body, received_ns, received_ns + model.deadline_ns)
        call.upstream_name = upstream_name
        call.key = key.name
        call.affinity = affinity_hash or key.affinity
        if is_stream:
            call.stream = True
            call.chunked = inbound.minor > 0
            call.wants_usage = bool(scanned & INCLUDE_USAGE_TRUE)
            if scanned & HAS_TOOLS:
                suit(call, inbound)
        call.tokens_in, tokens_out = generation.expect(model, text_bytes, max_tokens, n)
        if self.generates:
            call.tokens_out = tokens_out
        _read_head(front, model, call, inbound)
        if self.amend is not None:
            self.amend(model, call, inbound)
        client.call = call
        if key.secret:
            call.asker = key.asker(_user(inbound, scan))
        dispatcher.dispatch(call, model, call.asker or key.slot)


def _read_head(front: Front, model: Model, call: Call, inbound: Inbound) -> None:
    """What the head asks for."""
    flags = inbound.flags
    if flags & (HAS_DEADLINE | HAS_SESSION | HAS_DISPATCH):
        _read_hints(call, inbound)
    front.name(call, model, inbound.header(b"x-request-id") or b"" if flags & HAS_REQUEST_ID else None)
    if model.reads_head:
        _read_for(model, call, inbound)


def _user(inbound: Inbound, scan: Scan) -> bytes:
    return inbound.header(b"x-dispatch-user") or user_named(scan.body(b"", False))  # positional in the core


def _read_for(model: Model, call: Call, inbound: Inbound) -> None:
    """What only some models want to know."""
    if model.from_client:
        call.credential = inbound.credential() or b""
    call.freshness = freshness(inbound.header(b"cache-control"))
    if model.declares:
        call.declared = declared(model, inbound)
    if model.homes is not None and call.door not in PINNED:
        pin(model.homes, model.name, call, inbound)


def declared(model: Model, inbound: Inbound) -> list[tuple[str, str]]:
    """What the client says of the request by `x-dispatch-*`, as far as the model looks at it."""
    said = ((name, inbound.header(field)) for name, field in model.declares.items())
    return [(name, value.decode("latin-1")) for name, value in said if value is not None]


def _read_hints(call: Call, inbound: Inbound) -> None:
    raw = inbound.header(b"x-dispatch-deadline-ms")
    if raw is not None:
        if not raw.isdigit() or len(raw) > 12 or int(raw) == 0:
            raise BadRequest(
                "x-dispatch-deadline-ms must be a whole number of milliseconds above 0",
                code="invalid_header",
                param="x-dispatch-deadline-ms",
            )
        call.deadline_ns = min(call.deadline_ns, call.received_ns + int(raw) * 1_000_000)
    call.drops = inbound.header(b"x-dispatch-drop-unsupported") == b"true"
    session = inbound.header(b"x-dispatch-session")
    if session:
        call.affinity = affinity(session)
    call.queue_events = inbound.header(b"x-dispatch-queue-events") == b"1"
    wanted = inbound.header(b"x-dispatch-priority")
    if wanted is not None:
        if wanted not in _PRIORITIES:
            raise BadRequest("x-dispatch-priority must be high, normal or low", code="invalid_header", param="x-dispatch-priority")
        call.priority = _PRIORITIES.index(wanted)


def check_type(inbound: Inbound, accepts: int = JSON) -> None:
    """Refuse bodies of another kind: a browser lets any web page post a form, but not JSON; where forms are taken, `Host` protects."""
    if inbound.flags & HAS_ENCODING:
        raise BadRequest("a compressed body is not taken: send it without Content-Encoding", code="unsupported_media_type", status=415)
    if accepts and not inbound.flags & accepts and not _is_untyped(inbound):
        found = (inbound.header(b"content-type") or b"nothing")[:100].decode("latin-1")
        wanted = "application/json" if accepts == JSON else "multipart/form-data"
        raise BadRequest(f"Content-Type must be {wanted}, found {found}", code="unsupported_media_type", status=415)


def _is_untyped(inbound: Inbound) -> bool:
    """A body without a type, as clients of Ollama and of Bedrock send it; a web page's request has an `Origin`."""
    is_theirs = inbound.line.startswith((b"POST /api/", b"POST /model/")) and not inbound.flags & HAS_ORIGIN
    return is_theirs and inbound.header(b"content-type") is None


def identify(front: Front, inbound: Inbound) -> KeyEntry:
    """Whose request it is. Raises `InvalidKey`; without keys, `BadRequest` for a foreign Host."""
    generation = front.dispatcher.generation
    assert generation is not None
    if not generation.keys:
        front.check_host(inbound)
        return generation.nobody
    digest = inbound.key_digest()
    if digest is None:
        raise InvalidKey("no API key: send it as 'Authorization: Bearer KEY'")
    key = generation.keys.get(digest)
    if key is None:
        raise InvalidKey("the API key is not known")
    return key
