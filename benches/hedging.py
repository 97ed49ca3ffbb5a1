"""What hedging does to the tail: the same traffic with and without it, in turns, through the library and over real sockets.

    python -m benches.hedging [REQUESTS]

Two simulated providers whose time to first token is lognormal with a heavy tail (median 30 ms, sigma 1). The first requests teach
the model its percentile and are not counted. Says nothing about our own speed, so a busy machine does not matter much.
"""

from __future__ import annotations

import asyncio
import sys
from statistics import median
from time import perf_counter
from typing import Any

from dispatch import Client
from dispatch.config import build
from dispatch.testing import MockProvider

__all__ = ["main"]

TEACHING = 200
AT_ONCE = 10
ROUNDS = 3
HEDGE = {"after": "p95", "max_share": 0.05, "max_cost_share": 0.05}


async def _first_tokens(config: dict[str, Any], requests: int) -> list[float]:
    """Times to first token, s, of requests sent by `AT_ONCE` clients."""
    taken: list[float] = []
    left = iter(range(TEACHING + requests))
    async with Client(build(config)) as client:

        async def ask() -> None:
            for number in left:
                start = perf_counter()
                first = 0.0
                async for delta in client.stream("m", "hi"):
                    first = first or (perf_counter() - start if delta.text else 0.0)
                assert first
                if number >= TEACHING:
                    taken.append(first)

        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return sorted(taken)


async def _run(requests: int) -> None:
    rows: dict[str, list[list[float]]] = {"without": [], "with": []}
    sent: dict[str, int] = {"without": 0, "with": 0}
    for turn in range(ROUNDS):
        for name, hedge in (("without", None), ("with", HEDGE)):
            slow: dict[str, Any] = {"first_token_s": "lognormal:0.03,1.0", "output_tokens": 2}
            async with MockProvider(scenario={"seed": turn}, **slow) as one, MockProvider(scenario={"seed": 100 + turn}, **slow) as two:
                urls = {"a": one.base_url, "b": two.base_url}
                endpoints = [{"name": at, "provider": "openai_compatible", "model": "x", "base_url": url} for at, url in urls.items()]
                rows[name].append(
                    await _first_tokens({"endpoints": endpoints, "models": {"m": {"endpoints": ["a", "b"], "hedge": hedge}}}, requests)
                )
                sent[name] += len(one.journal) + len(two.journal)
    for name, runs in rows.items():
        shown = {share: median(run[int(share * len(run))] for run in runs) * 1000 for share in (0.5, 0.95, 0.99, 0.999)}
        more = sent[name] / (ROUNDS * (requests + TEACHING)) - 1
        print(f"{name:8}", *(f"p{share * 100:g} {ms:6.1f} ms" for share, ms in shown.items()), f"+{more:.1%} requests upstream")


def main() -> None:
    """Run it, print a line for each."""
    asyncio.run(_run(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))


if __name__ == "__main__":
    main()
