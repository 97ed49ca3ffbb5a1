"""The budget of a learned route over a day whose mix of requests shifts, through what a worker does for each request."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest
from dispatch.config import Route
from dispatch.config.plans.route import RouteBudget
from dispatch.decisions import Decisions
from dispatch.exchange import Call
from dispatch.plans.learning import Learning
from dispatch.plans.remembered import Remembered

NS = 1_000_000_000
DAY_S = 86_400
REQUESTS = 20_000


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
    site: Any = SimpleNamespace(decisions=decisions, workers=1, model="m", path="route", remembered=Remembered(None))
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
