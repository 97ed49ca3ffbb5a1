"""An answer event by event, with at most one fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dispatch.mock.exchange import Exchange
from dispatch.mock.faults import BEFORE_HEAD, CUTS, MID_ANSWER, STREAM_LOSSES, Fault
from dispatch.mock.refusals import BAD_EVENT, UNAVAILABLE_EVENT

if TYPE_CHECKING:
    from dispatch.mock.script import Script

__all__ = ["StreamExchange"]

_BURST: Final = 128
"""Deltas in one write when there are no pauses: enough to amortise it, few enough to notice a slow reader."""
_UNFINISHED: Final = STREAM_LOSSES | {Fault.NO_FINISH_REASON, Fault.CUT_BEFORE_FINISH}


class StreamExchange(Exchange):
    """Plays on a schedule that does not drift: late events go out together."""

    __slots__ = ("_gap", "_gap_s", "_head", "_index", "_next_s", "_script", "_stalled", "_stop", "_strike", "_tokens_each", "_waits")

    def play(self, script: Script, content_type: str, *, first_s: float, gap_s: float) -> None:
        """Take what to send.

        Args:
            script: the events.
            content_type: for the head.
            first_s: when the first event is due, by the wheel's clock.
            gap_s: the pause between events, unless the behaviour draws each one.
        """
        behaviour = self._turn.behaviour
        self._script = script
        self._head = self._turn.reply.head(200, content_type, None)
        self._gap = behaviour.gap_s if behaviour.gap_s is not None and behaviour.gap_s.constant is None else None
        self._gap_s = gap_s
        self._index = 0
        self._next_s = first_s
        self._stalled = self._fault is not Fault.STALL
        self._waits = False
        self._tokens_each = script.tokens / script.count if script.count else 0.0
        self._strike = int(script.count * behaviour.fault_after) if self._fault in MID_ANSWER else -1
        self._stop = self._strike if self._fault in STREAM_LOSSES else script.count

    def open_early(self) -> None:
        """Send the head before the first event is due."""
        if self._fault not in BEFORE_HEAD:
            self._entry.status = 200
            self._put(self._head)
            self._head = b""

    def writable(self) -> None:
        """Go on after the client was slow."""
        if self._waits:
            self._waits = False
            self.due(self._wheel.now_s())

    def due(self, now_s: float) -> None:
        """Send all events whose time has come."""
        if self._over or (self._head and self._is_stopped_before_head()):
            return
        if self._connection.paused:
            self._waits = True
            return
        events: list[bytes] = []
        if self._index == 0:
            if self._is_stopped_at_head():
                return
            events.append(self._script.opening)
        self._collect(events, now_s)
        if self._index >= self._stop:
            self._finish(events)
            return
        self._write(events)
        self._wheel.at(self._next_s, self)

    def _is_stopped_at_head(self) -> bool:
        if self._fault is Fault.UNAVAILABLE_EVENT:
            self._write([b"data: " + UNAVAILABLE_EVENT + b"\n\n"], last=True)
            self._end()
            return True
        if self._fault not in (Fault.HANG_AFTER_HEAD, Fault.CUT_AFTER_HEAD):
            return False
        if self._head:
            self.open_early()
        if self._fault is Fault.HANG_AFTER_HEAD:
            self._hang()
        else:
            self._cut()
        return True

    def _collect(self, events: list[bytes], now_s: float) -> None:
        index, script, end = self._index, self._script, min(self._stop, self._index + _BURST)
        while index < end and self._next_s <= now_s:
            if index == self._strike and not self._stalled:
                self._stalled = True
                self._next_s = now_s + self._turn.behaviour.stall_s
                break
            if index == self._strike and self._fault is Fault.MALFORMED_EVENT:
                events.append(script.malformed(index))
            else:
                events.append(script.delta(index))
            index += 1
            self._next_s += self._gap_s if self._gap is None else self._turn.pause_s(self._gap, self._fault)
        self._index = index

    def _finish(self, events: list[bytes]) -> None:
        fault, script = self._fault, self._script
        if fault not in _UNFINISHED:
            events += (script.finish, script.usage)
            if fault not in (Fault.NO_DONE, Fault.CUT_AFTER_FINISH):
                events.append(script.done)
            self._entry.whole = True
        if fault is Fault.ERROR_EVENT:
            events.append(b"data: " + BAD_EVENT + b"\n\n")
        elif fault is Fault.CUT_MID_EVENT:
            events.append(script.malformed(min(self._index, script.count - 1)).rstrip(b"\n"))
        ends = fault is not Fault.HANG_MID_STREAM and fault not in CUTS
        self._write(events, last=ends)
        if ends:
            self._end()
        elif fault is Fault.HANG_MID_STREAM:
            self._hang()
        else:
            self._cut()

    def _write(self, events: list[bytes], *, last: bool = False) -> None:
        data = b"".join(events)
        if self._turn.request.minor:
            # One HTTP chunk for the events that are due together: framing carries no meaning.
            data = (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + (b"0\r\n\r\n" if last else b"")
        if self._head:
            self._entry.status = 200
            data = self._head + data
            self._head = b""
        self._entry.tokens_out = round(self._index * self._tokens_each)
        if data:
            self._put(data)
