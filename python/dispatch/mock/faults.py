"""What can go wrong with one answer. The names are those of scenario files, flags and the journal (examples: `docs/mock.md`)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["ANSWERS", "BEFORE_HEAD", "CUTS", "HANGS", "MID_ANSWER", "STREAM_LOSSES", "WHOLE_FAULTS", "Fault"]


class Fault(StrEnum):
    """One way to fail; what reaches the client is said with each."""

    RATE_LIMIT = "rate_limit"
    """429 with Retry-After (`retry_after_s`, else 1)."""
    QUOTA = "quota"
    """429 `insufficient_quota`: waiting does not help."""
    SERVER_ERROR = "server_error"
    """500 with OpenAI's error object."""
    BAD_GATEWAY = "bad_gateway"
    """502 with a proxy's HTML page."""
    UNAVAILABLE = "unavailable"
    """503."""
    OVERLOADED = "overloaded"
    """529, in Anthropic's words."""
    BAD_KEY = "bad_key"
    """401."""
    CONTEXT_LENGTH = "context_length"
    """400: the prompt is too long for this model."""
    CONTENT_FILTER = "content_filter"
    """400: vetoed, in Azure's words."""
    CLOSE_BEFORE_HEAD = "close_before_head"
    """FIN without an answer byte: the caller cannot know whether the request was executed."""
    RESET_BEFORE_HEAD = "reset_before_head"
    """RST without an answer byte."""
    HANG_BEFORE_HEAD = "hang_before_head"
    HANG_AFTER_HEAD = "hang_after_head"
    HANG_MID_STREAM = "hang_mid_stream"
    """Silence after `fault_after` of the output; the connection stays open."""
    STALL = "stall"
    """Silence of `stall_s` after `fault_after` of the output; then the rest."""
    SLOW = "slow"
    """Everything takes `slow_factor` times as long."""
    TRICKLE = "trickle"
    """`chars_per_s` characters of the output in a second."""
    CUT_AFTER_HEAD = "cut_after_head"
    """The head, then FIN."""
    CUT_FIN = "cut_fin"
    """FIN after `fault_after` of the output, between two events, without the last chunk: framing tells that it broke."""
    CUT_RST = "cut_rst"
    CUT_MID_EVENT = "cut_mid_event"
    """FIN in the middle of an event."""
    CUT_BEFORE_FINISH = "cut_before_finish"
    """All of the text, then FIN in place of the finish reason."""
    CUT_AFTER_FINISH = "cut_after_finish"
    """The finish reason, then FIN in place of `[DONE]` and the last chunk: a complete answer."""
    END_EARLY = "end_early"
    """The message ends in the middle with correct framing, without finish reason and `[DONE]`: only the dialect tells."""
    NO_FINISH_REASON = "no_finish_reason"
    """All text, no finish reason, no `[DONE]`, correct framing."""
    NO_DONE = "no_done"
    """Finish reason, but no `[DONE]`, correct framing: a complete answer."""
    ERROR_EVENT = "error_event"
    """An error object inside the 200 stream after `fault_after` of the output, then the message ends."""
    UNAVAILABLE_EVENT = "unavailable_event"
    """A 503 as the first event of a 200 stream, in Google's words."""
    MALFORMED_EVENT = "malformed_event"
    """One event in the middle is broken JSON; all others are whole, the stream is healthy."""
    HALF_TOOL_CALL = "half_tool_call"
    """A tool is called, and its arguments stop in the middle; the message ends with correct framing."""
    HTML_PAGE = "html_page"
    """A 200 with a proxy's HTML page."""
    EMPTY_BODY = "empty_body"
    TRUNCATED_JSON = "truncated_json"
    """Half of the JSON under a content length that fits it."""
    WRONG_CONTENT_TYPE = "wrong_content_type"
    """The right bytes as text/plain."""
    REDIRECT = "redirect"
    HUGE_ANSWER = "huge_answer"
    """`huge_bytes` of text: in one event of a stream, in one string of a whole answer."""


ANSWERS: Final = frozenset(
    {
        Fault.RATE_LIMIT,
        Fault.QUOTA,
        Fault.SERVER_ERROR,
        Fault.BAD_GATEWAY,
        Fault.UNAVAILABLE,
        Fault.OVERLOADED,
        Fault.BAD_KEY,
        Fault.CONTEXT_LENGTH,
        Fault.CONTENT_FILTER,
    }
)
"""Those that are an error answer (`refusals`)."""
BEFORE_HEAD: Final = frozenset({Fault.CLOSE_BEFORE_HEAD, Fault.RESET_BEFORE_HEAD, Fault.HANG_BEFORE_HEAD})
HANGS: Final = frozenset({Fault.HANG_BEFORE_HEAD, Fault.HANG_AFTER_HEAD, Fault.HANG_MID_STREAM})
CUTS: Final = frozenset(
    {Fault.CUT_AFTER_HEAD, Fault.CUT_FIN, Fault.CUT_RST, Fault.CUT_MID_EVENT, Fault.CUT_BEFORE_FINISH, Fault.CUT_AFTER_FINISH}
)
"""The connection ends before the message does."""
STREAM_LOSSES: Final = frozenset(
    {Fault.HANG_MID_STREAM, Fault.CUT_FIN, Fault.CUT_RST, Fault.CUT_MID_EVENT, Fault.END_EARLY, Fault.ERROR_EVENT, Fault.HALF_TOOL_CALL}
)
"""Those after which a stream sends no further output."""
MID_ANSWER: Final = STREAM_LOSSES | {Fault.MALFORMED_EVENT, Fault.STALL}
"""Those that strike after `fault_after` of the output."""
WHOLE_FAULTS: Final = frozenset({Fault.HTML_PAGE, Fault.EMPTY_BODY, Fault.TRUNCATED_JSON, Fault.REDIRECT})
"""Faults that answer in one piece even where a stream is asked for."""
