"""What lies at a provider and is known by an id: files, uploads, batches, vector stores, conversations, stored responses.

Ids mean something only to the account that gave them, so all of these paths go to one place: the model that `server.stored` names, and
where that has several accounts, to the one that gave the id (`dispatch.homes`). Method, path, query and body are passed on as they came;
limits, keys and books are those of that model. A key that may use it sees whatever lies there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

import msgspec

from dispatch.errors import BadRequest
from dispatch.server.ids import look
from dispatch.server.openai_api import Door, check_type, identify
from dispatch.wire.rope import InPieces, Rope

if TYPE_CHECKING:
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound, Scan

__all__ = ["ResponsesDoor", "stored_at"]

_KINDS = rb"files|uploads|batches|vector_stores|conversations|responses(?=/)"
_LINE = re.compile(rb"(GET|POST|DELETE) /v1(/(?:%b)(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,255}){0,6})" % _KINDS)
_QUERY = re.compile(rb"[!-~]{0,2000}")
_STATEFUL = ("previous_response_id", "conversation", "background", "prompt")
"""Fields of a response that only an endpoint understands that keeps responses."""
_MARKS = tuple(b'"%b"' % name.encode() for name in _STATEFUL)


def stored_at(line: bytes) -> StoredDoor | None:
    """The door of a method and path; None if nothing is stored there."""
    return _DOOR if _LINE.fullmatch(line) else None


class StoredDoor(Door):
    """Any method, any body."""

    __slots__ = ()
    accepts = 0
    amend = staticmethod(look)

    def __call__(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan | None = None) -> None:
        """Take a request in. Raises `BadRequest` where no place is configured."""
        identify(front, inbound)
        name = front.settings.stored
        if name is None:
            raise BadRequest("nothing is stored here: server.stored names no model", code="not_found", status=404)
        super().__call__(front, client, inbound, cast("Scan", _Passed(inbound, name)))


class ResponsesDoor(Door):
    """Responses: one that goes on with a stored one needs an endpoint that keeps them."""

    __slots__ = ()
    amend = staticmethod(look)

    def __call__(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan | None = None) -> None:
        """Take a request in. Raises `BadRequest` by the name of the field that nobody can do."""
        if scan is None:
            check_type(inbound)
            scan = inbound.scan()
        body = inbound.body
        door: Door | None = None
        if any(mark in body for mark in _MARKS):
            tree = msgspec.json.decode(body)
            field = next((name for name in _STATEFUL if tree.get(name)), "")
            if field:
                generation = front.dispatcher.generation
                assert generation is not None
                model, _ = generation.find(scan.model, identify(front, inbound))
                if _STORED.name not in model.doors:
                    reason = f"{field}: no endpoint of {model.name!r} keeps responses"
                    raise BadRequest(reason, code="unsupported_parameter", param=field)
                door = _STORED
        if door is None:
            super().__call__(front, client, inbound, scan)
        else:
            door(front, client, inbound, scan)


class _KeptDoor(Door):
    """Where responses go that need an endpoint that keeps them."""

    __slots__ = ()
    amend = staticmethod(look)


class _Passed:
    """A request whose line is its content."""

    __slots__ = ("_body", "_inbound", "_name")

    def __init__(self, inbound: Inbound, name: str) -> None:
        self._body = Rope(inbound.pieces())
        self._inbound = inbound
        self._name = name

    @property
    def facts(self) -> tuple[str, bool, int, int, int, int, int]:
        """What routing asks for: `Scan.facts`."""
        is_stream = parse_qs(self._inbound.query.decode("latin-1")).get("stream") == ["true"]
        return self._name, is_stream, 0, 0, 0, 1, 0

    def body(self, model: bytes, inject_usage: bool, /) -> bytes:
        """Nobody is named."""
        del model, inject_usage
        return b"{}"

    def compose(self, prefix: bytes, model: bytes, inject_usage: bool, /) -> bytes:
        """The request below the endpoint's own path; a credential in the query stays here."""
        del model, inject_usage
        inbound = self._inbound
        found = _LINE.fullmatch(inbound.line)
        query = inbound.query
        if found is None or not _QUERY.fullmatch(query):
            raise BadRequest("the path or its query holds what none of this API does", code="invalid_request")
        line, _, fields = prefix.partition(b"\r\n")
        path, _, own = line.split(b" ")[1].partition(b"?")
        parts = [part for part in (own, *query.split(b"&")) if part and not part.startswith(b"key=")]
        target = path + found[2] + (b"?" + b"&".join(parts) if parts else b"")
        length = b"" if found[1] == b"GET" else b"content-length: %d\r\n" % len(self._body)
        head = b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (found[1], target, fields, inbound.forward, length)
        return InPieces.of(head, self._body.pieces(0, len(self._body)))


_DOOR = StoredDoor("stored")
_STORED = _KeptDoor("responses_stored")
