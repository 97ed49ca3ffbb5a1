"""One request on its way to an answer: what was asked, how it behaves, and its own randomness."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from dispatch.mock.faults import Fault

if TYPE_CHECKING:
    from dispatch.distribution import Distribution
    from dispatch.mock.ask import Ask
    from dispatch.mock.http1 import Connection, Request
    from dispatch.mock.journal import Entry
    from dispatch.mock.limits import Limiter
    from dispatch.mock.replies import Reply
    from dispatch.mock.scenario import Behaviour

__all__ = ["Turn"]


class Turn:
    """Everything that the answer depends on.

    Attributes:
        limiter: where the request holds a place, if anywhere.
    """

    __slots__ = ("_rng", "_seed", "ask", "behaviour", "connection", "entry", "limiter", "reply", "request")

    def __init__(
        self, connection: Connection, request: Request, entry: Entry, reply: Reply, ask: Ask, behaviour: Behaviour, seed: int
    ) -> None:
        self.connection = connection
        self.request = request
        self.entry = entry
        self.reply = reply
        self.ask = ask
        self.behaviour = behaviour
        self.limiter: Limiter | None = None
        self._seed = seed
        self._rng: Random | None = None

    def rng(self) -> Random:
        """Give the request's own generator, so that other requests do not change its draws; made when first asked for."""
        if self._rng is None:
            self._rng = Random((self._seed << 32) + self.entry.number)
        return self._rng

    def first_token_s(self, fault: Fault | None) -> float:
        """Draw the time to the first event."""
        time_s = self.behaviour.first_token_s
        drawn = time_s.constant if time_s.constant is not None else time_s.sample(self.rng())
        return drawn * self._factor(fault)

    def gap_s(self, tokens_per_event: float, fault: Fault | None) -> float:
        """Draw the rate of the answer, and give the pause between two events; 0 where `gap_s` is drawn for each event."""
        rate, gap = self.behaviour.tokens_per_s, self.behaviour.gap_s
        if gap is not None:
            return (gap.constant or 0.0) * self._factor(fault)
        drawn = rate.constant if rate.constant is not None else rate.sample(self.rng())
        return tokens_per_event / drawn * self._factor(fault) if drawn > 0 else 0.0

    def pause_s(self, gap: Distribution, fault: Fault | None) -> float:
        """Draw one pause."""
        return gap.sample(self.rng()) * self._factor(fault)

    def pauses_s(self, events: int, tokens: int, fault: Fault | None) -> float:
        """Give the sum of all pauses, which an answer in one piece takes."""
        gap = self.behaviour.gap_s
        if gap is not None and gap.constant is None:
            return sum(gap.sample(self.rng()) for _ in range(events - 1)) * self._factor(fault)
        return max(0, events - 1) * self.gap_s(tokens / max(1, events), fault)

    def _factor(self, fault: Fault | None) -> float:
        return self.behaviour.slow_factor if fault is Fault.SLOW else 1.0
