"""What feedback and a budget have taught the routes of this worker: metrics beside the board, since each learns by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dispatch.telemetry.families import Metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dispatch.telemetry.families import Samples

__all__ = ["TAUGHT", "Taught"]

_ONLY = "a route learns"


class Taught(Protocol):
    """A route that feedback and a budget teach."""

    @property
    def taught(self) -> tuple[dict[str, float], dict[str, float], float] | None:
        """Drift and weight of the feedback by candidate, and the price of cost; None for a route that is not taught."""


def _states(routes: Mapping[str, Taught]) -> Iterator[tuple[str, str, tuple[dict[str, float], dict[str, float], float]]]:
    for name, route in routes.items():
        if (state := route.taught) is not None:
            model, _, path = name.partition(" ")
            yield model, path, state


def _drift(routes: Mapping[str, Taught]) -> Samples:
    return (((model, path, one), value) for model, path, state in _states(routes) for one, value in state[0].items())


def _feedback(routes: Mapping[str, Taught]) -> Samples:
    return (((model, path, one), value) for model, path, state in _states(routes) for one, value in state[1].items())


def _price(routes: Mapping[str, Taught]) -> Samples:
    return (((model, path), state[2]) for model, path, state in _states(routes))


TAUGHT = (
    Metric(
        name="dispatch_route_drift",
        kind="gauge",
        labels=("model", "route", "candidate"),
        unit="quality",
        about="How far observed scores lie above what the router expects, by feedback to this worker.",
        read=_drift,
        only=_ONLY,
    ),
    Metric(
        name="dispatch_route_feedback",
        kind="gauge",
        labels=("model", "route", "candidate"),
        unit="scores",
        about="Weight of that feedback; old scores fade.",
        read=_feedback,
        only=_ONLY,
    ),
    Metric(
        name="dispatch_route_price",
        kind="gauge",
        labels=("model", "route"),
        unit="quality",
        about="What the cost of the dearest candidate counts for, in quality; where a budget moves it, one for all workers.",
        read=_price,
        only=_ONLY,
    ),
)
"""Their source is the routes of a generation, by model and path."""
