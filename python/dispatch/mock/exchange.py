"""One answer being played: whole or as a stream, with at most one fault. Called by the wheel when something is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dispatch.mock.faults import MID_ANSWER, Fault

if TYPE_CHECKING:
    from dispatch.mock.journal import Journal
    from dispatch.mock.script import Script
    from dispatch.mock.turn import Turn
    from dispatch.mock.wheel import Wheel

__all__ = ["ERROR_EVENT", "HTML", "Exchange", "StreamExchange", "WholeExchange"]

HTML: Final = b"<!doctype html><html><head><title>Gateway</title></head><body><h1>The service is unavailable</h1></body></html>"
ERROR_EVENT: Final = (
    b'{"error":{"message":"The server had an error while processing your request","type":"server_error","param":null,"code":null}}'
)
_BURST: Final = 128
"""Deltas in one write when there are no pauses: enough to amortise it, few enough to notice a slow reader."""
_STREAM_LOSSES: Final = frozenset({Fault.HANG_MID_STREAM, Fault.CUT_FIN, Fault.CUT_RST, Fault.END_EARLY, Fault.ERROR_EVENT})


class Exchange:
    """What both kinds share: the entry in the journal, the place on the limiter, the ways to end."""

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
        if self._fault in (Fault.CUT_RST, Fault.RESET_BEFORE_HEAD):
            self._connection.reset()
        else:
            self._connection.close()

    def _is_stopped_before_head(self) -> bool:
        if self._fault is Fault.HANG_BEFORE_HEAD:
            self._hang()
        elif self._fault in (Fault.CLOSE_BEFORE_HEAD, Fault.RESET_BEFORE_HEAD):
            self._cut()
        else:
            return False
        return True


class WholeExchange(Exchange):
    """An answer in one piece."""

    __slots__ = ("_body", "_content_type", "_tokens")

    def play(self, body: bytes, content_type: str, tokens: int) -> None:
        """Take what to send when it is due; `tokens` is noted in the journal then."""
        self._body = body
        self._content_type = content_type
        self._tokens = tokens

    def due(self, _now_s: float) -> None:
        """Send it."""
        if self._over or self._is_stopped_before_head():
            return
        cut = int(len(self._body) * self._turn.behaviour.fault_after)
        fault = self._fault
        status, content_type, body = 200, self._content_type, self._body
        if fault in (Fault.END_EARLY, Fault.TRUNCATED_JSON, Fault.MALFORMED_EVENT):
            body = body[:cut]
        elif fault is Fault.ERROR_EVENT:
            body = ERROR_EVENT
        elif fault is Fault.HTML_PAGE:
            content_type, body = "text/html", HTML
        elif fault is Fault.EMPTY_BODY:
            body = b""
        elif fault is Fault.WRONG_CONTENT_TYPE:
            content_type = "text/plain"
        elif fault is Fault.REDIRECT:
            status, body = 307, b""
        self._send(self._turn.reply.head(status, content_type, len(body)), body, cut)

    def _send(self, head: bytes, body: bytes, cut: int) -> None:
        self._entry.status = int(head[9:12])
        self._entry.tokens_out = self._tokens
        if self._fault is Fault.HANG_AFTER_HEAD:
            self._connection.write(head)
            self._hang()
        elif self._fault in (Fault.HANG_MID_STREAM, Fault.CUT_FIN, Fault.CUT_RST):
            self._connection.write(head + body[:cut])
            if self._fault is Fault.HANG_MID_STREAM:
                self._hang()
            else:
                self._cut()
        else:
            self._connection.write(head + body)
            self._end()


class StreamExchange(Exchange):
    """An answer event by event, on a schedule that does not drift: late events go out together."""

    __slots__ = ("_gap", "_gap_s", "_head", "_index", "_next_s", "_script", "_stop", "_strike", "_tokens_each", "_waits")

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
        self._waits = False
        self._tokens_each = script.tokens / script.count if script.count else 0.0
        self._strike = int(script.count * behaviour.fault_after) if self._fault in MID_ANSWER else -1
        self._stop = self._strike if self._fault in _STREAM_LOSSES else script.count

    def open_early(self) -> None:
        """Send the head before the first event is due."""
        if self._fault not in (Fault.HANG_BEFORE_HEAD, Fault.CLOSE_BEFORE_HEAD, Fault.RESET_BEFORE_HEAD):
            self._entry.status = 200
            self._connection.write(self._head)
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
            if self._fault is Fault.HANG_AFTER_HEAD:
                self.open_early()
                self._hang()
                return
            events.append(self._script.opening)
        self._collect(events, now_s)
        if self._index >= self._stop:
            self._finish(events)
            return
        self._write(events)
        self._wheel.at(self._next_s, self)

    def _collect(self, events: list[bytes], now_s: float) -> None:
        index, script, end = self._index, self._script, min(self._stop, self._index + _BURST)
        while index < end and self._next_s <= now_s:
            if index == self._strike and self._fault is Fault.MALFORMED_EVENT:
                events.append(script.malformed(index))
            else:
                events.append(script.delta(index))
            index += 1
            self._next_s += self._gap_s if self._gap is None else self._turn.pause_s(self._gap, self._fault)
        self._index = index

    def _finish(self, events: list[bytes]) -> None:
        fault, script = self._fault, self._script
        if fault not in _STREAM_LOSSES and fault is not Fault.NO_FINISH_REASON:
            events += (script.finish, script.usage)
            if fault is not Fault.NO_DONE:
                events.append(script.done)
        if fault is Fault.ERROR_EVENT:
            events.append(b"data: " + ERROR_EVENT + b"\n\n")
        ends = fault not in (Fault.HANG_MID_STREAM, Fault.CUT_FIN, Fault.CUT_RST)
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
            self._connection.write(data)
