"""The budget of a learned route over a day whose mix of requests shifts, through what a worker does for each request."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from dispatch.config import Route, Secret, Secrets, build
from dispatch.config.plans.route import RouteBudget
from dispatch.decisions import Decisions
from dispatch.dispatcher import Dispatcher
from dispatch.exchange import Call
from dispatch.generation import build as generate
from dispatch.plans.learning import Learning
from dispatch.plans.remembered import Remembered
from dispatch.routing import Board, LearnedRouter, Pacer, Sizes, Slots

if TYPE_CHECKING:
    from pathlib import Path

NS = 1_000_000_000
DAY_S = 86_400
REQUESTS = 20_000


def alone(path: str, rate: float, window: float, *, is_share: bool) -> Pacer:
    """The pacer of a worker that has no other."""
    del path
    return Pacer(rate, window, is_share=is_share)


def spent_in_a_day(dollars_per_hour: float, seed: int) -> float:
    """The part of a day's budget that is spent."""
    rng = random.Random(seed)
    config = Route(
        by="learned",
        parts=(),
        names=("a", "b"),
        places=(0, 1),
        labels=("weak", "strong"),
        costs=(1.0, 10.0),
        budget=RouteBudget(dollars_per_hour=dollars_per_hour),
    )
    decisions = Decisions()
    site: Any = SimpleNamespace(decisions=decisions, model="m", path="route", remembered=Remembered(None), pacer=alone)
    learning = Learning(config, site)
    anything: Any = None
    spent = 0
    for number in range(REQUESTS):
        hour = number / REQUESTS * 24
        now_ns = NS + int(number / REQUESTS * DAY_S * NS)
        board = learning.state(now_ns)
        # What the strong model gains drifts over the morning, jumps at noon, and falls in the evening.
        gain = (0.1 + 0.01 * hour if hour < 12 else 0.5 - 0.012 * hour) * 2 * rng.random()
        place = int(gain > board["price"] * 0.9)
        call = Call(anything, "m", "chat", anything, 0, 0)
        learning.chose(call, place, anything, board)
        decision = decisions.of(call)
        load = 1 + 0.5 * math.sin(hour / 24 * math.tau)
        decision.micro_dollars = int((0.004 if place else 0.0004) * 1e6 * load * (0.5 + rng.random()))
        decision.outcome = "ok"
        spent += decision.micro_dollars
    return spent / 1e6 / (dollars_per_hour * 24)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dollars_per_hour", [1.0, 1.5, 2.2])
def test_a_days_budget_is_spent_to_two_percent(dollars_per_hour: float, seed: int) -> None:
    assert spent_in_a_day(dollars_per_hour, seed) == pytest.approx(1.0, abs=0.02)


def site(remembered: Remembered, board: Board, worker: int) -> Any:
    def pacer(path: str, rate: float, window: float, *, is_share: bool) -> Pacer:
        del path
        return Pacer(rate, window, is_share=is_share, board=board, row=0)

    return SimpleNamespace(decisions=Decisions(worker), model="m", path="route", remembered=remembered, pacer=pacer)


def shared(**budget: float) -> Route:
    budgeted: Any = RouteBudget(**budget)
    return Route(
        by="learned",
        parts=(),
        names=("a", "b"),
        places=(0, 1),
        labels=("weak", "strong"),
        costs=(1.0, 10.0),
        budget=budgeted,
        cost_weight=0.5,
    )


def test_workers_hold_one_share_of_strong_calls_together() -> None:
    """One worker gets all that the strong model is for: alone it would be held to the share, together they spend all of it."""
    config, anything = shared(strong_share=0.25), cast("Any", None)
    board = Board.heap(Sizes())
    hard, easy = (Learning(config, site(Remembered(None), board, name)) for name in range(2))
    strong = 0
    for number in range(2000):
        learning, gain = (hard, 0.8) if number % 2 else (easy, 0.01)
        price = learning.state(NS + number)["price"]
        place = int(gain > price * 0.9)
        strong += place
        learning.chose(Call(anything, "m", "chat", anything, 0, 0), place, anything, {})

    assert strong / 2000 == pytest.approx(0.25, abs=0.03)


