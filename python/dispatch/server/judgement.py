"""Why a request went where it went, and what became of it: `GET /admin/decision`, `POST /admin/route`, `POST /v1/feedback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta, Struct

from dispatch.errors import BadRequest
from dispatch.judgement import explain, learn, shown
from dispatch.server.admin import is_loopback, require_admin
from dispatch.server.answers import page
from dispatch.server.openai_api import check_type, declared, identify

if TYPE_CHECKING:
    from dispatch.decisions import Decision
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound

__all__ = ["decision", "feedback", "route"]


class Feedback(Struct, forbid_unknown_fields=True):
    """How good an answer was."""

    id: Annotated[str, Meta(max_length=100)]
    """Of its decision."""
    score: Annotated[float, Meta(ge=0, le=1)]
    """From 0 to 1."""


def decision(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """A decision as JSON, made again on the way."""
    _admit(front, client, inbound)
    names = parse_qs(inbound.query.decode("latin-1")).get("id", [""])
    found = _find(front, names[0])
    generation = front.dispatcher.generation
    assert generation is not None
    client.answer(page(200, msgspec.json.encode(shown(found, generation.routes)), keep=client.keeps))


def route(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """Where a request would go, without sending it."""
    check_type(inbound)
    key = identify(front, inbound)
    generation = front.dispatcher.generation
    assert generation is not None
    scan = inbound.scan()
    model, _ = generation.find(scan.model, key)
    steps = explain(generation.routes, model.name, scan.body(b"", False), declared(model, inbound))
    client.answer(page(200, msgspec.json.encode({"model": model.name, "steps": steps}), keep=client.keeps))


def feedback(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """Take in how good an answer was."""
    check_type(inbound)
    key = identify(front, inbound)
    try:
        given = msgspec.json.decode(inbound.body, type=Feedback)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"feedback is {{id, score}}: {error}", code="invalid_json") from None
    found = _find(front, given.id, key.name)
    generation = front.dispatcher.generation
    assert generation is not None
    learn(found, given.score, generation.routes)
    client.answer(page(200, msgspec.json.encode({"id": found.id, "score": given.score}), keep=client.keeps))


def _admit(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """Operators only: this machine, or a key that says `admin`."""
    if not is_loopback(client):
        require_admin(front, inbound)
    elif not front.has_keys:
        front.check_host(inbound)


def _find(front: Front, name: str, key: str | None = None) -> Decision:
    """The decision of that id; with `key`, only one of that key. Raises `BadRequest`."""
    found = front.dispatcher.decisions.find(name)
    if found is None or (key is not None and found.key != key):
        worker: Any = front.dispatcher.decisions.worker_of(name)
        if worker is not None:
            raise BadRequest(f"worker {worker} made this decision: ask on another connection", code="other_worker", status=421, param="id")
        raise BadRequest("there is no decision of this id, or it is too long ago", code="decision_not_found", status=404, param="id")
    return found
