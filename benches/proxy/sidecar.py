"""The candidate: `dispatch serve` with everything on that is on by default, and what its metrics must say afterwards."""

from __future__ import annotations

import json
import re
import urllib.request
from collections import defaultdict
from typing import TYPE_CHECKING

from benches.proxy.rows import KEY, MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from benches.proxy.rows import Row

__all__ = ["ENDPOINTS", "Metrics", "command", "environment", "unbooked", "uncharged", "write_config"]

ENDPOINTS = 16
BURST_S = 60
TOKENS = 128
"""More than one answer of the upstreams is booked with: 63 and 103."""
LIMITS = ("requests_per_min", "tokens_per_min", "concurrency")


def write_config(row: Row, folder: Path, *, upstream: int) -> Path:
    """Write a configuration with one pool of sixteen endpoints that all lead to `upstream`.

    The limits are what the row can use at most, with a minute's worth of burst: charged on every request, never refusing one, and near
    enough to be seen charged in `/metrics` (a bucket that refills much faster than it is used is full whenever one looks).
    """
    requests = int(row.rate / ENDPOINTS * (60 + BURST_S))
    limits = {"requests_per_min": requests, "tokens_per_min": requests * TOKENS, "concurrency": 4096, "burst_s": BURST_S}
    base_url = f"https://localhost:{upstream}/v1" if row.kind == "tls" else f"http://127.0.0.1:{upstream}/v1"
    endpoint = {
        "provider": "openai_compatible",
        "model": "gpt-4o-mini",
        "base_url": base_url,
        "api_key": "env:BENCH_UPSTREAM_KEY",
        "limits": limits,
    }
    if row.kind == "tls":
        endpoint["ca_file"] = str(folder / "ca.pem")
    names = [f"mock-{number}" for number in range(ENDPOINTS)]
    config = {
        "server": {"drain_s": 0},
        "keys": [{"name": "bench", "key": "env:BENCH_KEY", "models": [MODEL]}],
        "endpoints": [{"name": name, **endpoint} for name in names],
        "models": {MODEL: {"strategy": "least_work", "endpoints": names}},
    }
    path = folder / f"dispatch-{row.kind}-{row.workers}.json"
    path.write_text(json.dumps(config, indent=1))
    return path


def command(dispatch: str, config: Path, *, port: int, workers: int) -> list[str]:
    """Build the command line of the sidecar."""
    listen = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    return [dispatch, "serve", "--config", str(config), "--log", "off", *listen]


def environment() -> dict[str, str]:
    """Tell the secrets that the configuration refers to."""
    return {"BENCH_KEY": KEY, "BENCH_UPSTREAM_KEY": "sk-upstream-0123456789abcdef"}


class Metrics:
    """One reading of `/metrics`."""

    def __init__(self, text: str) -> None:
        self.samples: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for line in text.splitlines():
            if match := re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
                self.samples[match[1]].append((labels, float(match[3])))

    @classmethod
    def read(cls, port: int) -> Metrics:
        """Ask the sidecar on `port`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            return cls(response.read().decode())

    def total(self, name: str, **labels: str) -> float:
        """Add up the samples of `name` that carry `labels`."""
        return sum(value for found, value in self.samples[name] if labels.items() <= found.items())


def uncharged(idle: Metrics, loaded: list[Metrics]) -> list[str]:
    """Name the limits that no request was charged to: those with as much left under load as before it, in every reading."""
    name = "dispatch_limit_remaining"
    full = {limit: idle.total(name, limit=limit) for limit in LIMITS}
    return [limit for limit in LIMITS if not full[limit] or all(each.total(name, limit=limit) >= full[limit] for each in loaded)]


def unbooked(metrics: Metrics, *, requests: int, open_at_end: int) -> list[str]:
    """Compare the books with what was sent; a request that wrk left open at its end may be booked either way.

    Args:
        metrics: read after the load.
        requests: whole answers that the clients received.
        open_at_end: requests that were cut off, at most.
    """
    books = {
        "dispatch_requests_total": metrics.total("dispatch_requests_total", model=MODEL),
        "dispatch_key_requests_total": metrics.total("dispatch_key_requests_total", key="bench"),
        "dispatch_attempts_total": metrics.total("dispatch_attempts_total"),
    }
    found = [
        f"{name} is {value:.0f}, sent were {requests}" for name, value in books.items() if not requests <= value <= requests + open_at_end
    ]
    if metrics.total("dispatch_tokens_total") <= 0:
        found.append("dispatch_tokens_total is 0")
    if metrics.total("dispatch_in_flight") != 0:
        found.append("dispatch_in_flight is not 0 after the load")
    return found
