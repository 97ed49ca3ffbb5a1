"""A cascade by disagreement on MMLU-Pro, with the answers that models really gave: `python -m benches.cascade FOLDER [--report FILE]`.

`FOLDER` is `eval_results` of https://github.com/TIGER-AI-Lab/MMLU-Pro (Apache-2.0), which holds each model's whole answer to each question.
The models are programs that say what was recorded, and the plan is the one that `dispatch serve` runs:

    cascade: {steps: [[flash, llama], pro], escalate_if: {compare: choice}}

Two cheap models are asked; where the letters that they chose differ, or one chose none, a dear one is asked, and its answer is taken.
Which letters are the same is told by our own reading of the answers (`compare: choice`); whether the delivered answer is right, by the
benchmark's (`pred`), and no letter is wrong, where the benchmark would throw a die. Nothing is trained, so there is no split; the 95 %
interval is of 1,000 bootstraps with a fixed seed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from dispatch.client import Client
from dispatch.config import build
from dispatch.providers.function import Ask, Fault

MODELS = {"flash": "gemini-1.5-flash-002", "llama": "Meta-Llama-3_1-70B-Instruct", "pro": "gemini-1.5-pro-002"}
PRICES = {"flash": (0.075, 0.30), "llama": (0.88, 0.88), "pro": (1.25, 5.00)}
"""Dollars per million tokens: Google's list of October 2024 for prompts up to 128k, Together's for Llama 3.1 70B Turbo."""
SHOTS_TOKENS = 1_300
"""Of the five worked examples before each question, which the recordings leave out: by the benchmark's own prompts, 5 KiB."""
BYTES_PER_TOKEN = 4
LEAST_ACCURACY, MOST_STRONG = 0.715, 0.40
AT_ONCE = 64

TOLD: dict[str, dict[str, str]] = {}
"""What each model said to each prompt."""


class Question(NamedTuple):
    """One question, and what each model chose."""

    prompt: str
    answer: str
    chosen: dict[str, str | None]


class Outcome(NamedTuple):
    """What became of one question."""

    is_right: bool
    is_strong: bool
    dollars: float


async def say(ask: Ask) -> str:
    """Answer as recorded."""
    said = TOLD[ask.model].get(ask.text)
    if not said:
        raise Fault(503, "nothing was recorded")
    return said


def read(folder: Path) -> list[Question]:
    """The questions that all three models were asked, in the order of their ids."""
    rows: dict[str, dict[int, dict[str, Any]]] = {}
    for name, file in MODELS.items():
        with zipfile.ZipFile(folder / f"model_outputs_{file}_5shots.zip") as archive:
            inside = next(one for one in archive.namelist() if one.endswith(".json") and not one.startswith("__MACOSX"))
            rows[name] = {int(row["question_id"]): row for row in json.loads(archive.read(inside))}
    found = []
    for place in sorted(set.intersection(*(set(one) for one in rows.values()))):
        row = rows["pro"][place]
        options = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCDEFGHIJ", row["options"], strict=False))
        prompt = f"[{place}] {row['question']}\n{options}"
        for name, table in rows.items():
            one = table[place]
            TOLD.setdefault(name, {})[prompt] = one.get("model_outputs") or one.get("generated_text") or ""
        found.append(Question(prompt, row["answer"], {name: table[place]["pred"] for name, table in rows.items()}))
    return found


def config() -> dict[str, Any]:
    """The plan, and programs as its models."""
    names = [*MODELS]
    program = {"provider": "function", "options": {"handler": "benches.cascade:say", "concurrency": AT_ONCE}}
    return {
        "endpoints": [{"name": name, "model": name, **program} for name in names],
        "models": {"m": {"cascade": {"steps": [["flash", "llama"], "pro"], "escalate_if": {"compare": "choice"}}}},
    }


def cost(question: Question, name: str) -> float:
    """Dollars of one call, tokens by estimate."""
    reads = SHOTS_TOKENS + len(question.prompt.encode()) / BYTES_PER_TOKEN
    writes = len(TOLD[name][question.prompt].encode()) / BYTES_PER_TOKEN
    return (reads * PRICES[name][0] + writes * PRICES[name][1]) / 1e6


