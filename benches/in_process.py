"""What a request costs through the library: `Client.chat` in process, one core, against nginx as the provider on another.

A run is 64 tasks that ask again and again. Everything that is on by default is on: a key, a pool of 16 endpoints with `least_work`, three
limits for each, metrics. The question is written and the answer read by the library, as users have it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from dispatch import Client

from benches.proxy import nginx, report, sidecar
from benches.proxy.measure import OTHERS_AT_MOST, Plan, Spread
from benches.proxy.process import busy_s, free_port, running, wait_until_ready
from benches.proxy.rig import Cores, find_tools
from benches.proxy.rows import MODEL, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).parent / "results"
TASKS = 64
TARGET_PER_S = 20_000
QUESTION = "Tell me a story about a robot who learns to paint. " * 3
ROW = Row("in process", "plain", QUESTION.encode(), TASKS, rate=80_000)


@dataclass(frozen=True, slots=True)
class Run:
    """One run."""

    requests: int
    cpu_us: float
    """CPU time of the process per request."""
    per_s: float
    """Requests per second of the clock."""
    others: float
    """Share of the core that went to other programs."""

    @property
    def per_core_s(self) -> float:
        """Requests per second of CPU time: what a core makes that is left to us."""
        return 1e6 / self.cpu_us


async def ask(client: Client, until: float) -> int:
    """Ask again and again, look at every answer, and count them."""
    count = 0
    while time.monotonic() < until:
        reply = await client.chat(MODEL, QUESTION, max_tokens=128)
        if reply.usage.output_tokens != 44 or not reply.text.startswith("A robot"):
            raise RuntimeError(f"wrong answer: {reply}")
        count += 1
    return count


async def once(client: Client, seconds: float, core: int) -> Run:
    """Measure for `seconds`."""
    busy, cpu, wall = busy_s(core), time.process_time(), time.monotonic()
    counts = await asyncio.gather(*(ask(client, wall + seconds) for _ in range(TASKS)))
    wall, cpu, busy = time.monotonic() - wall, time.process_time() - cpu, busy_s(core) - busy
    total = sum(counts)
    return Run(total, cpu / total * 1e6, total / wall, max(0.0, busy - cpu) / wall)


async def measure(config: Path, plan: Plan, core: int) -> tuple[list[Run], int]:
    """Warm up, then measure as often as the plan says; tells how many runs were measured again because others disturbed them."""
    runs: list[Run] = []
    repeated = 0
    async with Client(config, key="bench") as client:
        await once(client, plan.warm_up_s, core)
        while len(runs) < plan.runs:
            run = await once(client, plan.seconds, core)
            if run.others > OTHERS_AT_MOST and repeated < 3 * plan.runs:
                repeated += 1
            else:
                runs.append(run)
    return runs, repeated


@contextlib.contextmanager
def provider(command: list[str], port: int, cores: set[int], log: Path) -> Iterator[None]:
    """Run nginx as the provider."""
    with running(command, cores=cores, log=log) as process:
        wait_until_ready(port, process, log)
        yield


def table(runs: list[Run]) -> str:
    """Print what the runs came to: median, least and greatest."""
    rows = {
        "requests per second of CPU time": (Spread.of([run.per_core_s for run in runs]), 0),
        "requests per second of the clock": (Spread.of([run.per_s for run in runs]), 0),
        "CPU time per request, us": (Spread.of([run.cpu_us for run in runs]), 1),
        "share of the core taken by other programs, %": (Spread.of([run.others * 100 for run in runs]), 1),
    }
    lines = ["| what | median (least-greatest) |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {report.spread(values, digits)} |" for name, (values, digits) in rows.items())])


def main(arguments: list[str]) -> int:
    """Measure and report; the exit code tells whether the target is reached."""
    parser = argparse.ArgumentParser(prog="make bench-in-process", description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--no-save", action="store_true", help="print only")
    asked = parser.parse_args(arguments)
    tools, cores, plan = find_tools(), Cores(), Plan(asked.runs, asked.seconds, 2.0)
    os.sched_setaffinity(0, {cores.first})
    os.environ.update(sidecar.environment())
    with tempfile.TemporaryDirectory(prefix="bench-in-process-") as name:
        folder, port = Path(name), free_port()
        command = nginx.command(tools.nginx, nginx.plain_config(folder, plain=port))
        with provider(command, port, cores.load, folder / "nginx.log"):
            config = sidecar.write_config(ROW, folder, upstream=port)
            runs, repeated = uvloop.run(measure(config, plan, cores.first))
    print(table(runs))
    rate = Spread.of([run.per_core_s for run in runs]).median
    passed = rate >= TARGET_PER_S
    print(f"target: {TARGET_PER_S} requests per second on one core: {'reached' if passed else 'MISSED'}")
    if not asked.no_save:
        about = report.describe(tools, plan, []) | {
            "command": report.command("bench-in-process", arguments),
            "runs": f"{plan.runs} of {plan.seconds:g} s, {TASKS} requests under way at any time, uvloop; {repeated} measured again",
            "warm-up": f"{plan.warm_up_s:g} s; every answer is looked at, in the runs as well",
        }
        save(asked.results, about, runs)
    return 0 if passed else 1


def save(folder: Path, about: dict[str, str], runs: list[Run]) -> None:
    """Write `<date>-in-process.json` and `.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{about['date'][:10]}-in-process"
    (folder / f"{stem}.json").write_text(json.dumps({"about": about, "runs": [asdict(run) for run in runs]}, indent=1) + "\n")
    facts = "\n".join(f"- {name}: {value}" for name, value in about.items())
    text = f"# The library in process\n\n{facts}\n\n{table(runs)}\n\nTarget: {TARGET_PER_S:,} requests per second on one core.\n"
    (folder / f"{stem}.md").write_text(text + "The machine is shared: what counts is the rate per second of CPU time.\n")
    print(f"written: {folder / stem}.md")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
