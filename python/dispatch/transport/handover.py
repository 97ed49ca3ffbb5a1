"""Who closes the descriptor of a socket that a transport was made of: exactly one of the two.

uvloop takes the socket object over only after `connection_made` and one more round of the loop. A connection that its peer resets
within that round is closed by libuv, and then a second time by the socket object; by then the number may belong to a new connection, and
libuv aborts the process over the descriptor that vanished (so it was in uvloop issues 645 and 738 where making the connection failed).
asyncio's own transports keep the object and close it themselves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

__all__ = ["hand_over"]


def hand_over(transport: asyncio.BaseTransport, sock: socket) -> None:
    """Leave the descriptor to the transport. To be called as soon as `create_connection` or `connect_accepted_socket` has returned it."""
    if transport.is_closing() and not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        sock.detach()
