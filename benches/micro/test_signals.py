"""What a decision costs: a prompt of 400 characters, through the Python face.

Goals: 15 us with all signals and ten models, 3 us for rules, 100 us for a thousand routes; whole decisions: `test_decisions`.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from dispatch.routing import Judge, LearnedRouter, read_router

PROMPT = (
    "I have a small shop and I want to understand why my invoices from last year do not add up. In March the tax was 19 %, later 16 %. "
    "Could you explain step by step how I should calculate the total for each month, and write a short Python function that does it? "
    "Please mention what I have to send to the tax office, and by when, because my accountant is on holiday until September."
)
BODY = json.dumps(
    {"model": "auto", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT[:400]}]}
).encode()
ALL = ["language", "code", "math", "json", "question", "personal"]
WORDS = PROMPT.lower().replace(",", "").replace(".", "").split()


def ten_models() -> LearnedRouter:
    """A router of ten models, from sentences of the prompt's words."""
    rng = random.Random(1)
    prompts = [" ".join(rng.choices(WORDS, k=40)) for _ in range(400)]
    scores = [[float(rng.random() < 0.05 * at + 0.3) for at in range(10)] for _ in prompts]
    return LearnedRouter.train([f"m{at}" for at in range(10)], prompts, scores, [])


@pytest.mark.benchmark(group="signals of 400 characters")
def test_all_signals_and_ten_models(benchmark: Any) -> None:
    """Everything that is known of a prompt."""
    router = ten_models()
    judge = Judge(ALL, [], read_router(""), None, router, [])

    signals = benchmark(judge.read, BODY, [("topic", "tax")])

    assert (signals.language, len(signals.scores)) == ("en", 10)


@pytest.mark.benchmark(group="signals of 400 characters")
@pytest.mark.parametrize("signal", ["none", *ALL])
def test_one_signal(benchmark: Any, signal: str) -> None:
    """Each by itself, beside none."""
    judge = Judge([signal], [], None, None, None, [])

    assert benchmark(judge.read, BODY, []).is_read


@pytest.mark.benchmark(group="rules")
def test_ten_rules(benchmark: Any) -> None:
    """The last of eleven holds."""
    codes = ("de", "fr", "es", "it", "nl", "pl", "cs", "ru", "zh", "ja")
    rules = [[("language", 0.0, 0.0, [code], False), ("tokens", 10.0, 1e9, [], False)] for code in codes]
    judge = Judge(["language"], [*rules, []], None, None, None, [])
    signals = judge.read(BODY, [])

    assert benchmark(judge.first, signals) == 10


@pytest.mark.benchmark(group="a thousand routes")
def test_a_thousand_routes_of_five_utterances(benchmark: Any) -> None:
    """The nearest of a thousand."""
    rng = random.Random(2)
    starts, ends = ("ka", "lo", "mi", "ru", "te", "sa", "vo", "ne", "pi", "du"), ("ra", "li", "mo", "ku")
    names = [f"{a}{b}{c}" for a in starts for b in ends for c in "bdfgklmnprst"]
    routes = [[" ".join(rng.choices(WORDS + names, k=10)) for _ in range(5)] for _ in range(1000)]
    judge = Judge([], [], None, None, None, routes)

    assert benchmark(judge.read, BODY, []).nearest is not None
