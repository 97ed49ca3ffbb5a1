"""Pools whose every choice is recorded: who might have been picked, what was read of each, and why that one.

For models that ask for it (`decisions: true`); others have `pools.Pool`, and nothing of this is on their way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatch.attempt import Attempts
from dispatch.decisions import Step
from dispatch.pools import Pool
from dispatch.routing import Lease

if TYPE_CHECKING:
    from dispatch.decisions import Decisions
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed
    from dispatch.routing import Refusal

__all__ = ["ToldPool"]


class ToldPool(Pool):
    """A pool that adds a step to the record of each request that asks it for a place.

    Args:
        path: its place in the model's plan; empty when it is all of it.
        decisions: the records of this worker.
        **pool: as of `Pool`.
    """

    __slots__ = ("_asking", "_decisions", "_names", "_path", "_strategy")

    def __init__(self, path: str, strategy: str, decisions: Decisions, **pool: Any) -> None:  # noqa: ANN401  # as of the base
        super().__init__(**pool)
        self._path = path
        self._strategy = strategy
        self._decisions = decisions
        self._names = tuple(link.name for link in self.links)
        self._asking: Call | None = None
        self.acquire = self._acquire

    def start(self, call: Call, failed: Failed) -> None:
        """See the base."""
        _Told(call, self, failed).start()

    def ask(self, call: Call | None) -> None:
        """Whose request asks next; nobody's: it is not recorded."""
        self._asking = call

    def _acquire(  # the face of `core.acquire`; the core does not note what is recorded here
        self, tried: int, tokens_in: int, tokens_out: int, now_ns: int, draw: int, affinity: int, number: int = 0, /
    ) -> Lease | Refusal:
        del number
        taken, trail = self.core.acquire_told(tried, tokens_in, tokens_out, now_ns, draw, affinity)
        if self._asking is not None:
            is_taken = type(taken) is Lease
            chosen = self._names[taken.position] if isinstance(taken, Lease) else ""
            why = "" if is_taken else f"refused: {taken.why}"  # type: ignore[union-attr]  # a refusal
            if is_taken and trail.is_soft:
                why = "breakers or slow starts gave way"
            step = Step(self._path, "pool", self._strategy, chosen, why, draw, trail=trail, names=self._names)
            self._decisions.of(self._asking).steps.append(step)
        return taken


class _Told(Attempts):
    """The tries of a request that is recorded."""

    pool: ToldPool

    def _try(self, now_ns: int) -> None:
        # Nothing lies between this and the pool's choice but the choice.
        self.pool.ask(self.call)
        try:
            super()._try(now_ns)
        finally:
            self.pool.ask(None)
