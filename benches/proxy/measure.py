"""One row: warm up, look at the answers, then measure both contenders turn by turn."""

from __future__ import annotations

import json
import math
import statistics
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benches.proxy import sidecar
from benches.proxy.load import Load, expected, look_at_one
from benches.proxy.process import busy_s, cpu_s
from benches.proxy.sidecar import Metrics
from benches.proxy.stream_upstream import EVENTS

if TYPE_CHECKING:
    from benches.proxy.load import Sent
    from benches.proxy.rig import Contender, Rig
    from benches.proxy.rows import Row

__all__ = ["Plan", "Result", "Run", "Spread", "measure"]

BUSY_AT_MOST = 0.9
"""Share of its core above which a contender joins the events of a stream, and the row measures something else."""
PIECES_AT_LEAST = EVENTS * 9 // 10
"""Pieces in which a stream of 100 events must arrive under load; the client itself joins a few."""
READINGS = 10
"""Of `/metrics` in the warm-up: one of them catches each limit in use."""
OTHERS_AT_MOST = 0.05
"""Share of the contender's core that other programs may take in a run. Above it caches are cold, and events of a stream get joined while
the contender waits for its turn: the pair is measured again, whatever it came to."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, and how often."""

    runs: int
    seconds: float
    warm_up_s: float


@dataclass(frozen=True, slots=True)
class Run:
    """One contender for one run."""

    contender: str
    requests: int
    cpu_us: float
    """CPU time per request, or per event of a stream."""
    per_s: float
    """Requests, or events, per second."""
    busy: float
    """CPU time over wall time: 1 is a whole core."""
    others: float
    """Share of the contender's core that went to other programs."""
    p50_us: int
    p99_us: int
    errors: int
    pieces: int
    """In how many pieces one stream came to a client, 0 where there is none."""

    @property
    def is_disturbed(self) -> bool:
        """Other programs took too much of the core."""
        return self.others > OTHERS_AT_MOST


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, median and greatest."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Sum up; no values make no numbers."""
        return cls(min(values), statistics.median(values), max(values)) if values else cls(math.nan, math.nan, math.nan)


