"""What can go wrong with one answer. The names are those of scenario files, flags and the journal."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["MID_ANSWER", "Fault"]


class Fault(StrEnum):
    """One way to fail; which events reach the client is said with each."""

    CLOSE_BEFORE_HEAD = "close_before_head"
    """FIN without an answer byte: the caller cannot know whether the request was executed."""
    RESET_BEFORE_HEAD = "reset_before_head"
    """RST without an answer byte."""
    HANG_BEFORE_HEAD = "hang_before_head"
    HANG_AFTER_HEAD = "hang_after_head"
    HANG_MID_STREAM = "hang_mid_stream"
    """Silence after `fault_after` of the output; the connection stays open."""
    CUT_FIN = "cut_fin"
    """FIN in the middle, without the last chunk: framing tells that it broke."""
    CUT_RST = "cut_rst"
    END_EARLY = "end_early"
    """The message ends in the middle with correct framing, without finish reason and `[DONE]`: only the dialect tells."""
    NO_FINISH_REASON = "no_finish_reason"
    """All text, no finish reason, no `[DONE]`, correct framing."""
    NO_DONE = "no_done"
    """Finish reason, but no `[DONE]`: a complete answer."""
    ERROR_EVENT = "error_event"
    """An error object inside the 200 stream, then the message ends."""
    MALFORMED_EVENT = "malformed_event"
    """One event in the middle is broken JSON; all others are whole, the stream is healthy."""
    SLOW = "slow"
    """Everything takes `slow_factor` times as long."""
    HTML_PAGE = "html_page"
    """A 200 with a proxy's HTML page."""
    EMPTY_BODY = "empty_body"
    TRUNCATED_JSON = "truncated_json"
    """Half of the JSON under a content length that fits it."""
    WRONG_CONTENT_TYPE = "wrong_content_type"
    """The right bytes as text/plain."""
    REDIRECT = "redirect"


MID_ANSWER: Final = frozenset(
    {Fault.HANG_MID_STREAM, Fault.CUT_FIN, Fault.CUT_RST, Fault.END_EARLY, Fault.ERROR_EVENT, Fault.MALFORMED_EVENT}
)
"""Those that strike after `fault_after` of the output."""
