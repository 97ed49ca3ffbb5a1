"""What a learned router reaches on splits that were never drawn before: `python -m benches.learned TABLE SEED... [--write FILE]`.

The table is MMLU-Pro with the scores of thirty models, as `dispatch train` takes it. For each seed its rows are shuffled by
`random.Random(seed)`, the first 70 % are learned from, the others measured: seven models, their prices in dollars per million tokens. The
seeds in `DRAWN` were drawn while features and settings were chosen, or to report an earlier version: they prove nothing any more, and are
refused.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import statistics
from pathlib import Path
from time import perf_counter

from dispatch.learn.measures import SWEEP, Point, aiq, hull
from dispatch.learn.table import Table, read
from dispatch.routing import LearnedRouter, priced_points

COSTS = {
    "gemini-1.5-pro-002": 1.25,
    "gemini-1.5-flash-002": 0.075,
    "Meta-Llama-3_1-70B-Instruct": 0.88,
    "Meta-Llama-3_1-8B-Instruct": 0.18,
    "mathstral-7B": 0.2,
    "Phi-3-mini-4k-instruct": 0.1,
    "Mixtral-8x7B-Instruct-v0.1": 0.6,
}
DRAWN = frozenset((11, 12, 13, 21, 41, 42, 43, 51, 52, *range(71, 79), *range(101, 109), *range(201, 209), *range(301, 309)))
PART = 0.7
RESAMPLES = 200


def main() -> None:
    """Draw, learn, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--write", type=Path, help="write the page there, too")
    arguments = parser.parse_args()
    if used := DRAWN & set(arguments.seeds):
        parser.error(f"drawn before: {sorted(used)}")
    table = read(arguments.table).only(tuple(COSTS))
    lines = ["| split (seed) | AIQ with kinds | cost that reaches the dearest | AIQ without kinds | cost | profile, no prompt | training |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    found: list[tuple[float, float, float, float]] = []
    for seed in arguments.seeds:
        numbers, line = measured(table, seed)
        found.append(numbers)
        lines.append(line)
        print(line, flush=True)
    columns = [*zip(*found, strict=True)]
    mean, reach, plain, plain_reach = (f"{statistics.fmean(column):.4f}" for column in columns)
    lines.append(f"| mean | {mean} | {reach} | {plain} | {plain_reach} | | |")
    if len(found) > 1:
        spread = statistics.stdev(columns[0])
        lines.append(f"\nStandard deviation of the AIQ over splits: {spread:.4f}.")
    page = "\n".join(lines)
    print(page)
    if arguments.write:
        arguments.write.write_text(f"{page}\n")


def measured(table: Table, seed: int) -> tuple[tuple[float, float, float, float], str]:
    """AIQ and the cost that reaches the dearest model's accuracy, with and without kinds; and a row of the page."""
    places = list(range(len(table.prompts)))
    random.Random(seed).shuffle(places)
    cut = int(PART * len(places))
    train, test = table.rows(places[:cut]), table.rows(places[cut:])
    began = perf_counter()
    with_kinds = LearnedRouter.train(train.models, train.prompts, train.scores, train.groups)
    took_s = perf_counter() - began
    without = LearnedRouter.train(train.models, train.prompts, train.scores, [])
    kinds = [with_kinds.scores(prompt) for prompt in test.prompts]
    plain = [without.scores(prompt) for prompt in test.prompts]
    means = [[statistics.fmean(row[at] for row in train.scores) for at in range(len(COSTS))]] * len(test.prompts)
    one, other, flat = points(kinds, test), points(plain, test), points(means, test)
    low, high = interval(kinds, test, seed)
    numbers = (area(one), reach(one, test), area(other), reach(other, test))
    shown = f"{numbers[0]:.4f} ({low:.3f}-{high:.3f}) | {numbers[1]:.1%} | {numbers[2]:.4f} | {numbers[3]:.1%}"
    return numbers, f"| {seed} | {shown} | {area(flat):.4f} | {took_s:.1f} s |"


def points(expected: list[list[float]], test: Table) -> list[Point]:
    """Cost and quality at each price."""
    return priced_points(expected, test.scores, list(COSTS.values()), SWEEP, 0, 0)[0]


def area(found: list[Point]) -> float:
    """AIQ."""
    return aiq(found, min(COSTS.values()), max(COSTS.values()))


def reach(found: list[Point], test: Table) -> float:
    """Share of the dearest model's cost at which its accuracy is reached; nan where it is not."""
    dearest = max(COSTS.values())
    wanted = statistics.fmean(row[list(COSTS.values()).index(dearest)] for row in test.scores)
    line = hull(found)
    for (cost, quality), (next_cost, next_quality) in itertools.pairwise(line):
        if next_quality >= wanted:
            part = max(0.0, wanted - quality) / (next_quality - quality)
            return (cost + part * (next_cost - cost)) / dearest
    return math.nan


def interval(expected: list[list[float]], test: Table, seed: int) -> tuple[float, float]:
    """The middle 95 % of AIQ over resampled prompts of one split."""
    _, *drawn = priced_points(expected, test.scores, list(COSTS.values()), SWEEP, RESAMPLES, seed)
    found = [area(drawn_points) for drawn_points in drawn]
    found.sort()
    return found[int(0.025 * RESAMPLES)], found[int(0.975 * RESAMPLES) - 1]


if __name__ == "__main__":
    main()
