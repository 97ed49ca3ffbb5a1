"""What a provider says of its own limits, in the fields of an answer: how much is left, of how much, and for how long.

OpenAI, Azure and most that speak like them: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, the reset as a span (`6m0s`, `20ms`)
(https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers). Anthropic: `anthropic-ratelimit-{requests,tokens,input-tokens,
output-tokens}-{limit,remaining,reset}`, the reset as an RFC 3339 instant (https://docs.anthropic.com/en/api/rate-limits#response-headers).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MAX_RESET_S", "Left", "left"]

MAX_RESET_S = 300.0
"""No reset is waited for longer, as no Retry-After is."""

_REQUESTS, _TOKENS, _INPUT, _OUTPUT = 0, 1, 2, 4
_FIELDS = (
    (_REQUESTS, b"x-ratelimit-%s-requests"),
    (_TOKENS, b"x-ratelimit-%s-tokens"),
    (_REQUESTS, b"anthropic-ratelimit-requests-%s"),
    (_TOKENS, b"anthropic-ratelimit-tokens-%s"),
    (_INPUT, b"anthropic-ratelimit-input-tokens-%s"),
    (_OUTPUT, b"anthropic-ratelimit-output-tokens-%s"),
)
_NAMES = tuple((kind, form % b"remaining", form % b"limit", form % b"reset") for kind, form in _FIELDS)
_SPAN = re.compile(rb"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_NUMBER = re.compile(rb"\d{1,15}")


class Left(Struct, frozen=True):
    """What is left of one limit."""

    kind: int
    """Which: its place in `Limits`, as the core counts them."""
    remaining: int
    limit: int
    """Of how many a minute; 0: it was not said."""
    reset_s: float
    """When it is whole again; 0: it was not said."""


def left(header: Callable[[bytes], bytes | None], wall_s: float) -> Iterator[Left]:
    """Read the fields of an answer; what cannot be read is left out.

    Args:
        header: the first value of a field.
        wall_s: seconds since 1970.
    """
    for kind, remaining, limit, reset in _NAMES:
        value = _number(header(remaining))
        if value is not None:
            yield Left(kind, value, _number(header(limit)) or 0, _reset_s(header(reset), wall_s))


def _number(value: bytes | None) -> int | None:
    return int(value) if value and _NUMBER.fullmatch(value) else None


def _reset_s(value: bytes | None, wall_s: float) -> float:
    if not value:
        return 0.0
    span = _SPAN.fullmatch(value)
    if span is not None:
        hours, minutes, seconds, millis = (float(part or 0) for part in span.groups())
        return min(hours * 3600 + minutes * 60 + seconds + millis / 1000, MAX_RESET_S)
    try:
        moment = datetime.fromisoformat(value.decode("ascii"))
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, moment.timestamp() - wall_s), MAX_RESET_S)
