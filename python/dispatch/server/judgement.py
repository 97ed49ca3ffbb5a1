"""Why a request went where it went, and what became of it: `GET /admin/decision`, `POST /admin/route`, `POST /v1/feedback`."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta, Struct

from dispatch.decisions import RING
from dispatch.errors import BadRequest
from dispatch.exchange import Call
from dispatch.judgement import explain, learn, shown
from dispatch.server.admin import is_loopback, require_admin
from dispatch.server.answers import page
from dispatch.server.openai_api import check_type, declared, identify
from dispatch.wire.http1 import Scan

if TYPE_CHECKING:
    from dispatch.dispatcher import Dispatcher
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound

__all__ = ["decision", "feedback", "route", "told_of"]


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
    # An id of ours for the request is that of its decision, with a word before it.
    _give(front, client, names[0].removeprefix("req-"), None, None)


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
    _give(front, client, given.id, key.name, given.score)


def told_of(dispatcher: Dispatcher, name: str, key: str | None, score: float | None) -> tuple[int, bytes]:
    """Answer for a decision of this worker: shown, or with `score` learned from. With `key`, only for one of that key."""
    found = dispatcher.decisions.find(name)
    generation = dispatcher.generation
    if found is None and dispatcher.decisions.had(name):
        return 410, b""
    if found is None or generation is None or (key is not None and found.key != key):
        return 404, b""
    if score is None:
        return 200, msgspec.json.encode(shown(dispatcher.decisions.whole(found), generation.replayed))
    dispatcher.decisions.rate(found, score)
    learn(found, score, generation.routes)
    return 200, msgspec.json.encode({"id": name, "score": score})


def _give(front: Front, client: ClientConnection, name: str, key: str | None, score: float | None) -> None:
    """Answer, or let the worker answer that made the decision."""
    dispatcher = front.dispatcher
    worker = dispatcher.decisions.worker_of(name)
    if worker is None or front.ask_other is None:
        _answer(client, *told_of(dispatcher, name, key, score))
        return
    # The connection is busy as long as it waits.
    now_ns = monotonic_ns()
    client.call = call = Call(client, "", "decision", Scan(b'{"model":""}'), now_ns, now_ns)

    def told(status: int, body: bytes) -> None:
        if client.call is call:
            client.call = None
            _answer(client, status, body)

    front.ask_other(worker, name, key, score, told)


def _answer(client: ClientConnection, status: int, body: bytes) -> None:
    if status == 200:
        client.answer(page(200, body, keep=client.keeps))
    elif status == 410:
        reason = f"this decision is gone: a worker remembers its last {RING:,} requests, for as long as it lives"
        client.refuse(BadRequest(reason, code="decision_gone", status=410, param="id"))
    else:
        client.refuse(BadRequest("there is no decision of this id", code="decision_not_found", status=404, param="id"))


def _admit(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """Operators only: this machine, or a key that says `admin`."""
    if not is_loopback(client):
        require_admin(front, inbound)
    elif not front.has_keys:
        front.check_host(inbound)