async def played(questions: list[Question]) -> list[Outcome]:
    """Ask the plan every question."""
    gate = asyncio.Semaphore(AT_ONCE)
    async with Client(build(config(), {})) as client:

        async def one(question: Question) -> Outcome:
            async with gate:
                reply = await client.chat("m", question.prompt)
            is_strong = reply.endpoint == "pro" or reply.attempts > 2
            dollars = sum(cost(question, name) for name in MODELS if name != "pro" or is_strong)
            return Outcome(question.chosen[reply.endpoint] == question.answer, is_strong, dollars)

        return await asyncio.gather(*map(one, questions))


def interval(values: list[float]) -> tuple[float, float]:
    """95 % of the means of 1,000 bootstraps."""
    draw = random.Random(1)
    means = sorted(sum(draw.choices(values, k=len(values))) / len(values) for _ in range(1000))
    return means[25], means[974]


def report(questions: list[Question], outcomes: list[Outcome]) -> str:
    """The table, with what each model and chance come to."""
    count = len(questions)
    share = sum(one.is_strong for one in outcomes) / count
    right = {name: [float(one.chosen[name] == one.answer) for one in questions] for name in MODELS}
    dollars = {name: sum(cost(one, name) for one in questions) for name in MODELS}
    rows = [(f"always {name}", right[name], float(name == "pro"), dollars[name]) for name in MODELS]
    # As many strong calls, but drawn; the expectation, not one draw.
    at_random = [share * strong + (1 - share) * weak for strong, weak in zip(right["pro"], right["flash"], strict=True)]
    rows.append(("as many calls at random, flash else", at_random, share, share * dollars["pro"] + (1 - share) * dollars["flash"]))
    rows.append(("**cascade by disagreement**", [float(one.is_right) for one in outcomes], share, sum(one.dollars for one in outcomes)))
    best = [max(right[name][at] for name in MODELS) for at in range(count)]
    rows.append(("oracle: any of the three", best, 0.0, 0.0))
    lines = ["| | accuracy | 95 % | strong calls | dollars per 1,000 |", "| --- | --- | --- | --- | --- |"]
    for name, values, strong, spent in rows:
        low, high = interval(values)
        money = f"{1000 * spent / count:.2f}" if spent else ""
        lines.append(f"| {name} | {sum(values) / count:.4f} | {low:.4f} to {high:.4f} | {strong:.1%} | {money} |")
    return "\n".join(lines) + "\n\n" + _break_even(questions, outcomes, dollars) + "\n"


def _break_even(questions: list[Question], outcomes: list[Outcome], dollars: dict[str, float]) -> str:
    """The price of the dearer helper below which the cascade saves money."""
    without = sum(one.dollars for one in outcomes) - dollars["llama"]
    price = PRICES["llama"][0] * (dollars["pro"] - without) / dollars["llama"]
    return (
        f"{len(questions):,} calls of llama cost more than they save unless a million of its tokens costs less than ${price:.2f}; "
        f"here it is ${PRICES['llama'][0]:.2f}."
    )


def main() -> int:
    """Measure, print, and fail below the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--report", type=Path, help="where the table goes as well")
    arguments = parser.parse_args()
    questions = read(arguments.folder)
    outcomes = asyncio.run(played(questions))
    table = f"{len(questions):,} questions\n\n{report(questions, outcomes)}"
    print(table)
    if arguments.report:
        arguments.report.write_text(table)
    accuracy = sum(one.is_right for one in outcomes) / len(outcomes)
    share = sum(one.is_strong for one in outcomes) / len(outcomes)
    return 0 if accuracy >= LEAST_ACCURACY and share <= MOST_STRONG else 1


if __name__ == "__main__":
    # By its own name, by which the handlers are found: `__main__` would be another module with tables of its own.
    raise SystemExit(import_module("benches.cascade").main())
