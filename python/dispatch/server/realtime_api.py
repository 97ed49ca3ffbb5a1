"""OpenAI's Realtime API (https://platform.openai.com/docs/guides/realtime-websocket): WebSockets, passed on as they are.

A session takes one place at the key, its user, the model and an endpoint, and gives it back once, when it ends; what its `response.done`
events say that they used is charged as they come. Neither side is read faster than the other one takes; frames above
`server.max_body_bytes` end a session. Before the handshake another endpoint may be asked; after it nobody can stand in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from dispatch.errors import BadRequest
from dispatch.exchange import Call
from dispatch.replies import over_limit
from dispatch.routing import Refusal
from dispatch.server.openai_api import identify
from dispatch.server.session import Session
from dispatch.wire.websocket import is_key

if TYPE_CHECKING:
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound

__all__ = ["realtime"]

DOOR = "realtime"


class _Nothing:
    """A session has no body that could be sent."""

    __slots__ = ()

    def compose(self, prefix: bytes, model: bytes, inject_usage: bool, /) -> bytes:
        """Nothing but the head."""
        del model, inject_usage
        return prefix


def realtime(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """`GET /v1/realtime?model=NAME`, or `?call_id=ID`, with a WebSocket's handshake. Raises `DispatchError` for what is refused."""
    _check_handshake(inbound)
    key = identify(front, inbound)
    dispatcher = front.dispatcher
    generation = dispatcher.generation
    assert generation is not None
    asked = dict(parse_qsl(inbound.query.decode("latin-1")))
    # A call that came by telephone or WebRTC has its model already, and lies where all lies that is known by an id.
    name = asked.get("model") or (front.settings.stored if asked.get("call_id") else None)
    if not name:
        raise BadRequest("the query names no model: /v1/realtime?model=NAME", code="missing_parameter", param="model")
    model, upstream_name = generation.find(name, key)
    if dispatcher.draining:
        raise BadRequest("this worker is about to stop", code="draining", status=503)
    pool = model.pool
    if pool is None or DOOR not in pool.cannot:
        why = f"the model {name!r} is no pool of endpoints" if pool is None else f"no endpoint of {name!r} offers {DOOR}"
        raise BadRequest(why, code="unsupported_parameter", param="model")
    received_ns = client.received_ns
    call = Call(client, name, DOOR, _Nothing(), received_ns, received_ns + model.deadline_ns)
    call.upstream_name = upstream_name
    call.key = key.name
    call.affinity = key.affinity
    front.name(call, model)
    if model.from_client:
        call.credential = inbound.credential() or b""
    if key.secret:
        call.asker = key.asker(inbound.header(b"x-dispatch-user") or b"")
    asker = call.asker or key.slot
    ticket = generation.admit(model.slot, asker, 0, 0, received_ns, call.number)
    if isinstance(ticket, Refusal):
        generation.routing.refuse(model.slot, asker)
        client.call = call
        dispatcher.reject(call, over_limit(call, ticket))
        return
    call.ticket = ticket
    dispatcher.under_way += 1
    client.call = call
    Session(front, client, inbound, call, pool).start()


def _check_handshake(inbound: Inbound) -> None:
    """What RFC 6455 section 4.2.1 asks of a client."""
    upgrade = (inbound.header(b"upgrade") or b"").strip().lower()
    options = [one.strip().lower() for one in (inbound.header(b"connection") or b"").split(b",")]
    if inbound.minor < 1 or upgrade != b"websocket" or b"upgrade" not in options:
        raise BadRequest("this path is for WebSockets: an Upgrade is missing", code="invalid_handshake", status=426)
    if inbound.header(b"sec-websocket-version") != b"13":
        raise BadRequest("Sec-WebSocket-Version must be 13", code="invalid_handshake", param="sec-websocket-version")
    if not is_key(inbound.header(b"sec-websocket-key") or b""):
        raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64", code="invalid_handshake", param="sec-websocket-key")
