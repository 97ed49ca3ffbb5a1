"""When an answer can no longer be taken back, and when a stream is whole (CONTRACT section 4).

Until the first delta has gone to the client, an answer may be dropped for another one; head, comments and role-only events are held
for that long, but not for longer than `keepalive_s`: then the client hears something, and an error can only be an event.
"""

from __future__ import annotations

from enum import Enum

from dispatch.errors import Failure

__all__ = ["LINGER_S", "ErrorForm", "ending", "error_form", "may_restart", "must_release"]

LINGER_S = 2.0
"""After every choice has finished, the longest wait for usage and terminator."""


class ErrorForm(Enum):
    """How a failure is told to a client."""

    RESPONSE = "response"
    """As a response with a status of its own: nothing was sent yet."""
    EVENT = "event"
    """As an event in the stream that has begun; then the connection closes without the last chunk."""
    ABORT = "abort"
    """By breaking the connection: a sized or plain body has begun and has no place for an error."""


def may_restart(*, committed: bool) -> bool:
    """Whether another attempt may still answer: also after head and comments went out, as long as no content did."""
    return not committed


def must_release(*, released: bool, held_s: float, keepalive_s: float) -> bool:
    """Whether head and comments go to the client now although there is no content."""
    return not released and held_s >= keepalive_s


def error_form(*, head_sent: bool, stream: bool) -> ErrorForm:
    """Choose how a failure reaches the client."""
    if not head_sent:
        return ErrorForm.RESPONSE
    return ErrorForm.EVENT if stream else ErrorForm.ABORT


def ending(*, terminated: bool, finished: bool, ended: bool, waited_s: float = 0.0, has_usage: bool = False) -> Failure | None:
    """Judge where a healthy stream stands.

    Args:
        terminated: the dialect's terminator was seen.
        finished: a finish reason was seen for every choice index.
        ended: the HTTP message or the connection is over.
        waited_s: seconds since `finished`.
        has_usage: the usage report was seen.

    Returns:
        None while more is awaited, `NONE` once it is complete, `BROKEN` if it ended before.
    """
    if terminated:
        return Failure.NONE
    if ended:
        return Failure.NONE if finished else Failure.BROKEN
    # Usage without a terminator is as much as there will be; without it, it may still be on its way.
    if finished and (waited_s >= LINGER_S or (has_usage and waited_s > 0)):
        return Failure.NONE
    return None
