"""What becomes of a request that finds no place now: it waits, or it is shed with an answer that says when to come back.

What cannot be served in time is refused at once: its caller may go elsewhere, and those who can be served are not held up by it. A refusal
is 429 only where waiting helps (CONTRACT section 10): the caller's SDK will come back on 429 whatever else we say.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Shed", "Wait", "admit", "come_back_s"]

LEAST_BACK_S = 1.0
"""Nobody is asked to come back sooner than this to a queue that is full."""


class Wait(Struct, frozen=True):
    """Stay: there is hope."""


class Shed(Struct, frozen=True):
    """Refuse now."""

    status: int
    """429, 503 or 504."""
    code: str
    """CONTRACT section 10."""
    retry_after_s: float | None
    """When to come back; None where nothing is known."""


def admit(  # each is one fact, named at the call
    *,
    can_help: bool,
    retry_after_s: float | None,
    eta_s: float | None,
    left_s: float,
    service_s: float,
    wait_max_s: float,
    is_full: bool,
) -> Wait | Shed:
    """Decide on a refusal.

    Args:
        can_help: waiting may bring a place.
        retry_after_s: when there is a place, by the refusal; None if nobody can know.
        eta_s: when this request would be served, by those before it and the learned rate; None while nothing is learned.
        left_s: seconds to the deadline.
        service_s: how long an answer takes; 0 for unknown.
        wait_max_s: longest wait.
        is_full: as many wait as may.
    """
    if left_s <= 0:
        return Shed(504, "deadline_exceeded", None)
    if not can_help:
        return Shed(503, "no_endpoint_available", None)
    known_s, guessed_s = retry_after_s or 0.0, eta_s or 0.0
    if max(known_s, guessed_s) > min(wait_max_s, left_s - service_s):
        back_s = known_s if known_s > guessed_s else come_back_s(eta_s, wait_max_s)
        return Shed(429, "rate_limit_exceeded", back_s)
    if is_full:
        return Shed(429, "queue_full", come_back_s(eta_s, wait_max_s))
    return Wait()


def come_back_s(eta_s: float | None, wait_max_s: float) -> float:
    """When one who comes back may expect to be served after half of the longest wait, if nobody else comes."""
    return max(LEAST_BACK_S, (eta_s or 0.0) - wait_max_s / 2)
