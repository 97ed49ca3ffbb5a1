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
        """Those that ended after the deadline and its grace, by no fault of the machine."""
        return [one for one in self.outcomes if one.is_late]

    @property
    def delayed(self) -> int:
        """Those that ended so late because the machine was busy elsewhere."""
        return sum(one.is_delayed for one in self.outcomes)

    @property
    def retries(self) -> int:
        """Attempts beyond the first, as far as answers tell."""
        return sum(max(0, one.attempts - 1) for one in self.outcomes)

    @property
    def p99_s(self) -> float:
        """Latency of the whole answers; of all if there is none."""
        took = sorted(one.took_s for one in self.outcomes if one.verdict == "whole") or sorted(one.took_s for one in self.outcomes)
        return took[min(len(took) - 1, int(len(took) * 0.99))] if took else 0.0


async def play_one(fleet: Fleet, run: Run, clients: int) -> Result:
    """Let `clients` ask at once; half of them name their request."""
    began = monotonic()
    texts = [f"{run.model} {number} {WORDS}" for number in range(clients)]
    outcomes = await asyncio.gather(
        *(
            ask(
                fleet.port,
                run.model,
                text,
                stream=run.kind == "stream",
                deadline_s=DEADLINE_S,
                strain=fleet.strain,
                drops=run.case.drops,
                request_id=f"{run.model}-{number}" if number % 2 else "",
            )
            for number, text in enumerate(texts)
        )
    )
    return Result(run=run, outcomes=list(outcomes), took_s=monotonic() - began)


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
