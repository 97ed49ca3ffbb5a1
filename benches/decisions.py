"""How long a decision takes: `python -m benches.decisions [WORD ...] > page.md`, the rows with all of the words."""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
from pathlib import Path
from random import getrandbits
from time import monotonic_ns, perf_counter_ns
from typing import TYPE_CHECKING, Any

from dispatch.config import Secret, Secrets, build
from dispatch.dispatcher import Dispatcher
from dispatch.errors import Failure
from dispatch.generation import build as generate
from dispatch.routing import Board, Judge, LearnedRouter, Lease, Routing, Sizes, Slots, read_router

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[int], object]

RUNS = 300
CALLS = 500
"""A few milliseconds a run: most runs are not interrupted, however busy the machine is."""
_PROSE = (
    "I have a small shop and want to understand why my invoices from last year do not add up in March the tax was nineteen percent "
    "could you explain step by step how I should calculate the total for each month and write a short function that does it please"
)
WORDS = _PROSE.split()
NAMES = [f"{a}{b}{c}" for a in ("ka", "lo", "mi", "ru", "te", "sa", "vo", "ne") for b in ("ra", "li", "mo", "ku") for c in "bdfgklmnprst"]
SIGNALS = ["language", "code", "math", "json", "question", "personal"]


def main() -> None:
    """Measure everything and print a page."""
    rng = random.Random(1)
    bodies = bodies_of(rng)
    rows = [*_signals(bodies, rng), *routes(bodies, rng), *_pools()]
    print("| | p50 us | p99 us | p99 in the best tenth of the runs |\n| --- | ---: | ---: | ---: |")
    for name, run in rows:
        if not all(word in name for word in sys.argv[1:]):
            continue
        half, most, best = _timed(run)
        print(f"| {name} | {half:.2f} | {most:.2f} | {best:.2f} |", flush=True)
    print(f"\nPrompts of 400 characters, 64 of them in turn. {RUNS} runs of {CALLS} calls each, timed one by one, the clock's own time")
    print("taken off; the median over the runs of each run's percentile. Python's face of the core is in it.")


