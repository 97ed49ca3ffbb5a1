"""Server-sent events of a provider's stream: numbers of the dialects, and the bits of `ResponseReader.state`.

The reader itself is `dispatch.wire.http1.ResponseReader`: a stream is the body of an answer.
"""

from __future__ import annotations

from typing import Final

from dispatch._core import Told

__all__ = [
    "ANTHROPIC",
    "BAD_FRAMING",
    "CHAT",
    "CLOSED",
    "COHERE",
    "COMMITTED",
    "COMPLETE",
    "CONVERSE",
    "CUT_CALL",
    "ENDED",
    "ERROR",
    "FINISHED",
    "FRAMED",
    "FRAMED_ANTHROPIC",
    "LAST_CHUNK",
    "MEDIA",
    "OLLAMA",
    "RAW",
    "RESPONSES",
    "TERMINATED",
    "USAGE",
    "Told",
]

# The third argument of `start_stream` (rust/src/sse/dialect.rs).
CHAT: Final = 0
"""OpenAI chat and text completions, and their many copies."""
RESPONSES: Final = 1
"""OpenAI Responses."""
ANTHROPIC: Final = 2
"""Anthropic messages."""
RAW: Final = 3
"""No server-sent events: the core takes the framing off, and whoever reads the bytes knows the rest."""
OLLAMA: Final = 4
"""Ollama's own API: each line is an event."""
COHERE: Final = 5
"""Cohere's chat, version 2."""
CONVERSE: Final = 6
"""Bedrock's ConverseStream: frames of AWS event streams, given out as server-sent events with the event's name around its payload."""
FRAMED_ANTHROPIC: Final = 7
"""Anthropic messages in the frames of Bedrock's InvokeModelWithResponseStream; given out as at Anthropic."""
MEDIA: Final = 8
"""OpenAI's streams of images, speech and transcripts."""
FRAMED: Final = 9
"""Other makers' models in the frames of InvokeModelWithResponseStream: events in their own words, Bedrock's counts in the last one."""

# Bits of ResponseReader.state; the core has them in sse::state.
COMMITTED: Final = 1
"""A delta was given out, or a finished answer without one: nobody else may answer now."""
FINISHED: Final = 1 << 1
"""Every choice seen has its finish reason."""
USAGE: Final = 1 << 2
"""The final usage was seen."""
TERMINATED: Final = 1 << 3
"""The dialect's last event was seen."""
ERROR: Final = 1 << 4
"""An error event was seen; it is in `error_event` and not in the output."""
ENDED: Final = 1 << 5
"""The HTTP message ended by its own rules."""
BAD_FRAMING: Final = 1 << 6
"""The HTTP message is broken or cut, or an event is larger than 1 MiB."""
CLOSED: Final = 1 << 7
"""The output holds the end of the client's message: nothing may be written after it."""
CUT_CALL: Final = 1 << 8
"""A choice finished with a tool call whose arguments are cut."""
COMPLETE: Final = FINISHED | TERMINATED
"""Either of these, and no ERROR: the answer is whole."""

LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends a chunked message that somebody else than the reader wrote."""