NAMES = ("weak", "strong")
BUDGETS = {"code": 1.0, "prose": 2.0}
"""Dollars an hour of two routes of one model."""


def workers_of(folder: Path, workers: int) -> list[tuple[Decisions, list[Learning]]]:
    """Of each worker its records, and what the two budgeted routes of its model learn; built as a worker builds them, over one board."""
    prompts = [f"{kind} number {at}" for at in range(20) for kind in ("add", "prove")]
    (folder / "router.bin").write_bytes(LearnedRouter.train([*NAMES], prompts, [[0.0, 1.0], [1.0, 1.0]] * 20, []).encode())
    learned = {"by": "learned", "router": str(folder / "router.bin"), "among": [*NAMES], "costs": {"weak": 1, "strong": 10}}
    of = {name: {"route": {**learned, "budget": {"dollars_per_hour": dollars}}} for name, dollars in BUDGETS.items()}
    plan = {"by": "rules", "rules": [{"when": {"code": ">0.5"}, "to": of["code"]}], "default": of["prose"]}
    endpoints = [{"name": name, "provider": "echo", "price": {"input": 1}} for name in NAMES]
    config = build({"endpoints": endpoints, "models": {"m": {"route": plan}}}, {})
    sizes = Sizes.of(config, workers)
    slots, board = Slots.of(config, sizes), Board.heap(sizes)
    secrets = Secrets(endpoints={name: Secret("") for name in NAMES}, keys={}, stores={})
    dispatchers = [Dispatcher(worker=worker) for worker in range(workers)]
    built = [generate(config, secrets, slots, board, worker, dispatcher) for worker, dispatcher in enumerate(dispatchers)]
    learnt = [[cast("Learning", one.routes[f"m route[{place}].route"].learning) for place in range(2)] for one in built]
    return [(dispatcher.decisions, learning) for dispatcher, learning in zip(dispatchers, learnt, strict=True)]


def test_each_budget_of_a_model_is_one_for_all_workers(tmp_path: Path) -> None:
    """Most requests come to one worker, whose half of a budget would not do, while the other would leave most of its half."""
    rng, anything = random.Random(7), cast("Any", None)
    both = workers_of(tmp_path, 2)
    spent = [0, 0]
    for number in range(REQUESTS):
        now_ns = NS + int(number / REQUESTS * DAY_S * NS)
        worker, place = int(rng.random() < 0.1), rng.randrange(2)
        decisions, learnt = both[worker]
        strong = int(2 * rng.random() * (0.3 if worker else 0.1) > learnt[place].state(now_ns)["price"] * 0.9)
        call = Call(anything, "m", "chat", anything, 0, 0)
        learnt[place].chose(call, strong, anything, {})
        decision = decisions.of(call)
        decision.micro_dollars, decision.outcome = 6000 * strong + 600, "ok"
        spent[place] += decision.micro_dollars

    parts = [dollars / 1e6 / (allowed * 24) for dollars, allowed in zip(spent, BUDGETS.values(), strict=True)]

    assert parts == pytest.approx([1.0, 1.0], abs=0.02)


def test_a_budget_goes_on_after_a_restart_where_it_was_left(tmp_path: Path) -> None:
    config, anything = shared(dollars_per_hour=1.0), cast("Any", None)
    remembered = Remembered(tmp_path / "ledger.learned.0")
    before = site(remembered, Board.heap(Sizes()), 0)
    learning = Learning(config, before)
    for second in range(1, 400):
        learning.state(second * NS)
        call = Call(anything, "m", "chat", anything, 0, 0)
        learning.chose(call, 1, anything, {})
        decision = before.decisions.of(call)
        decision.micro_dollars, decision.outcome = 700, "ok"
    price = learning.state(400 * NS)["price"]
    remembered.write()

    again = Learning(config, site(Remembered(remembered.path), Board.heap(Sizes()), 0))
    fresh = Learning(config, site(Remembered(None), Board.heap(Sizes()), 0))

    assert price > 2
    assert again.state(NS)["price"] == pytest.approx(price)
    assert fresh.state(NS)["price"] == 1.0
