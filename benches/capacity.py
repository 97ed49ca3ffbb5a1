"""What one worker holds, and how soon it answers: open streams, memory, the start, and what a second worker costs.

- streams: so many at once on one worker, in front of an upstream that keeps them going; every byte of each is compared. What one costs is
  the growth of the worker's private dirty memory while all are open, divided by their number.
- idle: resident memory of a worker that has answered one request.
- start: from the start of the command, with nothing configured, to the last byte of the first answer.
- two workers: CPU per request beside one worker, with wrk and nginx as in `make bench-proxy`.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from benches.crowd import Crowd
from benches.proxy import report, sidecar
from benches.proxy.measure import Plan, Spread
from benches.proxy.measure import measure as measure_row
from benches.proxy.process import cpu_s, free_port, running, tree_of, wait_until_ready
from benches.proxy.rig import Cores, Rig, find_tools
from benches.proxy.rows import ROWS, Row, chat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benches.proxy.measure import Result

RESULTS = Path(__file__).parent / "results"
DISPATCH = str(Path(sys.executable).with_name("dispatch"))
KIB = 1024
STREAM = Row("streams", "stream", chat("Tell me a story.", stream=True), 1, rate=10_000)
ECHO = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "Say hi"}]}).encode()
START_WITHIN_S = 10.0
ALL = "start,streams,workers"


@dataclass(slots=True)
class Figure:
    """One figure: its runs, and what it may be at most."""

    name: str
    unit: str
    target: float | None
    """None where the figure only informs."""
    digits: int = 1
    values: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def is_passed(self) -> bool:
        """It counts, and its median is within the target."""
        return not self.faults and (self.target is None or Spread.of(self.values).median <= self.target)

    @property
    def line(self) -> str:
        """Its row of the table."""
        target, verdict = (
            ("", "for information") if self.target is None else (f"{self.target:g}", "reached" if self.is_passed else "MISSED")
        )
        runs = report.spread(Spread.of(self.values), self.digits)
        return f"| {self.name} | {runs} {self.unit} | {target} | {len(self.values)} | {'INVALID' if self.faults else verdict} |"


def memory(pid: int) -> dict[str, int]:
    """Read the sums of `/proc/PID/smaps_rollup`, in bytes."""
    rows = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {row[0].rstrip(":"): int(row[1]) * KIB for row in rows}


def worker_of(pid: int) -> int:
    """Find the one worker of a supervisor. The supervisor listens before it has one.

    Raises:
        RuntimeError: there is none in time.
    """
    until = time.monotonic() + START_WITHIN_S
    while time.monotonic() < until:
        if len(found := tree_of(pid)) == 2:
            return found[1]
        time.sleep(0.02)
    raise RuntimeError(f"no worker within {START_WITHIN_S} s")


@contextlib.contextmanager
def sidecar_of(command: list[str], port: int, cores: set[int], log: Path) -> Iterator[int]:
    """Run a sidecar; the value is its worker."""
    environment = {**sidecar.environment(), "DISPATCH_DRAIN_S": "0"}
    with running(command, cores=cores, log=log, env=environment) as process:
        wait_until_ready(port, process, log)
        yield worker_of(process.pid)


async def streams_once(command: list[str], port: int, count: int, cores: set[int], log: Path, dirty: Figure) -> None:
    """Open `count` streams on a fresh sidecar and see what they cost."""
    with sidecar_of(command, port, cores, log) as worker:
        first = Crowd(port, STREAM.body, 1)
        await first.open()
        before = memory(worker)["Private_Dirty"]
        crowd = Crowd(port, STREAM.body, count)
        await crowd.open()
        is_open, held = crowd.open_now, memory(worker)["Private_Dirty"] - before
        wrong = await crowd.finish() + await first.finish()
    dirty.values.append(held / count / KIB)
    if is_open != count:
        dirty.faults.append(f"only {is_open} of {count} streams were open at once")
    if wrong:
        dirty.faults.append(f"{wrong} of {count} streams lost or gained bytes")


def streams(runs: int, count: int, folder: Path, cores: Cores) -> Figure:
    """Measure what an open stream costs."""
    figure = Figure(f"one of {count:,} concurrent streams, private dirty memory", "KiB", 40)
    upstream, log = free_port(), folder / "crowd.log"
    config = sidecar.write_config(STREAM, folder, upstream=upstream)
    with running([sys.executable, "-m", "benches.crowd", "--port", str(upstream)], cores=cores.load, log=log) as process:
        wait_until_ready(upstream, process, log)
        for number in range(runs):
            port = free_port()
            command = sidecar.command(DISPATCH, config, port=port, workers=1)
            uvloop.run(streams_once(command, port, count, {cores.first}, folder / f"streams-{number}.log", figure))
    return figure


def first_answer(port: int, process_log: Path) -> None:
    """Ask until there is an answer.

    Raises:
        RuntimeError: another answer than the echo's, or none in time.
    """
    until = time.monotonic() + START_WITHIN_S
    while time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_WITHIN_S)
        try:
            connection.request("POST", "/v1/chat/completions", body=ECHO, headers={"content-type": "application/json"})
            response = connection.getresponse()
            body = response.read()
        except ConnectionRefusedError:
            time.sleep(0.002)
            continue
        finally:
            connection.close()
        if response.status == 200 and b"Say hi" in body:
            return
        raise RuntimeError(f"the first answer is {response.status} {body[:300]!r}")
    raise RuntimeError(f"no answer within {START_WITHIN_S} s:\n{process_log.read_text()[-2000:]}")


def bare_environment(folder: Path) -> dict[str, str]:
    """Nothing configured; compiled modules are kept, as an installation keeps them, wherever the tests of this machine want them."""
    keys = {name: "" for name in os.environ if name.endswith("_API_KEY")}
    return {**keys, "DISPATCH_DRAIN_S": "0", "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def starts(runs: int, folder: Path, cores: Cores) -> tuple[Figure, ...]:
    """Measure the start and the memory of what has started."""
    begun = Figure("start to first answer", "s", 0.5, digits=2)
    cpu = Figure("its CPU time, supervisor and worker", "s", None, digits=2)
    resident = Figure("idle worker, resident memory", "MiB", 45)
    dirty = Figure("idle worker, private dirty memory", "MiB", None)
    for number in range(runs + 1):
        port, log = free_port(), folder / f"start-{number}.log"
        command = [DISPATCH, "serve", "--port", str(port), "--workers", "1", "--log", "off"]
        began = time.monotonic()
        with running(command, cores=set(cores.all), log=log, env=bare_environment(folder)) as process:
            first_answer(port, log)
            took = time.monotonic() - began
            used, held = cpu_s(process.pid), memory(worker_of(process.pid))
        if number == 0:
            continue  # the warm-up: it fills the page cache and compiles the modules
        begun.values.append(took)
        cpu.values.append(used)
        resident.values.append(held["Rss"] / KIB / KIB)
        dirty.values.append(held["Private_Dirty"] / KIB / KIB)
    return begun, cpu, resident, dirty


def two_workers(plan: Plan, folder: Path, cores: Cores) -> tuple[Figure, Result]:
    """Measure what a second worker adds to the cost of a request."""
    (row,) = (row for row in ROWS if row.workers == 2)
    rig = Rig(find_tools(), folder, cores)
    with rig.up(), contextlib.ExitStack() as stack:
        apart, shared = stack.enter_context(rig.apart(row)), stack.enter_context(rig.candidate(row, stand_in=None))
        result = measure_row(row, rig, plan, baseline=apart, candidate=shared)
    figure = Figure("CPU per request of two workers, beside two sidecars of one", "x", 1.1, digits=2, faults=result.faults)
    figure.values = [two.cpu_us / one.cpu_us for two, one in zip(result.candidate, result.baseline, strict=True)]
    return figure, result


def table(figures: list[Figure]) -> str:
    """Print what the figures came to."""
    lines = ["| what | median (least-greatest) | at most | runs | target |", "| --- | --- | --- | --- | --- |"]
    lines.extend(figure.line for figure in figures)
    lines.extend(f"\n{figure.name}: {fault}" for figure in figures for fault in figure.faults)
    return "\n".join(lines)


def save(folder: Path, only: str, about: dict[str, str], figures: list[Figure]) -> None:
    """Write `<date>-capacity.json` and `.md`; a part that was measured alone goes into files of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{about['date'][:10]}-capacity{'' if only == ALL else '-' + only.replace(',', '-')}"
    rows = [{"name": one.name, "unit": one.unit, "target": one.target, "values": one.values, "faults": one.faults} for one in figures]
    (folder / f"{stem}.json").write_text(json.dumps({"about": about, "figures": rows}, indent=1) + "\n")
    facts = "\n".join(f"- {name}: {value}" for name, value in about.items())
    (folder / f"{stem}.md").write_text(f"# What one worker holds\n\n{facts}\n\n{table(figures)}\n\nMethod: `benches/method.md`.\n")
    print(f"written: {folder / stem}.md")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench-capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--streams", type=int, default=5_000, metavar="N")
    parser.add_argument("--only", default=ALL, metavar="LIST", help=f"default: {ALL}")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--no-save", action="store_true", help="print only")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measure and report; the exit code tells whether every target is reached."""
    asked = parse(arguments)
    cores, plan = Cores(), Plan(asked.runs, 4.0, 2.0)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bench-capacity-") as name:
        folder = Path(name)
        if "start" in asked.only:
            figures.extend(starts(asked.runs, folder, cores))
        if "streams" in asked.only:
            os.sched_setaffinity(0, cores.load)
            figures.append(streams(asked.runs, asked.streams, folder, cores))
        if "workers" in asked.only:
            figures.append(two_workers(plan, folder, cores)[0])
    print(table(figures))
    if not asked.no_save:
        about = report.describe(find_tools(), plan, []) | {
            "command": report.command("bench-capacity", arguments),
            "runs": f"{asked.runs} of each, on a fresh sidecar each time; two workers: {plan.seconds:g} s for each contender, turn by turn",
            "warm-up": "one start, one stream, 2 s of load",
        }
        save(asked.results, asked.only, about, figures)
    return 0 if all(figure.is_passed for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
