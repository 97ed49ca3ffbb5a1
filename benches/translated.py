"""`make bench-translated`: what it costs that an OpenAI client talks to Anthropic's API, beside the same answers passed through.

Two sidecars with the configuration of `make bench-proxy`, in front of one upstream that speaks both dialects: one has endpoints of
OpenAI's dialect, the other of Anthropic's. The same load, turn by turn; the figure is CPU time per event of a stream and per whole answer.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benches.proxy import report, sidecar
from benches.proxy.load import PATH, Load
from benches.proxy.measure import OTHERS_AT_MOST, Plan, Result, Run, Spread, events_of
from benches.proxy.process import busy_s, cpu_s, free_port, running, wait_until_ready
from benches.proxy.rig import Contender, Cores, Rig, find_tools
from benches.proxy.rows import HEAD, Row, chat
from benches.proxy.stream_upstream import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).parent / "results"
ROWS = (
    # In place of the ratio a limit in microseconds: see `LIMITS`.
    Row("event of a stream", "stream", chat("Tell me a story.", stream=True), 48, rate=1_000),
    Row("whole answer", "plain", chat("Tell me a story.", max_tokens=128), 32, rate=20_000),
)
LIMITS = {"event of a stream": 25.0, "whole answer": 60.0}
"""Microseconds: an event in all; what translation adds to a whole answer."""
PROVIDERS = {"passed through": "openai_compatible", "translated": "anthropic"}


@contextlib.contextmanager
def contender(name: str, row: Row, rig: Rig) -> Iterator[Contender]:
    """Run the sidecar whose endpoints speak that dialect."""
    port, upstream = free_port(), rig.upstreams["stream"]
    config = sidecar.write_config(row, rig.folder, upstream=upstream)
    tree = json.loads(config.read_text())
    for endpoint in tree["endpoints"]:
        endpoint["provider"] = PROVIDERS[name]
        if PROVIDERS[name] == "anthropic":
            endpoint["base_url"] = endpoint["base_url"].removesuffix("/v1")
    path = rig.folder / f"{row.kind}-{port}.json"
    path.write_text(json.dumps(tree))
    log = rig.folder / f"{port}.log"
    command = sidecar.command(str(Path(sys.executable).with_name("dispatch")), path, port=port, workers=1)
    with running(command, cores={rig.cores.first}, log=log, env=sidecar.environment()) as process:
        wait_until_ready(port, process, log)
        yield Contender(name, (port,), (process.pid,), has_metrics=True)


def look_at_one(row: Row, port: int) -> int:
    """Send one request, insist that the client reads the words, and tell in how many pieces the answer came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", PATH, body=row.body, headers=HEAD)
        response = connection.getresponse()
        pieces = []
        while piece := response.read1(65536):
            pieces.append(piece)
    finally:
        connection.close()
    body = b"".join(pieces)
    if response.status != 200 or said(body) != "".join(WORDS):
        raise RuntimeError(f"wrong answer to {row.name!r}: {response.status} {body[:500]!r}")
    return len(pieces)


def said(body: bytes) -> str:
    """Read the text of a chat completion, whole or streamed."""
    if not body.startswith(b"data:"):
        return str(json.loads(body)["choices"][0]["message"]["content"])
    assert b"data: [DONE]" in body
    chunks: list[Any] = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def run_once(row: Row, rig: Rig, one: Contender, load: Load, seconds: float) -> Run:
    """Measure one contender once."""
    pid, core = one.pids[0], rig.cores.first
    events, cpu, busy, wall = events_of(row, rig), cpu_s(pid), busy_s(core), time.monotonic()
    processes = load.start(one.ports, seconds, check=False)
    time.sleep(seconds / 3)
    pieces = look_at_one(row, one.ports[0])
    sent = load.finish(processes)
    wall, cpu, busy = time.monotonic() - wall, cpu_s(pid) - cpu, busy_s(core) - busy
    count = events_of(row, rig) - events if row.kind == "stream" else sent.requests + 1
    share = cpu / wall
    return Run(
        contender=one.name,
        requests=sent.requests + 1,
        cpu_us=cpu / max(1, count) * 1e6,
        per_s=count / wall,
        busy=share,
        others=max(0.0, busy - cpu) / wall,
        p50_us=sent.p50_us,
        p99_us=sent.p99_us,
        errors=sent.errors,
        pieces=pieces,
    )


