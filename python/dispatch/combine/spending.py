"""What a plan spends on one request: tokens and money of its branches, against its budget and those of the plans around it."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.combine.purse import PICO, Purse, most_tokens
from dispatch.policy.cost import Rates, cost_pico, rates
from dispatch.schema import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config import Budget
    from dispatch.exchange import Call
    from dispatch.pools import Pool

__all__ = ["Spending", "Step"]

_NS = 1_000_000_000
_TOLD = 16
"""Branches that an answer's header names at most."""


class Step(Struct, frozen=True):
    """A branch that is over."""

    part: int
    endpoint: str
    attempts: int
    usage: tuple[int, int, int, int]
    """Input, output, cached and reasoning tokens."""
    pico: int
    """Picodollars."""
    duration_ms: float
    is_whole: bool

    def told(self) -> str:
        """For people."""
        state = "" if self.is_whole else ", no answer"
        cost = f"{self.usage[0]}+{self.usage[1]} ${self.pico / PICO:.6f}"
        return f"part {self.part} {self.endpoint or '-'} {cost} {self.duration_ms:.0f} ms{state}"


class Spending:
    """Adds up branches.

    Args:
        budget: None: none.
        pools: that each part reaches.
        above: what the plans around this one may spend.

    Attributes:
        purses: those that a call is paid from: its own and those above.
        trace: branches that are over, in that order.
    """

    __slots__ = ("_budget", "_dearest", "_rates", "pico", "purses", "trace", "usage")

    def __init__(self, budget: Budget | None, pools: Sequence[Sequence[Pool]], above: Sequence[Purse] = ()) -> None:
        self._budget = budget
        is_limited = budget is not None and (budget.tokens is not None or budget.dollars is not None)
        self.purses = [Purse(budget), *above] if budget is not None and is_limited else above
        self._rates = {link.name: rates(link.endpoint.price) for part in pools for pool in part for link in pool.links}
        self._dearest = [_dearest([self._rates[link.name] for pool in part for link in pool.links]) for part in pools]
        self.pico = 0
        self.usage = (0, 0, 0, 0)
        self.trace: list[Step] = []

    def deadline_ns(self, started_ns: int) -> int:
        """When the budget's time is over; 0: never."""
        seconds = None if self._budget is None else self._budget.seconds
        return 0 if seconds is None else started_ns + int(seconds * _NS)

    async def admit(self) -> None:
        """Wait until the budgets allow a call. Raises `BudgetSpent`."""
        while True:
            full = next((purse for purse in self.purses if not purse.has_room()), None)
            if full is None:
                return
            await full.change()

    def reserve(self, branch: Call, part: int) -> None:
        """Take a branch in, at the most that it may cost."""
        if not self.purses:
            return
        reads, writes = most_tokens(branch)
        rate = self._dearest[part]
        # What is free is free at any length.
        most = (reads * rate.input if rate.input else 0) + (writes * rate.output if rate.output else 0)
        for purse in self.purses:
            purse.hold(branch, (reads + writes, most))

    def settle(self, branch: Call, part: int) -> None:
        """A branch is over: count what it came to. One that failed in itself cost its plan nothing; its attempts are in the ledger."""
        tokens_in, tokens_out, cached, _ = usage = branch.usage
        rate = self._rates.get(branch.endpoint, Rates())
        pico = branch.cost_pico or cost_pico(Usage(input_tokens=tokens_in, output_tokens=tokens_out, cached_tokens=cached), rate)
        self.pico += pico
        for purse in self.purses:
            purse.settle(branch, tokens_in + tokens_out, pico)
        ours = self.usage
        self.usage = (ours[0] + usage[0], ours[1] + usage[1], ours[2] + usage[2], ours[3] + usage[3])
        took_ms = (monotonic_ns() - branch.received_ns) // 1000 / 1000
        self.trace.append(Step(part, branch.endpoint, branch.attempts, usage, pico, took_ms, branch.answered_ns != 0))

    def note(self) -> bytes:
        """Header lines that tell what was asked: of each branch the endpoint, and tokens in and out."""
        told = [f"{step.endpoint or '-'}={step.usage[0]}+{step.usage[1]}" for step in self.trace[:_TOLD]]
        more = "" if len(self.trace) <= _TOLD else ", ..."
        return f"x-dispatch-branches: {', '.join(told)}{more}\r\nx-dispatch-cost-usd: {self.pico / PICO:.9f}\r\n".encode()


def _dearest(found: list[Rates]) -> Rates:
    return Rates(max((rate.input for rate in found), default=0), max((rate.output for rate in found), default=0))
