"""How fast a queue moves, learned from what was served.

Tokens served per second, over a window that fades: half of what is known is younger than a few seconds. Only time in which somebody
waited counts, since an empty queue says nothing about what could have been served. Pure: now is an argument.
"""

from __future__ import annotations

from math import exp

__all__ = ["Rate"]

MEMORY_S = 10.0
"""What was learned longer ago than this counts for less than a third: capacity changes as endpoints come and go."""

TRUST_S = 1.0
"""How much observation a guess is worth, and what was learned when requests last waited."""

LEAST_S = 0.5
"""Below this much observation there is no rate."""

_NS = 1e9


class Rate:
    """See the module."""

    __slots__ = ("_at_ns", "_seen_s", "_served", "_tokens")

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seen_s = 0.0
        self._served = 0
        self._at_ns = 0

    def begin(self, served: int, now_ns: int, guess: float | None) -> None:
        """Somebody waits from now on.

        Args:
            served: tokens served so far, since whenever.
            now_ns: now.
            guess: tokens per second, from elsewhere; None where nothing is known.
        """
        self._served = served
        self._at_ns = now_ns
        if self._seen_s > TRUST_S:
            self._tokens *= TRUST_S / self._seen_s
            self._seen_s = TRUST_S
        elif guess is not None and not self._seen_s:
            self._tokens = guess * TRUST_S
            self._seen_s = TRUST_S

    def observe(self, served: int, now_ns: int) -> None:
        """Somebody has waited all the time since this was last called."""
        passed_s = (now_ns - self._at_ns) / _NS
        fade = exp(-passed_s / MEMORY_S)
        self._tokens = self._tokens * fade + served - self._served
        self._seen_s = self._seen_s * fade + passed_s
        self._served = served
        self._at_ns = now_ns

    def seconds(self, tokens: float) -> float | None:
        """How long serving so many tokens takes; None while nothing is known."""
        if self._seen_s < LEAST_S or self._tokens <= 0:
            return None
        return tokens * self._seen_s / self._tokens
