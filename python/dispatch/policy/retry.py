"""Whether a failed attempt is made again, where, and after what wait. The only judge of it; the only loop is `attempt`.

The wait is full jitter, uniform from 0 to min(cap, base * 2^k): of the usual schemes it finishes a crowd of clients with the fewest
calls (Brooker, "Exponential Backoff And Jitter", AWS 2015). A provider's Retry-After is a floor under it. Waiting protects the endpoint
that failed; while another one is left, that one is asked at once, and the retry budget on the board bounds the sum of it all.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config import Retry

__all__ = [
    "BUDGET_POLL_S",
    "OF_ACCOUNT",
    "REACH",
    "Again",
    "GiveUp",
    "Reach",
    "backoff_s",
    "is_stale",
    "judge",
    "may_fall_back",
    "place_wait_s",
]


BUDGET_POLL_S = 0.1
"""How often a retry asks whether the budget has one for it: the budget earns ten a second."""


class Reach(IntEnum):
    """How far from the endpoint that failed a request may still be tried; each includes those below it."""

    NOWHERE = 0
    FALLBACK = 1
    """Only under another plan, and only where `retry.fallback_on` says so: its endpoints differ where this pool's are alike."""
    ELSEWHERE = 2
    """At another endpoint of the pool: this one will fail again."""
    ANYWHERE = 3
    """Here too, if no other is left."""


REACH: Mapping[Failure, Reach] = {
    Failure.NONE: Reach.NOWHERE,
    Failure.CANCELLED: Reach.NOWHERE,
    Failure.CONNECT: Reach.ANYWHERE,
    # As far as it goes once it may be sent again at all: `retry.unknown`.
    Failure.UNKNOWN_EXECUTION: Reach.ANYWHERE,
    Failure.FIRST_TOKEN_TIMEOUT: Reach.ANYWHERE,
    Failure.STALLED: Reach.ANYWHERE,
    Failure.RATE_LIMITED: Reach.ANYWHERE,
    Failure.QUOTA_EXHAUSTED: Reach.ELSEWHERE,
    Failure.SERVER: Reach.ANYWHERE,
    Failure.OVERLOADED: Reach.ANYWHERE,
    Failure.CREDENTIAL: Reach.ELSEWHERE,
    Failure.BAD_REQUEST: Reach.NOWHERE,
    # Endpoints of one pool are alike, so the prompt is too long for each; a fallback may be a model with a longer context, or a dear one.
    Failure.CONTEXT_LENGTH: Reach.FALLBACK,
    # Shopping a vetoed prompt around is a decision for people, not a default.
    Failure.CONTENT_FILTER: Reach.FALLBACK,
    Failure.MALFORMED: Reach.ANYWHERE,
    Failure.BROKEN: Reach.ANYWHERE,
    Failure.DEADLINE: Reach.NOWHERE,
    Failure.TOO_LARGE: Reach.NOWHERE,
    Failure.SLOW: Reach.ANYWHERE,
}
"""The one table of what follows a failure."""
OF_ACCOUNT = frozenset((Failure.RATE_LIMITED, Failure.QUOTA_EXHAUSTED))
"""Failures that speak for all endpoints of an account."""

# A kept connection that was idle for a while and ends at once most likely ended before it was read from: servers close idle ones.
_STALE_IDLE_S = 1.0
_STALE_END_S = 0.05


# Places that are given back some time, and how often they are looked for.
_PLACES = frozenset(("capacity", "concurrency"))
_LOOK_S = 0.05


class Again(Struct, frozen=True):
    """Try again."""

    after_s: float
    """Seconds to wait first."""


class GiveUp(Struct, frozen=True):
    """Do not try again in this pool."""

    reason: str
    """`committed`, `final`, `unknown`, `attempts`, `endpoints` or `deadline`."""


def judge(  # noqa: PLR0913  # each is one fact of the attempt, named at the call
    failure: Failure,
    *,
    attempt: int,
    committed: bool,
    left_s: float,
    draw: float,
    retry: Retry,
    retry_after_s: float | None = None,
    others: bool = False,
    elsewhere: bool = False,
    fresh: bool = False,
    stale: bool = False,
) -> Again | GiveUp:
    """Decide whether to try again inside the pool.

    Args:
        failure: how the attempt ended.
        attempt: tries made, this one included.
        committed: the client has content of this answer.
        left_s: seconds to the deadline.
        draw: uniform from [0, 1).
        retry: the model's settings.
        retry_after_s: what the provider asked for.
        others: an endpoint of the pool that was not tried may take the request.
        elsewhere: another endpoint of the pool may take it, tried or not. What this one asked for is kept where places are given out.
        fresh: one whose account was not asked at all may take it.
        stale: the connection ended as a stale one does (`is_stale`).
    """
    if committed:
        return GiveUp("committed")
    why_not = _why_not(failure, attempt=attempt, retry=retry, somewhere=others or elsewhere, fresh=fresh, stale=stale)
    if why_not:
        return GiveUp(why_not)
    floor_s = 0.0 if elsewhere else retry_after_s or 0.0
    after_s = 0.0 if others else max(backoff_s(attempt, draw, retry), floor_s)
    return Again(after_s) if after_s < left_s else GiveUp("deadline")


def _why_not(failure: Failure, *, attempt: int, retry: Retry, somewhere: bool, fresh: bool, stale: bool) -> str:
    """What speaks against another try, as far as time does not come into it; empty: nothing."""
    reach = REACH[failure]
    if reach < Reach.ELSEWHERE:
        return "final"
    if failure is Failure.UNKNOWN_EXECUTION and not (retry.unknown or stale):
        return "unknown"
    # A 429 cost nothing: whoever has quota is found, however many have none. Who wants one try gets one.
    is_search = failure is Failure.RATE_LIMITED and fresh and retry.attempts > 1
    if attempt >= retry.attempts and not is_search:
        return "attempts"
    return "endpoints" if reach is Reach.ELSEWHERE and not somewhere else ""


def may_fall_back(failure: Failure, *, committed: bool, left_s: float, retry: Retry, stale: bool = False) -> bool:
    """Whether the next plan of a fallback may be asked after the pool before it gave up. Arguments as in `judge`."""
    reach = REACH[failure]
    if committed or left_s <= 0 or reach is Reach.NOWHERE:
        return False
    if reach is Reach.FALLBACK:
        return failure.name.lower() in retry.fallback_on
    return failure is not Failure.UNKNOWN_EXECUTION or retry.unknown or stale


def is_stale(*, idle_s: float, ended_after_s: float) -> bool:
    """Whether a reused connection ended as if it had been closed before the request was read.

    Args:
        idle_s: how long it had been idle when the request was written.
        ended_after_s: from the write to its end.
    """
    return idle_s > _STALE_IDLE_S and ended_after_s <= _STALE_END_S


def backoff_s(attempt: int, draw: float, retry: Retry) -> float:
    """The wait before another try at the same endpoint, after `attempt` tries; arguments as in `judge`."""
    # attempts is at most 16, so the power stays small.
    return draw * min(retry.cap_s, retry.base_s * float(1 << (attempt - 1)))


def place_wait_s(known_s: float, why: str, *, since_s: float, draw: float, retry: Retry) -> float:
    """How long a retry waits before it looks for a place again; negative: not at all.

    Args:
        known_s: after which one is free; negative where nobody knows.
        why: `Refusal.why`.
        since_s: since it was first refused.
        draw: uniform from [0, 1).
        retry: the model's settings.
    """
    if known_s >= 0 or why not in _PLACES or since_s >= retry.cap_s:
        return known_s
    return _LOOK_S * (0.5 + draw)
