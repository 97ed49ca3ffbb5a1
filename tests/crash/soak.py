"""`make soak`: mixed traffic for long, with faults, leaving clients, reloads and killed workers; nothing may grow, nothing may be lost."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import uvloop
from dispatch.mock.faults import Fault

from tests.crash import soak_report
from tests.crash.cases import Case, Run, runs_of
from tests.crash.client import ask, leave
from tests.crash.fleet import Fleet
from tests.crash.gauges import Sample, Watch

if TYPE_CHECKING:
    from tests.crash.client import Outcome

RESULTS: Final = Path(__file__).parents[2] / "benches" / "results"
UNFIT: Final = (Fault.QUOTA, Fault.BAD_KEY, Fault.CONTEXT_LENGTH, Fault.CONTENT_FILTER, Fault.TRICKLE, Fault.HUGE_ANSWER)
"""They close an endpoint for a minute, are the request's own fault, or last too long."""
FAULTS: Final = tuple(fault.value for fault in Fault if fault not in UNFIT)
MIX: Final = Case(name="soak", set={"faults": dict.fromkeys(FAULTS, 0.01), "stall_s": 0.5, "slow_factor": 20, "output_tokens": 40})
DEADLINE_S: Final = 8.0
PAUSE_S: Final = 0.25
"""Mean pause of a client between two requests."""
LEAVES: Final = 0.05
"""Share of requests whose client leaves before the end."""
RELOAD_S: Final = 20.0
KILL_S: Final = 60.0
AFTERMATH_S: Final = 3.0
"""For this long after a kill, connections that end without a word are its victims'."""


class Soak:
    """One soak.

    Attributes:
        verdicts: requests by what became of them.
        lost: requests that ended without a word while no worker had just been killed.
    """

    def __init__(self, fleet: Fleet, clients: int, seconds: float, seed: int) -> None:
        self.fleet = fleet
        self.verdicts: Counter[str] = Counter()
        self.lost: list[Outcome] = []
        self.reloads = 0
        self.kills: list[float] = []
        self.victims = 0
        self.delayed = 0
        self.watch = Watch(fleet)
        self.took_s: list[float] = []
        self._clients = clients
        self._seconds = seconds
        self._rng = Random(seed)
        self._runs = runs_of((MIX,))
        self._end_s = 0.0
        self._background: list[asyncio.Task[None]] = []
        self._number = 0

    async def run(self) -> None:
        """Soak, and let everything come to rest."""
        self._end_s = monotonic() + self._seconds
        background = self._background = [asyncio.create_task(one) for one in (self.watch.run(), self._reload(), self._kill())]
        await asyncio.gather(*(self._client() for _ in range(self._clients)))
        for task in background[1:]:
            task.cancel()
        await self.fleet.until_workers(2)
        # Longer than the longest idle time of a connection upstream, and than the time after which a restarted worker is settled.
        await asyncio.sleep(8)
        background[0].cancel()
        for task in background:
            with suppress(asyncio.CancelledError):
                await task

    async def _client(self) -> None:
        # A watch that has failed is told at once, and not after an hour.
        while monotonic() < self._end_s and not any(task.done() for task in self._background):
            await asyncio.sleep(self._rng.expovariate(1 / PAUSE_S))
            run = self._rng.choice(self._runs)
            self._number += 1
            text = f"soak {self._number} " + "word " * self._rng.randrange(4, 60)
            if self._rng.random() < LEAVES:
                await leave(self.fleet.port, run.model, text, stream=run.kind == "stream", after_s=self._rng.random() * 0.1)
                self.verdicts["left"] += 1
            else:
                await self._ask(run, text.strip())

    async def _ask(self, run: Run, text: str) -> None:
        fleet, is_stream = self.fleet, run.kind == "stream"
        outcome = await ask(fleet.port, run.model, text, stream=is_stream, deadline_s=DEADLINE_S, strain=fleet.strain, drops=True)
        verdict = "late" if outcome.is_late else outcome.verdict
        self.delayed += outcome.is_delayed
        if verdict in ("cut", "refused") and any(0 <= monotonic() - at_s <= AFTERMATH_S + outcome.took_s for at_s in self.kills):
            verdict = "killed"
        self.verdicts[verdict] += 1
        self.took_s.append(outcome.took_s)
        if verdict not in ("whole", "error", "killed"):
            self.lost.append(outcome)

    async def _reload(self) -> None:
        while True:
            await asyncio.sleep(min(RELOAD_S, self._seconds / 6))
            # Two names in turn: each new one takes a row of the board for good.
            self.fleet.write_config(**{f"reload{self.reloads % 2}": {"endpoints": [f"{self._runs[0].model}-0"]}})
            self.fleet.sidecar.send(signal.SIGHUP)
            self.reloads += 1

    async def _kill(self) -> None:
        """Kill the second worker now and then; the first lives throughout, so that its memory tells."""
        first = min(self.fleet.worker_pids())
        while True:
            await asyncio.sleep(min(KILL_S, self._seconds / 4))
            others = [pid for pid in self.fleet.worker_pids() if pid != first]
            if others:
                self.kills.append(monotonic())
                self.fleet.kill(others[0])


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="how long (default: an hour)")
    parser.add_argument("--clients", type=int, default=40, help="clients that ask again and again (default: 40)")
    parser.add_argument("--seed", type=int, default=1, help="of all chance")
    parser.add_argument("--no-save", action="store_true", help="print only")
    return parser.parse_args(arguments)


async def soak(asked: argparse.Namespace) -> tuple[dict[str, Any], list[Sample], list[str]]:
    """Soak; give the figures, the samples and what was not as it should be."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        async with Fleet(Path(folder), (MIX,), ledger=True) as fleet:
            one = Soak(fleet, asked.clients, asked.seconds, asked.seed)
            await one.run()
            metrics = await fleet.metrics()
        figures, broken = soak_report.judge(one, metrics, asked.seconds)
        if fleet.complaints:
            broken.append(f"the sidecar complained: {fleet.complaints[-1000:]}")
        return figures, one.watch.samples, broken


def main(arguments: list[str]) -> int:
    """Soak, report; the exit status tells whether all was well."""
    asked = parse(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures, samples, broken = runner.run(soak(asked))
    page = soak_report.page(figures, broken, asked.seconds)
    print(page)
    if not asked.no_save:
        name = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-soak-{asked.seconds:.0f}s"
        name.with_suffix(".svg").write_text(soak_report.plot(samples))
        name.with_suffix(".json").write_text(json.dumps({"figures": figures, "broken": broken}, indent=1) + "\n")
        name.with_suffix(".md").write_text(page + f"\n![Memory, descriptors and requests under way]({name.name}.svg)\n")
        print(f"written: {name}.md")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
