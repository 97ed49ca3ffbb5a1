"""The load: wrk, with the same bytes for both contenders; and a client that looks at single answers."""

from __future__ import annotations

import http.client
import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benches.proxy import nginx, stream_upstream
from benches.proxy.process import pinned
from benches.proxy.rows import HEAD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benches.proxy.rows import Row

__all__ = ["Load", "Sent", "expected", "look_at_one"]

PATH = "/v1/chat/completions"

SCRIPT = """
wrk.method = "POST"
wrk.body = io.open("{body}", "rb"):read("*a")
{headers}
local threads = {{}}
function setup(thread) table.insert(threads, thread); thread:set("wrong", 0) end
{check}
function done(summary, latency, requests)
  local wrong, errors = 0, summary.errors
  for _, thread in ipairs(threads) do wrong = wrong + thread:get("wrong") end
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format('RESULT {{"requests":%d,"seconds":%.6f,"bytes":%d,"failed":%d,"refused":%d,"wrong":%d,',
    summary.requests, summary.duration / 1e6, summary.bytes, failed, errors.status, wrong))
  io.write(string.format('"p50_us":%d,"p99_us":%d}}\\n', latency:percentile(50), latency:percentile(99)))
end
"""

# Costs wrk as much again as the rest of its work, so only the warm-up looks at every answer.
CHECK = """
local expected = io.open("{expected}", "rb"):read("*a")
function response(status, headers, body)
  if status ~= 200 or body ~= expected then wrong = wrong + 1 end
end
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """What wrk counted in one run."""

    requests: int
    seconds: float
    bytes: int
    failed: int
    """Connections that broke or stayed silent."""
    refused: int
    """Answers with a status of 400 or more."""
    wrong: int
    """Answers that are not the upstream's, where every one was looked at."""
    p50_us: int
    p99_us: int

    @property
    def errors(self) -> int:
        """Everything that makes a run invalid."""
        return self.failed + self.refused + self.wrong

    @classmethod
    def sum(cls, parts: Sequence[Sent]) -> Sent:
        """Add up what ran at the same time; of the latencies, the worst is kept."""
        return cls(
            requests=sum(part.requests for part in parts),
            seconds=max(part.seconds for part in parts),
            bytes=sum(part.bytes for part in parts),
            failed=sum(part.failed for part in parts),
            refused=sum(part.refused for part in parts),
            wrong=sum(part.wrong for part in parts),
            p50_us=max(part.p50_us for part in parts),
            p99_us=max(part.p99_us for part in parts),
        )


def expected(row: Row) -> bytes:
    """Tell what a client must receive as the body."""
    return b"".join(stream_upstream.answer()) if row.kind == "stream" else nginx.ANSWER


class Load:
    """wrk on the cores that the contender does not have."""

    def __init__(self, wrk: str, row: Row, *, folder: Path, cores: set[int]) -> None:
        self.row = row
        self.cores = cores
        self.wrk = wrk
        (folder / "body").write_bytes(row.body)
        (folder / "expected").write_bytes(expected(row))
        headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in HEAD.items())
        self.bare = folder / "bare.lua"
        self.bare.write_text(SCRIPT.format(body=folder / "body", headers=headers, check=""))
        self.checking = folder / "checking.lua"
        check = CHECK.format(expected=folder / "expected")
        self.checking.write_text(SCRIPT.format(body=folder / "body", headers=headers, check=check))

    def start(self, ports: Sequence[int], seconds: float, *, check: bool) -> list[subprocess.Popen[str]]:
        """Start a run, its connections split evenly over `ports`; `check` looks at every answer, which slows wrk down."""
        script = self.checking if check else self.bare
        urls = [f"http://127.0.0.1:{port}{PATH}" for port in ports]
        options = ["-t1", f"-c{self.row.connections // len(ports)}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(script)]
        with pinned(self.cores):
            return [
                subprocess.Popen([self.wrk, *options, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for url in urls
            ]

    def finish(self, processes: Sequence[subprocess.Popen[str]]) -> Sent:
        """Wait for a run's end.

        Raises:
            RuntimeError: wrk printed no result; with what it printed instead.
        """
        return Sent.sum([result_of(process) for process in processes])


def result_of(process: subprocess.Popen[str]) -> Sent:
    """Read what one wrk counted; see `Load.finish`."""
    output, _ = process.communicate()
    for line in output.splitlines():
        if line.startswith("RESULT "):
            return Sent(**json.loads(line.removeprefix("RESULT ")))
    raise RuntimeError(f"wrk ended without a result:\n{output[-2000:]}")


def look_at_one(row: Row, port: int) -> int:
    """Send one request, insist on the right answer, and tell in how many pieces its body came.

    Raises:
        RuntimeError: another status or body than the upstream's.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", PATH, body=row.body, headers=HEAD)
        response = connection.getresponse()
        pieces = []
        while piece := response.read1(65536):
            pieces.append(piece)
    finally:
        connection.close()
    if response.status != 200 or b"".join(pieces) != expected(row):
        raise RuntimeError(f"wrong answer to {row.name!r} on port {port}: {response.status} {b''.join(pieces)[:500]!r}")
    return len(pieces)
