"""`dispatch profile --tasks FILE`: how good each endpoint is at a set of tasks, how fast, and what it costs.

Tasks are JSON lines: `{"p": prompt, "answer": "Paris", "score": "exact", "axis": "accuracy"}`. `score` is `exact` (the answer, but for
case, spaces and marks at its ends), `regex` (`answer` is found in it) or `judge` (the model of `--judge` gives 0 to 10 points, `answer`
being its reference). The file that is written is what `profiles` of a route by profile takes.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from dispatch.client import Client
from dispatch.config import Model, Pool, load, locate
from dispatch.errors import ConfigError, DispatchError
from dispatch.policy.cost import cost_pico, rates

if TYPE_CHECKING:
    import argparse

    from dispatch.config import Config, Endpoint

__all__ = ["Measured", "Task", "add_arguments", "measure", "read_tasks", "run"]

_POINTS = re.compile(r"\d+(?:\.\d+)?")
_ASK_JUDGE = (
    "Question:\n{question}\n\nReference answer:\n{reference}\n\nAnswer to judge:\n{answer}\n\n"
    "How good is the answer to judge, from 0 (useless) to 10 (perfect)? Reply with the number alone."
)


class Task(Struct):
    """One prompt, and what a good answer is."""

    p: str
    answer: str
    score: Literal["exact", "regex", "judge"] = "exact"
    axis: str = "accuracy"


class Measured(Struct):
    """One endpoint after all tasks."""

    profile: dict[str, float]
    """Mean score by axis, and `speed`: the fastest endpoint's median time over its own."""
    median_s: float
    dollars: float
    failed: int
    """Tasks without an answer: they score 0."""
    unjudged: int
    """Answers for which the judge gave no number: they do not count."""


class _Tally:
    """What came of the tasks of one endpoint so far."""

    def __init__(self) -> None:
        self.scores: dict[str, list[float]] = {}
        self.times_s: list[float] = []
        self.pico = 0
        self.failed = 0
        self.unjudged = 0

    @property
    def done(self) -> int:
        return sum(len(scores) for scores in self.scores.values()) + self.unjudged

    def measured(self, fastest_s: float) -> Measured:
        means = {axis: round(sum(scores) / len(scores), 4) for axis, scores in self.scores.items()}
        median_s = self.median_s
        speed = {"speed": round(fastest_s / median_s, 4)} if median_s else {}
        return Measured({**means, **speed}, round(median_s, 4), round(self.pico / 1e12, 6), self.failed, self.unjudged)

    @property
    def median_s(self) -> float:
        times = sorted(self.times_s)
        return times[len(times) // 2] if times else 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument(
        "--tasks", type=Path, metavar="FILE", required=True, help='JSON lines: {"p": prompt, "answer": ..., "score": "exact"}'
    )
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="where the profiles go, such as profiles.json")
    parser.add_argument("--config", metavar="FILE", help="configuration (default: as of `dispatch serve`)")
    parser.add_argument("--endpoints", metavar="A,B,...", help="only these (default: all)")
    parser.add_argument("--judge", metavar="MODEL", help="a model of the configuration, for tasks with score: judge")
    parser.add_argument("--concurrency", type=int, default=4, metavar="N", help="requests at once to each endpoint (default: %(default)s)")
    parser.add_argument("--warm", action="store_true", help="ask each endpoint the first task once before, for servers that load on demand")


def run(arguments: argparse.Namespace) -> int:
    """Ask every endpoint, with progress; write the file."""
    tasks = read_tasks(arguments.tasks)
    if arguments.judge is None and any(task.score == "judge" for task in tasks):
        raise ConfigError("--judge", "is missing: there are tasks with score: judge")
    config = load(locate(arguments.config, os.environ), os.environ)
    names = arguments.endpoints.split(",") if arguments.endpoints else [endpoint.name for endpoint in config.endpoints]
    by_name = config.endpoint_by_name
    for name in names:
        if name not in by_name:
            raise ConfigError("--endpoints", f"found {name!r}, expected one of {', '.join(by_name)}")
    found = asyncio.run(measure(config, [by_name[name] for name in names], tasks, arguments, warm=arguments.warm))
    arguments.out.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    for name, one in found.items():
        axes = ", ".join(f"{axis} {value:.3f}" for axis, value in one.profile.items())
        print(f"{name}: {axes}; median {one.median_s:.3f} s, ${one.dollars:.6f}, {one.failed} failed, {one.unjudged} not judged")
    return 0


