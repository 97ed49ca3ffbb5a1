"""What becomes of a request that finds no place now: it waits, or it is shed with an answer that says when to come back.

A refusal is 429 only where waiting helps (CONTRACT section 10): the caller's SDK will come back on 429 whatever else we say.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["WAIT_MAX_S", "Shed", "Wait", "admit"]

WAIT_MAX_S = 1.0
"""Longest wait for a place without a queue: the connection and the body are held meanwhile."""


class Wait(Struct, frozen=True):
    """Ask again."""

    after_s: float
    """Seconds until then."""


class Shed(Struct, frozen=True):
    """Refuse now."""

    status: int
    """429, 503 or 504."""
    code: str
    """CONTRACT section 10."""
    retry_after_s: float | None
    """When to come back; None where nothing is known."""


def admit(retry_after_s: float | None, *, left_s: float, wait_max_s: float = WAIT_MAX_S) -> Wait | Shed:
    """Decide on a refusal.

    Args:
        retry_after_s: when a place may be free, by the refusal; None if waiting cannot help or nothing is known.
        left_s: seconds to the deadline.
        wait_max_s: longest wait; 0 sheds at once (a key's own limit: its caller, not we, should slow down).
    """
    if left_s <= 0:
        return Shed(504, "deadline_exceeded", None)
    if retry_after_s is None:
        return Shed(503, "no_endpoint_available", None)
    if retry_after_s <= wait_max_s and retry_after_s < left_s:
        return Wait(retry_after_s)
    return Shed(429, "rate_limit_exceeded", retry_after_s)
