"""How a route chooses: pure functions of signals and of what was read of the board, so that a recorded choice can be made again."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dispatch.decisions import AWAY, Candidate
from dispatch.errors import BadRequest
from dispatch.routing import Weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dispatch.config import Route
    from dispatch.routing import Judge, Signals

__all__ = ["Choice", "Weighed", "by_class", "by_profile", "by_rules", "by_similarity", "preferences"]

Choice = tuple[int, str, list[Candidate] | list[float]]
"""The part, why, and what else was looked at: of a learned route what each candidate is worth. -1: the default."""

_RULES = tuple(f"rules[{at}]" for at in range(64))
"""What a rule is called, made once."""

EVEN = 0.5
"""What a candidate is worth on an axis of which nothing is known; also the part of a measurement beside a profile."""


def by_rules(config: Route, judge: Judge, signals: Signals, board: Mapping[str, Any]) -> Choice:
    """The first rule that holds."""
    del board
    at = judge.first(signals)
    if at < 0:
        return -1, "no rule holds", []
    return config.places[at], _RULES[at] if at < len(_RULES) else f"rules[{at}]", []


def by_class(config: Route, signals: Signals, board: Mapping[str, Any]) -> Choice:
    """The plan of the likeliest class."""
    del board
    if signals.topic is None:
        return -1, "no text", []
    at, score = signals.topic
    label = config.labels[at]
    seen = [Candidate(label, score)]
    if score < config.threshold:
        return -1, f"class {label} is too unlikely", seen
    place = config.places[at]
    return place, f"class {label}" if place >= 0 else f"class {label} has no plan", seen


def by_similarity(config: Route, signals: Signals, board: Mapping[str, Any]) -> Choice:
    """The plan of the most similar utterance; `board`: whether vectors found it where a model gives them, or why not."""
    threshold = config.embedder.threshold if config.embedder is not None and "embedded" in board else config.threshold
    if signals.nearest is None:
        return -1, "nothing is similar", []
    at, similarity = signals.nearest
    label = config.labels[at]
    seen = [Candidate(label, similarity)]
    if similarity < threshold:
        return -1, f"route {label} is not similar enough", seen
    return config.places[at], f"route {label}", seen


def preferences(config: Route, declared: Mapping[str, str]) -> dict[str, float]:
    """The weights of axes: what the client prefers, else the route, else all alike.

    Raises:
        BadRequest: the client names an axis that no candidate has, or a weight that is none.
    """
    said = declared.get("prefer", "").strip()
    if not said:
        return config.prefer or dict.fromkeys(config.axes, 1.0)
    weights = {}
    for part in said.split(","):
        axis, _, weight = part.strip().partition("=")
        axis = axis.strip()
        if axis not in config.axes:
            known = ", ".join(config.axes)
            raise BadRequest(
                f"x-dispatch-prefer: there is no {axis[:50]!r}, only {known}", code="invalid_header", param="x-dispatch-prefer"
            )
        weights[axis] = _weight(weight.strip() or "1")
    return weights


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= 1000:
        raise BadRequest(f"x-dispatch-prefer: {text[:50]!r} is no weight from 0 to 1000", code="invalid_header", param="x-dispatch-prefer")
    return weight


def by_profile(config: Route, signals: Signals, board: Mapping[str, Any]) -> Choice:
    """The candidate with the best mean over the axes that count, among those that are there. Raises `BadRequest`."""
    # The first of a name counts: a header field stands before metadata.
    weights = preferences(config, dict(reversed(signals.declared)))
    facts: list[dict[str, Any]] = board["candidates"]
    whole = sum(weights.values()) or 1.0
    scores = [sum(weight * _worth(config, facts, at, axis) for axis, weight in weights.items()) / whole for at in range(len(config.labels))]
    why = "best for " + ", ".join(f"{axis} {weight:g}" for axis, weight in weights.items() if weight)
    return _best(config, facts, scores, why)


class Weighed:
    """Candidates of a learned route: the one with the most expected quality, less its cost at the present price.

    Args:
        config: the route.
        rows: of each candidate, its place in the router.
    """

    __slots__ = ("_facts", "_is_there", "_places", "_weigh")

    def __init__(self, config: Route, rows: Sequence[int]) -> None:
        self._places = config.places
        self._weigh = Weights(rows, config.costs).weigh
        self._facts: list[dict[str, Any]] = []
        self._is_there: list[bool] = []

    def choose(self, signals: Signals, board: Mapping[str, Any]) -> tuple[int, str, list[float]]:
        """The best candidate; what each is worth."""
        facts, price = board["candidates"], board["price"]
        if facts is not self._facts:
            # The same list for a second of requests.
            self._facts, self._is_there = facts, [fact["is_there"] for fact in facts]
        found = self._weigh(signals, price, board["bias"], self._is_there)
        if found is None:
            return -1, "no text", []
        return self._places[found[0]], _at_price(price), found[1]


@lru_cache(maxsize=16)
def _at_price(price: float) -> str:
    return f"most quality at price {price:.4g}"


def _best(config: Route, facts: list[dict[str, Any]], scores: list[float], why: str) -> Choice:
    there = [at for at, fact in enumerate(facts) if fact["is_there"]]
    seen = [
        Candidate(label, score, "" if at in there or not there else AWAY)
        for at, (label, score) in enumerate(zip(config.labels, scores, strict=True))
    ]
    # Where none is there, one is asked all the same: its pool knows best when to try again.
    best = max(there or range(len(scores)), key=lambda at: (scores[at], -at))
    return config.places[best], why, seen


def _worth(config: Route, facts: list[dict[str, Any]], at: int, axis: str) -> float:
    """What a candidate is worth on an axis, from 0 to 1: by its profile, refined by what was measured."""
    given = config.profiles[at].get(axis)
    measured = _measured(config, facts, at, axis)
    if given is None:
        return EVEN if measured is None else measured
    return given if measured is None or axis == "cost" else given + EVEN * (measured - given)


def _measured(config: Route, facts: list[dict[str, Any]], at: int, axis: str) -> float | None:
    if axis == "cost":
        most = max(config.costs)
        return 1.0 - config.costs[at] / most if most else None
    if axis == "reliability":
        return 1.0 - float(facts[at]["errors"])
    if axis != "speed" or facts[at]["latency_s"] is None:
        return None
    fastest = min(fact["latency_s"] for fact in facts if fact["latency_s"] is not None)
    latency = float(facts[at]["latency_s"])
    return fastest / latency if latency else 1.0
