"""An end of a connection that no client takes for the end of its answer."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import Transport

__all__ = ["reset"]

_AT_ONCE = struct.pack("ii", 1, 0)
"""`SO_LINGER` on, 0 s: closing sends RST."""


def reset(transport: Transport | Any) -> None:
    """End a connection by RST: `abort()` alone sends a FIN, which ends an unchunked answer cleanly (RFC 9112 section 6.3)."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
