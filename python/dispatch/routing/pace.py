"""How fast a model answers, from the board."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from dispatch.clock import NS_PER_S
from dispatch.config import pools

if TYPE_CHECKING:
    from dispatch._core import Board
    from dispatch.config import Config
    from dispatch.routing import Slots

__all__ = ["pace"]


def pace(board: Board, slots: Slots, config: Config, model: str) -> tuple[int, float]:
    """Return how many requests of a model are in flight, and how long a whole answer took on average so far, s; 0 before the first."""
    endpoints = dict.fromkeys(chain.from_iterable(pool.endpoints for pool in pools(config.models[model].plan)))
    durations = [board.pair(slots.pairs[f"{model} {endpoint}"]).duration for endpoint in endpoints]
    answers = sum(sum(duration.counts) for duration in durations)
    mean_s = sum(duration.sum_ns for duration in durations) / NS_PER_S / answers if answers else 0.0
    return board.model(slots.models[model]).in_flight, mean_s
