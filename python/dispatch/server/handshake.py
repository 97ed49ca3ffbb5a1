"""The handshake of a WebSocket with an endpoint (RFC 6455 section 4): what is asked, and whether the answer is one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from dispatch.errors import Failure
from dispatch.wire.websocket import accept_of

if TYPE_CHECKING:
    from dispatch.exchange import Call
    from dispatch.links import Link
    from dispatch.wire.http1 import Inbound

__all__ = ["MAX_HEAD_BYTES", "asked", "checked"]

MAX_HEAD_BYTES = 16 * 1024
_PROTOCOLS = (b"realtime", b"openai-beta.")
"""Subprotocols that are passed on; others are keys that browsers cannot show otherwise."""


def asked(link: Link, call: Call, inbound: Inbound, key: bytes) -> bytes:
    """The handshake for an endpoint: our own lines, the client's key and subprotocols, no extensions."""
    prefix = link.head_for(call)
    line, _, fields = prefix.partition(b"\r\n")
    path, _, own = line.split(b" ")[1].partition(b"?")
    name = msgspec.json.decode(link.model, type=str) if link.model else call.upstream_name
    given = [one for one in parse_qsl(inbound.query.decode("latin-1")) if one[0] != "key"]
    more = [one for one in given if one[0] != "model"]
    has_model = len(more) < len(given) or all(field != "call_id" for field, _ in more)
    query = urlencode([("model", name), *more] if has_model else more, quote_via=quote)
    target = path + b"?" + (own + b"&" if own else b"") + query.encode("ascii")
    offered = [one.strip() for one in (inbound.header(b"sec-websocket-protocol") or b"").split(b",")]
    kept = b", ".join(one for one in offered if one.startswith(_PROTOCOLS))
    protocol = b"sec-websocket-protocol: %b\r\n" % kept if kept else b""
    lines = b"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: %b\r\n" % key
    return b"GET %b HTTP/1.1\r\n%b%b%b%b\r\n" % (target, fields, inbound.forward, lines, protocol)


def checked(link: Link, head: bytes, key: bytes) -> tuple[bytes, bytes]:
    """The subprotocol that an endpoint has chosen, and what came behind its answer. Raises `UpstreamError`."""
    lines, _, rest = head.partition(b"\r\n\r\n")
    line, *fields = lines.split(b"\r\n")
    told = {name.strip().lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
    status = line.split(b" ")[1:2]
    if status != [b"101"]:
        code = int(status[0]) if status and status[0].isdigit() else 0
        failure = link.provider.classify(code, told.get(b"content-type", b""), rest) if code >= 400 else Failure.MALFORMED
        failure = Failure.MALFORMED if failure is Failure.NONE else failure
        if failure is Failure.CREDENTIAL:
            link.origin.on_refused()
        raise link.error(failure, f"status {code} in place of a handshake", None, None)
    if told.get(b"sec-websocket-accept") != accept_of(key) or b"sec-websocket-extensions" in told:
        raise link.error(Failure.MALFORMED, "a handshake that does not answer ours", None, None)
    return told.get(b"sec-websocket-protocol", b""), rest