def read_tasks(path: Path) -> list[Task]:
    """Read tasks, one a line. Raises `ConfigError`."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(str(path), str(error)) from None
    tasks = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                task = msgspec.json.decode(line, type=Task)
                re.compile(task.answer if task.score == "regex" else "")
            except (msgspec.DecodeError, UnicodeDecodeError, re.error) as error:
                raise ConfigError(f"{path}:{number}", str(error)) from None
            tasks.append(task)
    if not tasks:
        raise ConfigError(str(path), "holds no tasks")
    return tasks


async def measure(
    config: Config, endpoints: list[Endpoint], tasks: list[Task], arguments: argparse.Namespace, *, warm: bool = False
) -> dict[str, Measured]:
    """Ask all endpoints at once, each by a model that is nothing but it.

    `warm`: ask each the first task before, which does not count: the first answer of a server may have to wait for its model.
    """
    alone = {
        f"profile/{endpoint.name}": Model(
            name=f"profile/{endpoint.name}", plan=Pool(endpoints=(endpoint.name,), strategy="round_robin"), settings=config.defaults
        )
        for endpoint in endpoints
    }
    async with Client(msgspec.structs.replace(config, models={**config.models, **alone})) as client:
        if warm:
            await asyncio.gather(*(client.chat(name, tasks[0].p) for name in alone), return_exceptions=True)
        tallies = [_Tally() for _ in endpoints]
        await asyncio.gather(
            *(_profile(client, endpoint, tasks, arguments, tally) for endpoint, tally in zip(endpoints, tallies, strict=True))
        )
    fastest_s = min((tally.median_s for tally in tallies if tally.median_s), default=0.0)
    return {endpoint.name: tally.measured(fastest_s) for endpoint, tally in zip(endpoints, tallies, strict=True)}


async def _profile(client: Client, endpoint: Endpoint, tasks: list[Task], arguments: argparse.Namespace, tally: _Tally) -> None:
    room = asyncio.Semaphore(max(1, arguments.concurrency))
    price = rates(endpoint.price)

    async def one(task: Task) -> None:
        async with room:
            began = perf_counter()
            try:
                answer = await client.chat(f"profile/{endpoint.name}", task.p)
            except DispatchError as error:
                tally.failed += 1
                tally.scores.setdefault(task.axis, []).append(0.0)
                print(f"{endpoint.name}: {error}", file=sys.stderr)
                return
            tally.times_s.append(perf_counter() - began)
            tally.pico += cost_pico(answer.usage, price)
            score = await _score(client, task, answer.text, arguments.judge)
        if score is None:
            tally.unjudged += 1
        else:
            tally.scores.setdefault(task.axis, []).append(score)
        if tally.done % max(1, len(tasks) // 10) == 0:
            print(f"{endpoint.name}: {tally.done} of {len(tasks)}", file=sys.stderr)

    await asyncio.gather(*(one(task) for task in tasks))


async def _score(client: Client, task: Task, text: str, judge: str | None) -> float | None:
    """How good an answer is, from 0 to 1; None: the judge did not say."""
    if task.score == "exact":
        return float(_plain(text) == _plain(task.answer))
    if task.score == "regex" or judge is None:
        return float(re.search(task.answer, text) is not None)
    try:
        said = await client.chat(judge, _ASK_JUDGE.format(question=task.p, reference=task.answer, answer=text))
    except DispatchError:
        return None
    found = _POINTS.search(said.text)
    points = float(found[0]) if found else -1.0
    return points / 10 if 0 <= points <= 10 else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!\"'`*")
