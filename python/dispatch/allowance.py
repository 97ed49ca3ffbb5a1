"""A retry's wait for the budget that all workers share.

Worth it while an endpoint that was not tried seems to work. Retries of use give back what they took, so a crowd whose endpoint has died
goes over to one that lives as fast as that one answers (`rust/src/engine/budget.rs`); once none seems to work, errors should be prompt.
"""

from __future__ import annotations

import asyncio
from random import random
from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.policy.retry import BUDGET_POLL_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.pools import Pool

__all__ = ["Allowance"]


class Allowance:
    """Looks for a retry until there is one.

    Args:
        pool: whose budget it is.
        tried: its positions that were tried, as a bit mask.
        until_ns: when it is given up, on the monotonic clock.
        go_on: called once there is a retry, which is spent.
        give_up: called in its place: it is too late, or no other endpoint works.
    """

    __slots__ = ("_give_up", "_go_on", "_pool", "_timer", "_tried", "_until_ns")

    def __init__(self, pool: Pool, tried: int, until_ns: int, go_on: Callable[[], None], give_up: Callable[[], None]) -> None:
        self._pool = pool
        self._tried = tried
        self._until_ns = until_ns
        self._go_on = go_on
        self._give_up = give_up
        self._wait()

    def cancel(self) -> None:
        """Nobody is called any more."""
        self._timer.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BUDGET_POLL_S * (0.5 + random()), self._look)

    def _look(self) -> None:
        now_ns = monotonic_ns()
        if now_ns >= self._until_ns or not self._pool.core.has_sound(self._tried, now_ns):
            self._give_up()
        elif self._pool.retry_allowed(now_ns):
            self._go_on()
        else:
            self._wait()
