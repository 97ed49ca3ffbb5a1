"""What events of OpenAI's Realtime API say: that a response begins, that one is over, and what it or a transcription used.

https://platform.openai.com/docs/api-reference/realtime-server-events. Of all other events nothing is read but their first bytes.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Struct

__all__ = ["BEGUN", "BESIDE", "MARK", "OVER", "Spent", "error_event", "read"]

_CREATED: Final = "response.created"
_DONE: Final = "response.done"
_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"
MARK: Final = re.compile(rb'"type"\s*:\s*"(?:response\.(?:created|done)|conversation\.item\.input_audio_transcription\.completed)"')
"""What stands among the first bytes of the events that are read."""


BEGUN: Final = 1
OVER: Final = -1
BESIDE: Final = 0
"""By how many more responses are under way after an event."""


class _Cached(Struct):
    audio_tokens: int | None = None


class _Input(Struct):
    audio_tokens: int | None = None
    cached_tokens: int | None = None
    cached_tokens_details: _Cached | None = None


class _Output(Struct):
    audio_tokens: int | None = None


class _Usage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _Input | None = None
    output_token_details: _Output | None = None


class _Response(Struct):
    usage: _Usage | None = None


class _Event(Struct):
    type: str = ""
    response: _Response | None = None
    usage: _Usage | None = None


class Spent(Struct, frozen=True):
    """Tokens of responses."""

    input: int = 0
    output: int = 0
    cached: int = 0
    """Of the input, those from the provider's cache."""
    audio_input: int = 0
    """Of the input, those of sound that were not cached."""
    audio_output: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.audio_input + other.audio_input,
            self.audio_output + other.audio_output,
        )


def read(text: bytes) -> tuple[int, Spent]:
    """What has happened, and what it used. A text that is no such event says that a response is over that used nothing.

    A transcription that is booked by its seconds has no tokens.
    """
    try:
        event = msgspec.json.decode(text, type=_Event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return OVER, Spent()
    if event.type == _CREATED:
        return BEGUN, Spent()
    if event.type == _TRANSCRIBED:
        return BESIDE, _spent(event.usage)
    return OVER, _spent(event.response.usage if event.response is not None and event.type == _DONE else None)


def _spent(usage: _Usage | None) -> Spent:
    if usage is None:
        return Spent()
    told, made = usage.input_token_details or _Input(), usage.output_token_details or _Output()
    cached = told.cached_tokens_details or _Cached()
    return Spent(
        input=_count(usage.input_tokens),
        output=_count(usage.output_tokens),
        cached=_count(told.cached_tokens),
        audio_input=max(0, _count(told.audio_tokens) - _count(cached.audio_tokens)),
        audio_output=_count(made.audio_tokens),
    )


def error_event(code: str, kind: str, message: str) -> bytes:
    """An event that tells a client what is wrong, as the provider would."""
    error = {"type": kind, "code": code, "message": message, "param": None, "event_id": None}
    return msgspec.json.encode({"type": "error", "event_id": "event_dispatch", "error": error})


def _count(tokens: int | None) -> int:
    return max(0, tokens or 0)
