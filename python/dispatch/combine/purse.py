"""What a plan may spend: on its own calls, and on those of the plans inside it.

A call may begin while what was spent, and the most that those under way can still cost, are below the budget; otherwise it waits until one
of them is over. So the budget is exceeded by one call at most, however many are asked for at once. Calls whose cost has no bound (no limit
of output, files that are only named) are made one after the other.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

import msgspec

from dispatch.combine.mean import VECTOR_DOORS
from dispatch.combine.tongues import TONGUES
from dispatch.errors import PlanFailed
from dispatch.exchange import Rewritable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dispatch.config import Budget
    from dispatch.exchange import Call

__all__ = ["PICO", "BudgetSpent", "Purse", "most_tokens", "purses_above"]

PICO = 1_000_000_000_000
"""Picodollars in a dollar."""

_ELSEWHERE = (
    *(b'"url"', b'"image_url"', b'"file_url"', b'"file_id"', b'"fileUri"', b'"file_uri"', b'"input_audio"', b'"image"'),
    *(b'"previous_response_id"', b'"conversation"', b'"cachedContent"', b'"cached_content"'),
)
"""Fields that name what is read beside the body."""
_PER_REQUEST = 64
"""Tokens that a server's template may add."""


class BudgetSpent(PlanFailed):
    """A plan's budget allows no further call. Plans answer with what they have; without anything this is told."""


def most_tokens(call: Call) -> tuple[float, float]:
    """Tokens that a call can read and write at most; infinite where nothing limits it."""
    tongue = TONGUES.get(call.door.removesuffix("_stream"))
    body = call.body
    if not isinstance(body, Rewritable) or (tongue is None and call.door not in VECTOR_DOORS):
        return inf, inf
    data = body.body(b"", False)
    # No vocabulary has a token without a byte.
    reads = inf if any(name in data for name in _ELSEWHERE) else len(data) + _PER_REQUEST
    return reads, 0 if tongue is None else tongue.longest(msgspec.json.decode(data)) or inf


def purses_above(call: Call) -> Sequence[Purse]:
    """What the plans around one that answers `call` may spend."""
    for above in _upwards(call.parent):
        found: Sequence[Purse] | None = getattr(above.run, "purses", None)
        if found is not None:
            return found
    return ()


class _Held:
    """A call under way: the most that it can still cost, and what was counted of it already, tokens and picodollars."""

    __slots__ = ("counted", "most")

    def __init__(self, most: tuple[float, float]) -> None:
        self.most = most
        self.counted = (0, 0)


class Purse:
    """See the module.

    Args:
        budget: has tokens, dollars, or both.
    """

    __slots__ = ("_budget", "_held", "_spent", "_waiting")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._spent = (0, 0)
        self._held: dict[Call, _Held] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def has_room(self) -> bool:
        """Whether a call may begin now; if not, `change` comes. Raises `BudgetSpent`."""
        tokens, dollars = self._budget.tokens, self._budget.dollars
        (spent, pico), held = self._spent, self._held.values()
        if tokens is not None and spent >= tokens:
            raise BudgetSpent(f"the plan has spent its {tokens} tokens")
        if dollars is not None and pico >= dollars * PICO:
            raise BudgetSpent(f"the plan has spent its {dollars:g} dollars")
        if tokens is not None and spent + sum(one.most[0] for one in held) >= tokens:
            return False
        return dollars is None or pico + sum(one.most[1] for one in held) < dollars * PICO

    async def change(self) -> None:
        """Wait until a call under way is over."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            if future in self._waiting:
                self._waiting.remove(future)

    def hold(self, call: Call, most: tuple[float, float]) -> None:
        """A call begins that costs so many tokens and picodollars at most."""
        self._held[call] = _Held(most)

    def enter(self, call: Call) -> None:
        """A plan begins to answer `call`: what it asks is held for itself."""
        for one in _upwards(call):
            if one in self._held:
                self._held[one].most = (0, 0)
        self._wake()

    def settle(self, call: Call, tokens: int, pico: int) -> None:
        """A call is over, and cost so much."""
        held = self._held.pop(call, None)
        before = (0, 0) if held is None else held.counted
        more = max(0, tokens - before[0]), max(0, pico - before[1])
        self._spent = self._spent[0] + more[0], self._spent[1] + more[1]
        for one in _upwards(call.parent):
            if one in self._held:
                above = self._held[one]
                above.counted = above.counted[0] + more[0], above.counted[1] + more[1]
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


def _upwards(call: Call | None) -> Iterator[Call]:
    """Yield a call and those on whose behalf it is."""
    while call is not None:
        yield call
        call = call.parent
