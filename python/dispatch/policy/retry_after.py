"""When a provider asks to come back: Retry-After (RFC 9110 section 10.2.3) and OpenAI's `retry-after-ms`."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["MAX_S", "retry_after_s"]

MAX_S = 300.0
"""Longest wait that is believed (Finagle and linkerd draw the same line): a wrong clock must not close an endpoint for days."""


def retry_after_s(millis: bytes | None, value: bytes | None, wall_s: float) -> float | None:
    """Seconds to wait; None if nothing readable was said.

    Args:
        millis: the field `retry-after-ms`, which wins.
        value: the field `retry-after`: seconds, or a date. A date that has passed means now.
        wall_s: seconds since 1970.
    """
    seconds = _number(millis)
    if seconds is not None:
        seconds /= 1000
    else:
        seconds = _number(value)
    if seconds is None and value:
        seconds = _until(value, wall_s)
    return None if seconds is None else min(seconds, MAX_S)


def _number(text: bytes | None) -> float | None:
    if not text or len(text) > 20:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _until(value: bytes, wall_s: float) -> float | None:
    try:
        moment = parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - wall_s)
