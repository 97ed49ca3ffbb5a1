"""What a whole decision of a route costs: signals of 400 characters, what the board says, the choice, the step of the record.

Goals: 15 us with all signals and ten models, 3 us by rules, 100 us among a thousand routes. Percentiles: `python -m benches.decisions`.
"""

from __future__ import annotations

import random
from itertools import count
from typing import Any

import pytest
from dispatch.decisions import Step

from benches.decisions import bodies_of, routes

RNG = random.Random(1)
ROUTES = dict(routes(bodies_of(RNG), RNG))


@pytest.mark.benchmark(group="decisions of routes, 400 characters")
@pytest.mark.parametrize("name", ROUTES)
def test_a_decision(benchmark: Any, name: str) -> None:
    """Prompts in turn."""
    decide, turn = ROUTES[name], count()

    step = benchmark(lambda: decide(next(turn)))

    assert isinstance(step, Step)
    assert step.chosen.startswith("m")
    assert len(step.weighed()) == (10 if step.by == "learned" else step.by == "semantic")
