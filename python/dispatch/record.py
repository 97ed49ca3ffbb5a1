"""The record of a request: why it went where it went, and what that took."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

__all__ = ["AWAY", "Candidate", "Decision", "Step", "Try"]

AWAY = "its breakers are open"
"""Why a candidate is passed over that has no endpoint with a closed breaker."""


class Candidate(Struct, omit_defaults=True):
    """A part that might have been chosen."""

    name: str
    score: float | None = None
    filtered: str = ""
    """Why it was not looked at; empty: it was."""


class Step(Struct, omit_defaults=True):
    """What one composite plan decided or did."""

    path: str
    """Its place in the model's plan, such as `fallback[1].route`."""
    kind: str
    by: str = ""
    chosen: str = ""
    why: str = ""
    seed: int = 0
    """The draw, where chance took part."""
    signals: Any = None
    """`_core.Signals` while it stands in the ring, their facts in what is shown."""
    board: dict[str, Any] = {}
    """What was read of the world: latencies, errors, prices, times."""
    candidates: list[Candidate] = []
    worth: list[float] = []
    """Of a learned route, what each of `names` was worth: `candidates` in what is shown."""
    details: dict[str, Any] = {}
    """What else a kind has to say, such as its branches."""
    trail: Any = None
    """Of a pool, `_core.Trail` while it stands in the ring, what it read in what is shown."""
    names: tuple[str, ...] = ()
    """The endpoints of a pool, by position, or those that `worth` is of."""

    def weighed(self) -> list[Candidate]:
        """The candidates, also where only their worth was kept."""
        there = [fact["is_there"] for fact in self.board.get("candidates", ())] if self.worth else []
        nobody = not any(there)
        made = zip(self.names, self.worth, there, strict=True) if self.worth else ()
        return [Candidate(name, worth, "" if is_there or nobody else AWAY) for name, worth, is_there in made] or self.candidates


class Try(Struct, omit_defaults=True):
    """One attempt."""

    endpoint: str
    failure: str
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    micro_dollars: int = 0
    duration_ms: float = 0.0
    is_branch: bool = False


class Decision(Struct, omit_defaults=True):
    """All about one request."""

    id: str
    time: datetime
    made_ns: int
    """When, on the monotonic clock."""
    request: str
    """Its `x-request-id`."""
    model: str
    key: str = ""
    steps: list[Step] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)
    endpoint: str = ""
    outcome: str = "under_way"
    error: str = ""
    micro_dollars: int = 0
    """Of all tries together."""
    duration_ms: float = 0.0
    overhead_ms: float = 0.0
    """Of that, our own."""
    feedback: list[float] = field(default_factory=list)
