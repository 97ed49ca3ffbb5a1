"""One answer being played, with at most one fault: what whole answers (`whole`) and streams (`stream`) share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dispatch.mock.faults import BEFORE_HEAD, Fault

if TYPE_CHECKING:
    from dispatch.mock.journal import Journal
    from dispatch.mock.turn import Turn
    from dispatch.mock.wheel import Wheel

__all__ = ["Exchange"]

_RESETS: Final = frozenset({Fault.CUT_RST, Fault.RESET_BEFORE_HEAD})


class Exchange:
    """The entry in the journal, the place on the limiter, the ways to end. Called by the wheel when something is due."""

    __slots__ = ("_connection", "_entry", "_fault", "_journal", "_over", "_turn", "_wheel")

    def __init__(self, turn: Turn, journal: Journal, wheel: Wheel, fault: Fault | None) -> None:
        self._turn = turn
        self._connection = turn.connection
        self._entry = turn.entry
        self._journal = journal
        self._wheel = wheel
        self._fault = fault
        self._over = False
        turn.connection.playing = self

    def client_left(self) -> None:
        """Note that the client went before the end; after a hang that is the expected end."""
        if not self._over:
            self._close_entry(self._fault.value if self._entry.outcome != "open" and self._fault else "left", left=True)

    def writable(self) -> None:
        """Nothing waits."""

    def _put(self, data: bytes) -> None:
        self._entry.sent_bytes += len(data)
        self._connection.write(data)

    def _close_entry(self, outcome: str, *, left: bool = False) -> None:
        self._over = True
        if self._turn.limiter is not None:
            self._turn.limiter.in_flight -= 1
        self._journal.close_entry(self._entry, outcome, left=left)

    def _end(self) -> None:
        """The answer is as whole as it was meant to be."""
        self._close_entry(self._fault.value if self._fault else "ok")
        self._connection.answered()

    def _hang(self) -> None:
        """Say nothing more; the client must leave."""
        if self._fault:
            self._entry.outcome = self._fault.value
        self._journal.note()

    def _cut(self) -> None:
        """End the connection, by FIN or RST as the fault says."""
        self._close_entry(self._fault.value if self._fault else "ok")
        self._connection.playing = None
        if self._fault in _RESETS:
            self._connection.reset()
        else:
            self._connection.close()

    def _is_stopped_before_head(self) -> bool:
        if self._fault not in BEFORE_HEAD:
            return False
        if self._fault is Fault.HANG_BEFORE_HEAD:
            self._hang()
        else:
            self._cut()
        return True