@dataclass(slots=True)
class Result:
    """What a row came to."""

    row: str
    gate: float | None
    target: float | None
    baseline: list[Run] = field(default_factory=list)
    candidate: list[Run] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Why the row does not count; empty when it does."""
    repeated: int = 0
    """Pairs that were measured again because other programs disturbed them."""

    @property
    def ratio(self) -> Spread:
        """Candidate over baseline, pair by pair: what disturbs the machine for longer than a run disturbs both."""
        return Spread.of([one.cpu_us / other.cpu_us for one, other in zip(self.candidate, self.baseline, strict=True)])

    @property
    def is_passed(self) -> bool:
        """The row counts, and its median ratio is within the gate if there is one."""
        return not self.faults and (self.gate is None or self.ratio.median <= self.gate)


def measure(row: Row, rig: Rig, plan: Plan, *, baseline: Contender, candidate: Contender) -> Result:
    """Measure `row`. A wrong or missing answer ends it and voids it."""
    result = Result(row.name, row.gate, row.target)
    load = Load(rig.tools.wrk, row, folder=rig.folder, cores=rig.cores.load)
    answered = {baseline.name: 0, candidate.name: 0}
    try:
        for contender in (baseline, candidate):
            answered[contender.name] += warm_up(row, contender, load, plan, result)
        runs = plan.runs * row.times
        while len(result.baseline) < runs:
            # Each is first in half of the pairs: whoever is second finds warmer caches.
            order = (baseline, candidate) if len(result.baseline) % 2 == 0 else (candidate, baseline)
            pair = {contender.name: measure_once(row, rig, contender, load, plan.seconds) for contender in order}
            for name, run in pair.items():
                answered[name] += run.requests
            if any(run.is_disturbed for run in pair.values()) and result.repeated < 2 * runs:
                result.repeated += 1
                continue
            result.baseline.append(pair[baseline.name])
            result.candidate.append(pair[candidate.name])
        check_runs(row, result)
        for contender in (baseline, candidate):
            if contender.has_metrics:
                check_books(row, contender, plan, answered[contender.name], result)
    except (OSError, RuntimeError) as error:
        result.faults.append(str(error))
    return result


def warm_up(row: Row, contender: Contender, load: Load, plan: Plan, result: Result) -> int:
    """Bring caches, connections and averages to their working state, and look at every answer; return how many came."""
    port = contender.ports[0]
    look_at_one(row, port)
    idle = Metrics.read(port) if contender.has_metrics else None
    processes = load.start(contender.ports, plan.warm_up_s, check=True)
    readings = []
    time.sleep(plan.warm_up_s / 4)
    look_at_one(row, port)
    for _ in range(READINGS if contender.has_metrics else 0):
        readings.append(Metrics.read(port))
        time.sleep(plan.warm_up_s / 4 / READINGS)
    sent = load.finish(processes)
    if sent.errors:
        result.faults.append(f"{contender.name}: {sent.errors} wrong answers or errors of {sent.requests} in the warm-up")
    if idle is not None:
        result.faults.extend(f"{contender.name}: {limit} is not charged" for limit in sidecar.uncharged(idle, readings))
    return sent.requests + 2


def measure_once(row: Row, rig: Rig, contender: Contender, load: Load, seconds: float) -> Run:
    """Measure one contender once."""
    core = rig.cores.first
    events, cpu, busy, wall = events_of(row, rig), contender_cpu_s(contender), busy_s(core), time.monotonic()
    processes = load.start(contender.ports, seconds, check=False)
    pieces = 0
    if row.kind == "stream":
        time.sleep(seconds / 3)
        pieces = look_at_one(row, contender.ports[0])
    sent = load.finish(processes)
    wall, cpu, busy = time.monotonic() - wall, contender_cpu_s(contender) - cpu, busy_s(core) - busy
    count = events_of(row, rig) - events if row.kind == "stream" else sent.requests
    return Run(
        contender=contender.name,
        requests=sent.requests + (pieces > 0),
        cpu_us=cpu / max(1, count) * 1e6,
        per_s=count / wall,
        busy=cpu / wall,
        # With two workers, the load shares one of their cores: it is not told apart there.
        others=max(0.0, busy - cpu) / wall if row.workers == 1 else 0.0,
        p50_us=sent.p50_us,
        p99_us=sent.p99_us,
        errors=sent.errors + (not is_right_size(row, sent)),
        pieces=pieces,
    )


def contender_cpu_s(contender: Contender) -> float:
    """Add up the CPU time of a contender's processes."""
    return sum(cpu_s(pid) for pid in contender.pids)


def events_of(row: Row, rig: Rig) -> int:
    """Read how many events the upstream has sent: wrk counts only streams that ended within the run."""
    if row.kind != "stream":
        return 0
    with urllib.request.urlopen(f"http://127.0.0.1:{rig.upstreams['stream']}/count", timeout=5) as response:
        count: int = json.load(response)["events"]
        return count


def is_right_size(row: Row, sent: Sent) -> bool:
    """Tell whether the answers of a run are as long as they should be: the body and at most 1 KiB of head.

    wrk also counts the bytes of answers that the end of a run cut off, so streams and runs of few requests are not judged.
    """
    if row.kind == "stream" or sent.requests < 1_000:
        return True
    return 0 <= sent.bytes / sent.requests - len(expected(row)) <= 1024


def check_runs(row: Row, result: Result) -> None:
    """Add what makes the measured runs void."""
    for runs in (result.baseline, result.candidate):
        name = runs[0].contender
        if errors := sum(run.errors for run in runs):
            result.faults.append(f"{name}: {errors} errors in measured runs")
        if row.kind != "stream":
            continue
        if (pieces := statistics.median(run.pieces for run in runs)) < PIECES_AT_LEAST:
            result.faults.append(f"{name}: a stream of {EVENTS} events came in {pieces:g} pieces")
        if (busy := max(run.busy for run in runs)) > BUSY_AT_MOST:
            result.faults.append(f"{name}: {busy:.0%} of its core, so events are joined")


def check_books(row: Row, contender: Contender, plan: Plan, answered: int, result: Result) -> None:
    """Add what the metrics do not account for."""
    time.sleep(0.5)  # the last requests that wrk cut off are still being settled
    open_at_end = row.connections * (plan.runs * row.times + result.repeated + 1)
    for fault in sidecar.unbooked(Metrics.read(contender.ports[0]), requests=answered, open_at_end=open_at_end):
        result.faults.append(f"{contender.name}: {fault}")
