"""What the core has noted of a request, as a record: who might have been asked, what was read of each, what the tries took and cost.

The core keeps numbers (`rust/src/engine/records.rs`); names and prices are put in here, when somebody asks. Rows of the board keep their
names for as long as it lives; pools are those of a configuration, and the last few of these are kept.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from dispatch.errors import Failure
from dispatch.policy.cost import cost_pico, micro_dollars, rates
from dispatch.record import Decision, Step, Try
from dispatch.schema import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.links import Link
    from dispatch.routing import Choice, CorePool, Records, Slots

__all__ = ["Noted", "PoolNames"]

GENERATIONS = 16
"""Configurations whose pools are known; requests of older ones have left the ring long ago, unless reloads come by the second."""

MILLION = 1_000_000


class PoolNames(NamedTuple):
    """What the core does not know of a pool."""

    core: CorePool
    path: str
    """Its place in the model's plan; empty when it is all of it."""
    strategy: str
    links: tuple[Link, ...]


class Noted:
    """The core's records with names.

    Args:
        records: the core's.
        prefix: what the ids of this worker begin with.
    """

    def __init__(self, records: Records, prefix: str) -> None:
        self._records = records
        self._prefix = prefix
        self._models: dict[int, str] = {}
        self._keys: dict[int, str] = {}
        self._pools: deque[Mapping[int, PoolNames]] = deque(maxlen=GENERATIONS)

    def use(self, slots: Slots, pools: Mapping[int, PoolNames]) -> None:
        """Learn the names of a configuration."""
        self._models.update((slot, name) for name, slot in slots.models.items())
        self._keys.update((slot, name) for name, slot in slots.keys.items())
        self._pools.append(pools)

    def find(self, number: int) -> Decision | None:
        """Return the record of a request by its number; None: it is gone, or never was."""
        found = self._records.find(number)
        if found is None:
            return None
        name = f"{self._prefix}{number:x}"
        received_ns, ended_ns = found["received_ns"], found["ended_ns"]
        came = datetime.now(UTC) - timedelta(microseconds=(monotonic_ns() - received_ns) / 1000)
        request = found["given"].decode("latin-1") or f"req-{name}"
        key = "" if found["key"] is None else self._keys.get(found["key"], "")
        made = Decision(name, came, received_ns, request, self._models.get(found["model"], ""), key)
        if found["outcome"] is not None:
            made.outcome = "ok" if found["outcome"] == Failure.NONE else Failure(found["outcome"]).name.lower()
        made.error = found["error"].decode("latin-1")
        made.duration_ms = max(0, ended_ns - received_ns) // 1000 / 1000
        made.overhead_ms = found["overhead_ns"] // 1000 / 1000
        made.feedback = [] if found["score"] is None else [found["score"] / MILLION]
        why, whose = found["refused"]
        waited_ms = (found["admitted_ns"] - received_ns) // 1000 / 1000
        if why or waited_ms > 0:
            reason = f"refused: {why}" if why else "no endpoint had a place"
            made.steps.append(Step("", "queue", whose or "pool", why=reason, details={"waited_ms": waited_ms} if waited_ms > 0 else {}))
        choices = self._add_choices(made, number)
        if not choices and made.outcome == "ok":
            made.steps.append(Step("", "shared", why="no endpoint was asked: the answer was kept, or is another request's as well"))
        return made

    def steps(self, number: int) -> list[Step]:
        """Return the choices of pools for a request, as steps of a record that has more."""
        choices, is_all = self._records.choices(number)
        missing = [] if is_all else [Step("", "pool", why="the first choices are no longer kept")]
        return missing + [self._step(choice) for choice in choices]

    def _add_choices(self, made: Decision, number: int) -> list[Choice]:
        made.steps += self.steps(number)
        choices, _ = self._records.choices(number)
        for choice in choices:
            tried = self._try(choice)
            if tried is not None:
                made.tries.append(tried)
                made.micro_dollars += tried.micro_dollars
                if not made.endpoint or tried.failure in {"none", "under_way"} or made.outcome != "ok":
                    made.endpoint = tried.endpoint
        return choices

    def _pool(self, tag: int) -> PoolNames | None:
        return next((pools[tag] for pools in reversed(self._pools) if tag in pools), None)

    def _step(self, choice: Choice) -> Step:
        pool = self._pool(choice.tag)
        if pool is None:
            return Step("", "pool", why="its configuration has been replaced too often since", seed=choice.draw)
        names = tuple(link.name for link in pool.links)
        chosen = "" if choice.position is None else names[choice.position]
        why = f"refused: {choice.refused}" if choice.position is None else "after another try" if choice.is_retry else ""
        if chosen and choice.is_soft:
            why = "breakers or slow starts gave way"
        return Step(pool.path, "pool", pool.strategy, chosen, why, choice.draw, trail=pool.core.trail(choice), names=names)

    def _try(self, choice: Choice) -> Try | None:
        pool = self._pool(choice.tag)
        if pool is None or choice.position is None:
            return None
        link = pool.links[choice.position]
        if choice.outcome is None:
            return Try(link.name, "under_way", duration_ms=(monotonic_ns() - choice.taken_ns) // 1000 / 1000)
        tokens_in, tokens_out, cached = choice.used
        used = Usage(input_tokens=tokens_in, output_tokens=tokens_out, cached_tokens=cached)
        cost = micro_dollars(cost_pico(used, rates(link.endpoint.price)))
        took_ms = max(0, choice.ended_ns - choice.taken_ns) // 1000 / 1000
        return Try(link.name, Failure(choice.outcome).name.lower(), tokens_in, tokens_out, cached, cost, took_ms)
