"""The pages for operators: liveness, readiness, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.errors import DispatchError, InvalidKey
from dispatch.server.answers import page

if TYPE_CHECKING:
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound

__all__ = ["healthz", "metrics", "readyz"]


def healthz(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """This process answers."""
    client.answer(page(200, b'{"status":"ok"}', keep=client.keeps))


def readyz(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """It takes requests: the board is mapped and the socket listens. The health of upstreams is no part of it."""
    if front.dispatcher.draining:
        client.answer(page(503, b'{"status":"draining"}', keep=False))
    else:
        client.answer(page(200, b'{"status":"ready"}', keep=client.keeps))


def metrics(front: Front, client: ClientConnection, inbound: Inbound) -> None:
    """Prometheus text, for this machine or for keys that say `admin`."""
    if not is_loopback(client):
        require_admin(front, inbound)
    elif not front.has_keys:
        front.check_host(inbound)
    client.answer(page(200, front.scrape(), content_type=b"text/plain; version=0.0.4; charset=utf-8", keep=client.keeps))


def is_loopback(client: ClientConnection) -> bool:
    """Whether the client is on this machine (a Unix socket has no peer address)."""
    peer = client.transport.get_extra_info("peername")
    if not isinstance(peer, tuple) or not peer:
        return True
    host = str(peer[0])
    return host.startswith(("127.", "::ffff:127.")) or host == "::1"


def require_admin(front: Front, inbound: Inbound) -> None:
    """Raises unless the request carries a key with `admin: true`."""
    generation = front.dispatcher.generation
    assert generation is not None
    digest = inbound.key_digest()
    key = generation.keys.get(digest) if digest is not None else None
    if key is None:
        raise InvalidKey("from another machine this page needs a key with `admin: true`")
    if not key.admin:
        error = DispatchError(f"key {key.name!r} is no admin key", code="admin_required")
        error.status = 403
        raise error
