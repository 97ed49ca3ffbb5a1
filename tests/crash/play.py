"""Runs: so many clients at once ask one model, and what became of them is counted."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from tests.crash.cases import DEADLINE_S, Run
from tests.crash.client import Outcome, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.crash.fleet import Fleet

__all__ = ["Result", "play_all", "play_one"]

WORDS: Final = "alpha beta gamma delta epsilon zeta eta theta"


class Result(Struct, kw_only=True):
    """What one run showed."""

    run: Run
    outcomes: list[Outcome]
    took_s: float
    lag_s: float
    """The longest time that this program's own loop was late by: what it says of lateness is no better."""

    deaths: bool = False
    """Whether a worker's process was another one afterwards."""

    @property
    def counts(self) -> Counter[str]:
        """Clients by verdict."""
        return Counter(outcome.verdict for outcome in self.outcomes)

    @property
    def errors(self) -> Counter[str]:
        """Clear errors, by status and code."""
        return Counter(f"{one.status} {one.code}" for one in self.outcomes if one.verdict == "error")

    @property
    def late(self) -> list[Outcome]:
        """Those that ended after the deadline and its grace, this program's own lag not counted."""
        return [one for one in self.outcomes if one.is_late and one.took_s > DEADLINE_S + 0.25 + self.lag_s]

    @property
    def retries(self) -> int:
        """Attempts beyond the first, as far as answers tell."""
        return sum(max(0, one.attempts - 1) for one in self.outcomes)

    @property
    def p99_s(self) -> float:
        """Latency of the whole answers; of all if there is none."""
        took = sorted(one.took_s for one in self.outcomes if one.verdict == "whole") or sorted(one.took_s for one in self.outcomes)
        return took[min(len(took) - 1, int(len(took) * 0.99))] if took else 0.0


class _Lag:
    """Watches how late this program's own loop is."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            before = monotonic()
            await asyncio.sleep(0.02)
            self.worst_s = max(self.worst_s, monotonic() - before - 0.02)

    def stop(self) -> None:
        self._task.cancel()


async def play_one(fleet: Fleet, run: Run, clients: int) -> Result:
    """Let `clients` ask at once; half of them name their request."""
    lag, began = _Lag(), monotonic()
    texts = [f"{run.model} {number} {WORDS}" for number in range(clients)]
    outcomes = await asyncio.gather(
        *(
            ask(
                fleet.port,
                run.model,
                text,
                stream=run.kind == "stream",
                deadline_s=DEADLINE_S,
                drops=run.case.drops,
                request_id=f"{run.model}-{number}" if number % 2 else "",
            )
            for number, text in enumerate(texts)
        )
    )
    lag.stop()
    return Result(run=run, outcomes=list(outcomes), took_s=monotonic() - began, lag_s=lag.worst_s)


async def play_all(fleet: Fleet, runs: Sequence[Run], *, clients: int, at_once: int) -> list[Result]:
    """Play all runs, `at_once` at a time."""
    room = asyncio.Semaphore(at_once)

    async def play(run: Run) -> Result:
        async with room:
            before = fleet.worker_pids()
            result = await play_one(fleet, run, clients)
            if fleet.worker_pids() != before:
                result.deaths = True
        print(f"{run.model}: {dict(result.counts)} in {result.took_s:.1f} s", file=sys.stderr, flush=True)
        return result

    return list(await asyncio.gather(*(play(run) for run in runs)))