def measure(row: Row, rig: Rig, plan: Plan) -> Result:
    """Measure both, turn by turn; a pair that other programs disturbed is measured again."""
    result = Result(row.name, None, None)
    load = Load(rig.tools.wrk, row, folder=rig.folder, cores=rig.cores.load)
    with contextlib.ExitStack() as stack:
        pair = [stack.enter_context(contender(name, row, rig)) for name in PROVIDERS]
        for one in pair:
            load.finish(load.start(one.ports, plan.warm_up_s, check=False))
        while len(result.baseline) < plan.runs:
            order = pair if len(result.baseline) % 2 == 0 else pair[::-1]
            runs = {one.name: run_once(row, rig, one, load, plan.seconds) for one in order}
            if any(run.is_disturbed for run in runs.values()) and result.repeated < plan.runs:
                result.repeated += 1
                continue
            result.baseline.append(runs["passed through"])
            result.candidate.append(runs["translated"])
    result.faults += [f"{run.contender}: {run.errors} errors" for run in (*result.baseline, *result.candidate) if run.errors]
    return result


def added(result: Result) -> Spread:
    """Give what translation adds, pair by pair, in microseconds."""
    return Spread.of([one.cpu_us - other.cpu_us for one, other in zip(result.candidate, result.baseline, strict=True)])


def line(result: Result) -> str:
    """Print one row of the table."""
    both = [Spread.of([run.cpu_us for run in runs]) for runs in (result.baseline, result.candidate)]
    extra = added(result)
    limit = LIMITS[result.row]
    is_event = result.row == "event of a stream"
    reached = (both[1] if is_event else extra).median <= limit and not result.faults
    goal = f"{'in all' if is_event else 'added'} <= {limit:g}"
    cells = [result.row, *(report.spread(each, 1) for each in (*both, extra)), goal, "reached" if reached else "missed"]
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="make bench-translated", description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--no-save", action="store_true")
    asked = parser.parse_args(arguments)
    tools, plan, cores = find_tools(), Plan(asked.runs, asked.seconds, 2), Cores()
    about = report.describe(tools, plan, arguments) | {"command": report.command("bench-translated", arguments)}
    about["warm-up"] = "2 s; one answer of each run is read and its words compared"
    with tempfile.TemporaryDirectory(prefix="bench-translated-") as folder:
        rig = Rig(tools, Path(folder), cores)
        with rig.up():
            results = [measure(row, rig, plan) for row in ROWS]
    runs = [run for result in results for run in (*result.baseline, *result.candidate)]
    others = Spread.of([run.others for run in runs])
    rows = "\n".join(line(result) for result in results)
    facts = "\n".join(f"- {name}: {value}" for name, value in about.items())
    page = (
        f"# CPU time of a translated answer beside one that is passed through\n\n{facts}\n\n"
        "An OpenAI client, and endpoints of OpenAI's or of Anthropic's dialect: CPU time of the sidecar per event and per answer\n"
        "of 97 words, microseconds, median (least-greatest). Method: `benches/method.md`.\n\n"
        "| | passed through | translated | added, pair by pair | goal | |\n| --- | --- | --- | --- | --- | --- |\n"
        f"{rows}\n\nOther programs took {others.median:.1%} (at most {others.high:.1%}) of the sidecar's core; "
        f"{sum(result.repeated for result in results)} pairs were measured again because it was more than {OTHERS_AT_MOST:.0%}.\n"
    )
    print(page)
    faults = [fault for result in results for fault in result.faults]
    print("\n".join(faults), file=sys.stderr)
    if not asked.no_save and not faults:
        (RESULTS / f"{about['date'][:10]}-translated.md").write_text(page)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
