"""Train the router by which prompts are told easy from hard: `python -m benches.difficulty FOLDER`.

The folder holds tables of prompts with the scores of many models, as `dispatch train` takes them: MMLU-Pro (Apache-2.0), LLMRouter's
training data (MIT), ZeroEval's MATH and CRUX (Apache-2.0). What is learned is the mean score of all models: one pair's difference is
mostly noise, difficulty averaged over many is not. Of each table every tenth prompt is left out and measured.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dispatch.learn.table import read
from dispatch.routing import LearnedRouter

OUT = Path("python/dispatch/routing/difficulty.bin")
MOST_OF_ONE = 6000
"""Prompts taken from one table, so that none drowns the others."""


def main() -> None:
    """Train, measure, write."""
    prompts: list[str] = []
    scores: list[list[float]] = []
    held_out: dict[str, list[tuple[str, float]]] = {}
    for path in sorted(Path(sys.argv[1]).glob("*.jsonl.gz")):
        table = read(path)
        rows = [(prompt, sum(row) / len(row)) for prompt, row in zip(table.prompts, table.scores, strict=True)]
        held_out[path.name] = rows[::10]
        kept = [row for at, row in enumerate(rows) if at % 10][:MOST_OF_ONE]
        prompts += [prompt for prompt, _ in kept]
        scores += [[score, score] for _, score in kept]
    # A router tells models apart; two that are alike leave it nothing but what they share.
    router = LearnedRouter.train(["one", "other"], prompts, scores, [])
    artefact = router.encode()
    OUT.write_bytes(artefact)
    print(f"{OUT}: {len(prompts):,} prompts, {len(artefact):,} bytes")
    for name, rows in held_out.items():
        pairs = [(router.scores(prompt)[0], score) for prompt, score in rows]
        print(f"{name}: correlation {_correlation(pairs):.3f} on {len(rows)} prompts left out")


def _correlation(pairs: list[tuple[float, float]]) -> float:
    count = len(pairs)
    mean_a, mean_b = (sum(pair[at] for pair in pairs) / count for at in (0, 1))
    cross = sum((a - mean_a) * (b - mean_b) for a, b in pairs)
    spread = sum((a - mean_a) ** 2 for a, _ in pairs) * sum((b - mean_b) ** 2 for _, b in pairs)
    return float(cross / spread**0.5)


if __name__ == "__main__":
    main()
