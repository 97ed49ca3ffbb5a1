"""An answer in one piece, with at most one fault."""

from __future__ import annotations

from typing import Final

from dispatch.mock.exchange import Exchange
from dispatch.mock.faults import CUTS, HANGS, Fault
from dispatch.mock.refusals import BAD_EVENT, HTML, UNAVAILABLE_EVENT
from dispatch.mock.replies import JSON

__all__ = ["WholeExchange"]

_SHORT: Final = frozenset({Fault.END_EARLY, Fault.NO_FINISH_REASON, Fault.TRUNCATED_JSON, Fault.MALFORMED_EVENT, Fault.HALF_TOOL_CALL})
"""Half of the JSON, under a length that fits it: in one piece all of these are the same."""
_INSTEAD: Final = {
    Fault.ERROR_EVENT: (200, JSON, BAD_EVENT),
    Fault.UNAVAILABLE_EVENT: (200, JSON, UNAVAILABLE_EVENT),
    Fault.HTML_PAGE: (200, "text/html", HTML),
    Fault.EMPTY_BODY: (200, JSON, b""),
    Fault.REDIRECT: (307, JSON, b""),
}
"""Status, content type and body in place of the answer."""
_STEP_S: Final = 0.02
"""Between two pieces of a trickle."""


class WholeExchange(Exchange):
    """See the module."""

    __slots__ = ("_body", "_content_type", "_rest", "_tokens")

    def play(self, body: bytes, content_type: str, tokens: int) -> None:
        """Take what to send when it is due; `tokens` is noted in the journal then."""
        self._body = body
        self._content_type = content_type
        self._tokens = tokens
        self._rest = b""

    def due(self, now_s: float) -> None:
        """Send it, or what is left of it."""
        if self._over:
            return
        if self._rest:
            self._go_on(now_s)
        elif not self._is_stopped_before_head():
            status, content_type, body = self._answer()
            self._send(self._turn.reply.head(status, content_type, len(body)), body, now_s)

    def _answer(self) -> tuple[int, str, bytes]:
        fault = self._fault
        if fault in _SHORT:
            return 200, self._content_type, self._body[: self._cut_at()]
        if fault in _INSTEAD:
            return _INSTEAD[fault]
        return 200, "text/plain" if fault is Fault.WRONG_CONTENT_TYPE else self._content_type, self._body

    def _cut_at(self) -> int:
        return int(len(self._body) * self._turn.behaviour.fault_after)

    def _send(self, head: bytes, body: bytes, now_s: float) -> None:
        fault = self._fault
        self._entry.status = int(head[9:12])
        self._entry.tokens_out = self._tokens
        if fault in HANGS:
            self._put(head if fault is Fault.HANG_AFTER_HEAD else head + body[: self._cut_at()])
            self._hang()
        elif fault in CUTS:
            self._put(head + self._until_cut(body))
            self._entry.whole = fault is Fault.CUT_AFTER_FINISH
            self._cut()
        elif fault in (Fault.STALL, Fault.TRICKLE):
            cut = self._cut_at() if fault is Fault.STALL else 0
            self._put(head + body[:cut])
            self._rest = body[cut:]
            self._wheel.at(now_s + (self._turn.behaviour.stall_s if fault is Fault.STALL else _STEP_S), self)
        else:
            self._put(head + body)
            self._entry.whole = body is self._body
            self._end()

    def _until_cut(self, body: bytes) -> bytes:
        if self._fault is Fault.CUT_AFTER_HEAD:
            return b""
        if self._fault is Fault.CUT_AFTER_FINISH:
            return body
        return body[:-1] if self._fault is Fault.CUT_BEFORE_FINISH else body[: self._cut_at()]

    def _go_on(self, now_s: float) -> None:
        size = len(self._rest)
        if self._fault is Fault.TRICKLE:
            size = max(1, round(self._turn.behaviour.chars_per_s * _STEP_S))
        part, self._rest = self._rest[:size], self._rest[size:]
        self._put(part)
        if self._rest:
            self._wheel.at(now_s + _STEP_S, self)
        else:
            self._entry.whole = True
            self._end()
