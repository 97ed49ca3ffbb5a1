"""How a worker accepts connections from the sockets that it inherited: its own, and those of slots whose workers have died."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from dispatch.server.listen import BACKLOG
from dispatch.transport.handover import hand_over

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Sequence

__all__ = ["Listener", "Listeners", "lowest_free_fd"]

RESUME_POLL_S = 0.1
"""How often a full worker looks whether it may accept again."""


class Listener:
    """Accepts from one inherited socket, and can stop for a while: connections wait in the kernel's queue meanwhile.

    Args:
        sock: bound; it stays open while the listener is paused.
        protocol: makes the protocol of an accepted connection.
        fd_limit: while the lowest free descriptor is at or above this, nothing is accepted.
    """

    def __init__(
        self, sock: socket.socket, protocol: Callable[[], asyncio.Protocol], fd_limit: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self._sock = sock
        self._protocol = protocol
        self._fd_limit = fd_limit
        self._tls = tls
        self._server: asyncio.Server | None = None
        self.accepts = False
        """Whether it is to accept, apart from pauses."""

    async def start(self) -> None:
        """Accept from now on."""
        self.accepts = True
        # A server closes its socket with itself, so it gets a duplicate.
        server = await asyncio.get_running_loop().create_server(self._accepted, sock=self._sock.dup(), backlog=BACKLOG, ssl=self._tls)
        if self.accepts and self._server is None:
            self._server = server
        else:
            # It was stopped, or started once more, in the meantime.
            server.close()

    def stop(self) -> None:
        """Accept no more; the socket stays, and `start` goes on."""
        self.accepts = False
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _accepted(self) -> asyncio.Protocol:
        """Called once per connection, after its descriptor was made and before it is served."""
        if self._server is not None and lowest_free_fd() >= self._fd_limit:
            # Not at once: this connection would be lost with its server. uvloop accepts one per turn of the loop, so at most one follows.
            asyncio.get_running_loop().call_soon(self._pause)
        return self._protocol()

    def _pause(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            asyncio.get_running_loop().call_later(RESUME_POLL_S, self._resume)

    def _resume(self) -> None:
        loop = asyncio.get_running_loop()
        if not self.accepts:
            return
        if lowest_free_fd() >= self._fd_limit:
            loop.call_later(RESUME_POLL_S, self._resume)
        else:
            self._starting = loop.create_task(self.start())

    async def close(self) -> None:
        """Take in what waits in the accept queue, then close the socket."""
        self.stop()
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                break
            connection.setblocking(False)
            transport, _ = await loop.connect_accepted_socket(self._protocol, connection, ssl=self._tls)
            hand_over(transport, connection)
        self._sock.close()

    def abandon(self) -> None:
        """Close this process's copy of a socket that is another's: what waits there is not ours."""
        self.stop()
        self._sock.close()


class Listeners:
    """A worker's own listener, and those of the other slots, which it starts while their workers are dead.

    Without that, the connections that the kernel gives to a dead worker's socket would wait until its successor has started, which
    takes seconds on a loaded machine and longer for one that dies again and again.

    Args:
        own: the one that always accepts.
        others: by slot.
    """

    def __init__(self, own: Listener, others: dict[int, Listener]) -> None:
        self._own = own
        self._others = others
        self._starting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Accept by the own socket from now on."""
        await self._own.start()

    def cover(self, slots: Sequence[int]) -> None:
        """Accept by the sockets of these other slots, and by no further ones."""
        for slot, listener in self._others.items():
            if slot not in slots:
                listener.stop()
            elif not listener.accepts:
                task = asyncio.get_running_loop().create_task(listener.start())
                self._starting.add(task)
                task.add_done_callback(self._starting.discard)

    def abandon_others(self) -> None:
        """Let go of sockets whose workers live: they end when those close them."""
        for slot, listener in [*self._others.items()]:
            if not listener.accepts:
                listener.abandon()
                del self._others[slot]

    async def close(self) -> None:
        """Take in what waits, at covered sockets too, then close them all."""
        for listener in (self._own, *self._others.values()):
            await listener.close()


def lowest_free_fd() -> int:
    """Return the number that the next descriptor gets. All below are in use, so it tells how near the limit is, at any number of them."""
    try:
        fd = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        # EMFILE: there is none left.
        return sys.maxsize
    os.close(fd)
    return fd