def _timed(run: Run) -> tuple[float, float, float]:
    """Medians over the runs of p50 and p99, and the lower decile of p99, microseconds."""
    halves, mosts = [], []
    idle_ns = min(-perf_counter_ns() + perf_counter_ns() for _ in range(1000))
    for _ in range(RUNS):
        times = []
        for at in range(CALLS):
            began = perf_counter_ns()
            run(at)
            times.append(perf_counter_ns() - began - idle_ns)
        times.sort()
        halves.append(times[CALLS // 2])
        mosts.append(times[CALLS * 99 // 100])
    return statistics.median(halves) / 1e3, statistics.median(mosts) / 1e3, sorted(mosts)[RUNS // 10] / 1e3


def bodies_of(rng: random.Random) -> list[bytes]:
    """Requests whose prompts have 400 characters."""
    return [_body(rng, WORDS) for _ in range(64)]


def _body(rng: random.Random, words: list[str]) -> bytes:
    prompt = " ".join(rng.choices(words, k=90))[:400]
    return json.dumps(
        {"model": "m", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]}
    ).encode()


def _router(rng: random.Random, models: int, words: list[str], rows: int = 400) -> LearnedRouter:
    prompts = [" ".join(rng.choices(words, k=40)) for _ in range(rows)]
    scores = [[float(rng.random() < 0.05 * at + 0.3) for at in range(models)] for _ in prompts]
    return LearnedRouter.train([f"m{at}" for at in range(models)], prompts, scores, [])


def _utterances(rng: random.Random, routes: int) -> list[list[str]]:
    return [[" ".join(rng.choices(WORDS + NAMES, k=10)) for _ in range(5)] for _ in range(routes)]


def _signals(bodies: list[bytes], rng: random.Random) -> list[tuple[str, Run]]:
    def reading(judge: Judge) -> Run:
        return lambda at: judge.read(bodies[at & 63], [])

    every = Judge(SIGNALS, [], read_router(""), None, _router(rng, 10, WORDS), [])
    rows = [("signals: none", reading(Judge([], [], None, None, None, []))), ("signals: all, difficulty, ten models", reading(every))]
    for routes in (100, 1000, 5000):
        judge = Judge([], [], None, None, None, _utterances(rng, routes))
        rows.append((f"signals: nearest of {routes:,} routes, {5 * routes:,} utterances", reading(judge)))
    return rows


def routes(bodies: list[bytes], rng: random.Random) -> list[tuple[str, Run]]:
    """Whole decisions of a route: signals, what the board says, the choice, the step of the record."""
    folder = Path(tempfile.mkdtemp())
    (folder / "router.bin").write_bytes(_router(rng, 10, WORDS).encode())
    (folder / "large.bin").write_bytes(_router(rng, 10, WORDS + NAMES, 4000).encode())
    various = [_body(rng, WORDS + NAMES) for _ in bodies]
    names = [f"m{at}" for at in range(10)]
    utterances = {f"r{at}": {"utterances": said, "to": names[at % 10]} for at, said in enumerate(_utterances(rng, 1000))}
    codes = ("de", "fr", "es", "it", "nl", "pl", "cs", "ru", "zh", "ja")
    rules = [{"when": {"language": code, "tokens": ">10"}, "to": "m0"} for code in codes]
    learned = {
        "by": "learned",
        "router": str(folder / "router.bin"),
        "among": {name: name for name in names},
        "costs": {name: float(at + 1) for at, name in enumerate(names)},
        "cost_weight": 0.2,
    }
    # Each reads one signal more, and none holds.
    unlikely = [
        {"personal": "iban"},
        {"language": "ja"},
        {"question": "who"},
        *({name: ">0.99"} for name in ("code", "math", "json", "difficulty")),
    ]
    plans: dict[str, dict[str, Any]] = {
        "route by rules, ten of them on language and length": {"by": "rules", "rules": rules, "default": "m1"},
        "route by learned, ten models": learned,
        "all signals: route by rules on seven, then by learned, ten models": {
            "by": "rules",
            "rules": [{"when": when, "to": "m0"} for when in unlikely],
            "default": {"route": learned},
        },
        "route by semantic, 1,000 routes": {"by": "semantic", "routes": utterances, "default": "m0"},
    }
    large = {**learned, "router": str(folder / "large.bin")}
    return [
        *((name, _deciding(plan, names, bodies)) for name, plan in plans.items()),
        ("route by learned, ten models, a router of 44,000 words and pairs", _deciding(large, names, various)),
    ]


def _deciding(plan: dict[str, Any], names: list[str], bodies: list[bytes]) -> Run:
    config = build({"endpoints": [{"name": name, "provider": "echo"} for name in names], "models": {"m": {"route": plan}}}, {})
    sizes = Sizes.of(config)
    secrets = Secrets(endpoints={name: Secret("") for name in names}, keys={}, stores={})
    generation = generate(config, secrets, Slots.of(config, sizes), Board.heap(sizes), 0, Dispatcher())
    # The outer one first: a record holds the steps in that order.
    deciding = [generation.routes[name].explain for name in sorted(generation.routes, key=len)]
    if len(deciding) == 1:
        return lambda at: deciding[0](bodies[at & 63], [])
    return lambda at: [explain(bodies[at & 63], []) for explain in deciding][-1]


def _pools() -> list[tuple[str, Run]]:
    """A place and its end, in a pool of ten."""
    modified: dict[str, dict[str, Any]] = {
        "no modifier": {},
        "priority": {"priority": [["e0", "e1", "e2", "e3", "e4"], ["e5", "e6", "e7", "e8", "e9"]]},
        "lowest_cost": {"lowest_cost": 0.1},
        "lowest_latency": {"lowest_latency": 0.2},
        "sticky": {"sticky": True},
        "affinity": {"affinity": True},
        "priority, affinity, lowest_cost, lowest_latency": {
            "priority": [["e0", "e1", "e2", "e3", "e4"], ["e5", "e6", "e7", "e8", "e9"]],
            "affinity": True,
            "lowest_cost": 0.1,
            "lowest_latency": 0.2,
        },
    }
    return [(f"acquire and settle, pool of ten, least_work: {name}", _taking(pool)) for name, pool in modified.items()] + [
        ("the same without a modifier, told: `decisions: true`", _taking({}, is_told=True))
    ]


def _taking(pool: dict[str, Any], *, is_told: bool = False) -> Run:
    names = [f"e{at}" for at in range(10)]
    endpoints = [{"name": name, "provider": "echo", "price": {"input": at % 3 + 1, "output": 4}} for at, name in enumerate(names)]
    routing = Routing.alone(build({"endpoints": endpoints, "models": {"m": {"endpoints": names, **pool}}}, {}))
    core = routing.routers("m")[0].core

    def once(at: int) -> None:
        now_ns = monotonic_ns()
        wish = (0, 4000, 200, now_ns, getrandbits(64), at % 97 + 1)
        taken = core.acquire_told(*wish)[0] if is_told else core.acquire(*wish)
        if isinstance(taken, Lease):
            taken.settle(Failure.NONE, now_ns + 1_000_000, 4000, 200, 0, 0)

    return once


if __name__ == "__main__":
    main()
