"""What a soak showed: figures, what was not as it should be, a page and a plot."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from tests.crash.gauges import Sample, slope

if TYPE_CHECKING:
    from tests.crash.soak import Soak

__all__ = ["judge", "page", "plot"]

WARM_UP: Final = 0.3
"""Share of the time that memory takes to settle: caches, pools of connections, the allocator's arenas."""
GROWTH_KIB: Final = 2048
"""What the line through a worker's memory may rise from the warm-up to the end, however long that is; two arenas of the allocator."""
FDS: Final = 40
"""By how much descriptors may differ between the second and the last quarter: clients and connections to upstreams at that moment."""
_HELD: Final = ("dispatch_in_flight", "dispatch_queue_depth", "dispatch_waiting")


def judge(soak: Soak, metrics: dict[str, float], seconds: float) -> tuple[dict[str, Any], list[str]]:
    """Give the figures, and in words what was not as it should be."""
    workers = _workers(soak.watch.samples, seconds)
    ledger, twice = _ledger(soak)
    took = sorted(soak.took_s)
    held = {name: value for name, value in metrics.items() if name.startswith(_HELD) and value}
    figures = {
        "requests": dict(soak.verdicts),
        "p50_s": round(took[len(took) // 2], 3) if took else 0,
        "p99_s": round(took[int(len(took) * 0.99)], 3) if took else 0,
        "reloads": soak.reloads,
        "kills": len(soak.kills),
        "ledger": ledger,
        "delivered_twice": twice,
        "workers": workers,
        "held_at_the_end": held,
        "delayed": soak.delayed,
        "worst_lag_s": round(soak.fleet.strain.worst_lag_s, 2),
    }
    broken = [f"lost: {one.verdict} after {one.took_s:.1f} s, {one.status}, {one.seen[:200]}" for one in soak.lost[:10]]
    if len(soak.lost) > 10:
        broken.append(f"and {len(soak.lost) - 10} more were lost")
    broken += [f"held at the end: {name} {value}" for name, value in held.items()]
    broken += [f"{ledger['lost']} gaps in the ledger"] if "lost" in ledger else []
    broken += [f"{twice} requests were delivered twice"] if twice else []
    broken += [
        f"worker {one['pid']} grew by {one['growth_kib']} KiB"
        for one in workers
        if one["lived_throughout"] and one["growth_kib"] > GROWTH_KIB
    ]
    broken += [
        f"worker {one['pid']}: descriptors rose by {one['fd_growth']}"
        for one in workers
        if one["lived_throughout"] and one["fd_growth"] > FDS
    ]
    return figures, broken


def _workers(samples: list[Sample], seconds: float) -> list[dict[str, Any]]:
    lives: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.at_s <= seconds:
            lives[sample.pid].append(sample)
    found = []
    for pid, life in lives.items():
        settled = [one for one in life if one.at_s >= seconds * WARM_UP]
        rise = slope([(one.at_s, one.rss_kib) for one in settled])
        throughout = life[0].at_s < seconds * 0.1 and life[-1].at_s > seconds * 0.9
        quarters = [[one.fds for one in life if low * seconds <= one.at_s < (low + 0.25) * seconds] for low in (0.25, 0.75)]
        found.append(
            {
                "pid": pid,
                "lived_throughout": throughout,
                "samples": len(life),
                "rss_mib_first": round(life[0].rss_kib / 1024, 1),
                "rss_mib_last": round(life[-1].rss_kib / 1024, 1),
                # Who was killed after a minute has had nothing but a warm-up.
                "growth_kib": round(rise * seconds * (1 - WARM_UP)) if throughout else None,
                "slope_kib_per_hour": round(rise * 3600) if throughout else None,
                "fds_most": max(one.fds for one in life),
                "fd_growth": max(quarters[1], default=0) - max(quarters[0], default=0) if all(quarters) else 0,
                "threads": max(one.threads for one in life),
            }
        )
    return found


def _ledger(soak: Soak) -> tuple[dict[str, int], int]:
    outcomes: Counter[str] = Counter()
    delivered: Counter[str] = Counter()
    for path in sorted(soak.fleet.folder.glob("ledger.[0-9]*")):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            outcomes[entry.get("outcome", "lost")] += 1
            if entry.get("outcome") == "delivered":
                delivered[entry["id"]] += 1
    return dict(outcomes), sum(1 for count in delivered.values() if count > 1)


_COLUMNS: Final = {
    "MiB first": "rss_mib_first",
    "MiB last": "rss_mib_last",
    "growth after the warm-up, KiB": "growth_kib",
    "KiB an hour": "slope_kib_per_hour",
    "descriptors": "fds_most",
    "their growth": "fd_growth",
    "threads": "threads",
}
_LOST: Final = ("cut", "hung", "wrong", "clean", "late", "refused")


def page(figures: dict[str, Any], broken: list[str], seconds: float) -> str:
    """The report in Markdown."""
    requests = figures["requests"]
    about = f"""# Soak of {seconds:.0f} s

`make soak SECONDS={seconds:.0f}`: {sum(requests.values())} requests, {figures["reloads"]} reloads, {figures["kills"]} workers killed by
SIGKILL; streams and whole answers of pools of four endpoints, of which one, three or all play most faults at 1 % each; 5 % of the
clients leave.

| became | requests |
| --- | --- |"""
    told = f"""
`killed`: the connection was to a worker that had just been killed. Lost (no end, late, or broken and ended as if it were whole):
{sum(requests.get(name, 0) for name in _LOST)}. Median {figures["p50_s"] * 1000:.0f} ms, p99 {figures["p99_s"] * 1000:.0f} ms.
Ledger: {", ".join(f"{count} {name}" for name, count in figures["ledger"].items())}; delivered twice: {figures["delivered_twice"]}.
Later than the deadline because the machine withheld its processors: {figures["delayed"]}; this program's loop was late by
{figures["worst_lag_s"]} s at worst. Held on the board at the end: {figures["held_at_the_end"] or "nothing"}.
Growth is that of the line of least squares, of workers that lived throughout.

| worker | {" | ".join(_COLUMNS)} |
|{" --- |" * (len(_COLUMNS) + 1)}"""
    became = [f"| {name} | {count} |" for name, count in sorted(requests.items())]
    rows = [_row(one) for one in figures["workers"]]
    verdict = ["Not as it should be:", "", *(f"- {one}" for one in broken)] if broken else ["All was as it should be."]
    return "\n".join([about, *became, told, *rows, "", *verdict]) + "\n"


def _row(worker: dict[str, Any]) -> str:
    name = f"{worker['pid']}{', throughout' if worker['lived_throughout'] else ''}"
    return f"| {name} | {' | '.join('' if worker[field] is None else str(worker[field]) for field in _COLUMNS.values())} |"


def plot(samples: list[Sample]) -> str:
    """Memory, descriptors and attempts under way over time, as SVG."""
    width, height, gap = 900, 140, 36
    size = f'width="{width + 80}" height="{3 * (height + gap) + gap}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">']
    last_s = max((one.at_s for one in samples), default=1.0)
    colours = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
    pids = list(dict.fromkeys(one.pid for one in samples))
    panels = (("memory, MiB", "rss_kib", 1024.0), ("descriptors", "fds", 1.0), ("attempts under way", "under_way", 1.0))
    for row, (title, field, unit) in enumerate(panels):
        top = row * (height + gap) + gap
        most = max((getattr(one, field) / unit for one in samples), default=1.0) * 1.1 or 1.0
        parts.append(
            f'<text x="50" y="{top - 6}">{title}</text><text x="4" y="{top + 10}">{most:.0f}</text><text x="4" y="{top + height}">0</text>'
        )
        parts.append(f'<rect x="50" y="{top}" width="{width}" height="{height}" fill="none" stroke="#ccc"/>')
        for index, pid in enumerate(pids):
            points = " ".join(
                f"{50 + one.at_s / last_s * width:.1f},{top + height - getattr(one, field) / unit / most * height:.1f}"
                for one in samples
                if one.pid == pid
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colours[index % len(colours)]}"/>')
    parts.append(f'<text x="{width}" y="{3 * (height + gap) + gap - 20}">{last_s:.0f} s</text></svg>')
    return "\n".join(parts) + "\n"
