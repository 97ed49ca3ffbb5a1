"""One end of a WebSocket session: what it hears goes to the session, and while it takes nothing the other end is not read."""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from dispatch.wire.websocket import Frames

__all__ = ["Heard", "Side"]

GOODBYE_S = 5.0
"""How long an end that is closed may take to take what was written to it."""


class Heard(Protocol):
    """What happens at an end."""

    def on_bytes(self, side: Side, data: bytes) -> None: ...
    def on_lost(self, side: Side) -> None: ...


class Side(asyncio.Protocol):
    """See the module.

    Attributes:
        frames: of what it says.
        stalled_ns: since when it takes nothing; 0: it does.
    """

    def __init__(self, session: Heard, frames: Frames, *, is_client: bool) -> None:
        self.session = session
        self.frames = frames
        self.is_client = is_client
        self.transport: Any = None
        self.other: Side | None = None
        self.stalled_ns = 0
        self._stops = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.session.on_bytes(self, data)

    def pause_writing(self) -> None:
        self.stalled_ns = monotonic_ns()
        if self.other is not None:
            self.other.stop()

    def resume_writing(self) -> None:
        self.stalled_ns = 0
        if self.other is not None:
            self.other.go_on()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self.session.on_lost(self)

    def stop(self) -> None:
        """Hear nothing for now, for one more reason."""
        self._stops += 1
        if self._stops == 1 and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def go_on(self) -> None:
        """One reason less."""
        self._stops -= 1
        if not self._stops and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def close(self, last: bytes = b"") -> None:
        """Say the last thing, and close: what was written leaves, if somebody takes it in time."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if last:
            transport.write(last)
        transport.close()
        asyncio.get_running_loop().call_later(GOODBYE_S, transport.abort)
