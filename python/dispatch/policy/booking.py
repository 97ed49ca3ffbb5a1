"""Who bears the cost of an attempt: the key whose answer it became, or the operator.

A key pays for `delivered` attempts only, and a request has at most one of them. Of the others some are certain to be worth nothing to
anybody (`wasted`), some may have been executed and billed without our hearing of it (`unknown`).
"""

from __future__ import annotations

from enum import StrEnum

from dispatch.errors import Failure

__all__ = ["BOOKED", "Booking", "book_as"]


class Booking(StrEnum):
    """How an attempt stands in the ledger."""

    DELIVERED = "delivered"
    """Its answer went to the client."""
    WASTED = "wasted"
    """It was never sent, was refused, or what came of it was not delivered."""
    UNKNOWN = "unknown"
    """It was sent, and whether it was executed and billed is not known."""


BOOKED = tuple(Booking)
"""In the order in which the board counts them."""

_UNHEARD = frozenset((Failure.CANCELLED, Failure.DEADLINE, Failure.FIRST_TOKEN_TIMEOUT, Failure.UNKNOWN_EXECUTION))
"""We stopped listening, or the connection ended, before the provider had said how it went."""


def book_as(failure: Failure, *, sent: bool, has_content: bool = False) -> Booking:
    """Book an attempt that is over.

    Args:
        failure: how it ended.
        sent: its request was written to a connection.
        has_content: content of its answer has come.
    """
    if failure is Failure.NONE:
        return Booking.DELIVERED
    if not sent or has_content or failure not in _UNHEARD:
        return Booking.WASTED
    return Booking.UNKNOWN
