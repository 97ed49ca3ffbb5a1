"""What is done with decisions: shown, made again, foreseen, learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.routing import Signals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.decisions import Decision, Step
    from dispatch.plans.route import Route

__all__ = ["explain", "learn", "shown"]


def shown(decision: Decision, routes: Mapping[str, Route]) -> dict[str, Any]:
    """A decision as data, each step of a route made again: `replayed` says whether the same came out, to the last bit.

    A route that a reload has changed since is not made again: `replayed` is null.
    """
    tree: dict[str, Any] = msgspec.to_builtins(decision, enc_hook=_facts)
    for step, told in zip(decision.steps, tree.get("steps", []), strict=True):
        if step.kind == "route":
            route = routes.get(f"{decision.model} {step.path}")
            recorded = msgspec.structs.replace(step, signals=told["signals"])
            told["replayed"] = None if route is None or route.made_ns > decision.made_ns else route.replay(recorded)
    return tree


def explain(routes: Mapping[str, Route], model: str, body: bytes, declared: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """What the routes of a model would choose for a body, from the outermost inwards along what is chosen. Raises `BadRequest`."""
    steps: list[Step] = []
    closed: list[str] = []
    for name in sorted((name for name in routes if name.startswith(f"{model} ")), key=len):
        if any(name.startswith(other) for other in closed):
            continue
        route = routes[name]
        step = route.explain(body, declared)
        steps.append(step)
        chosen = route.config.names.index(step.chosen)
        closed += [f"{name}[{place}]." for place in range(len(route.config.parts)) if place != chosen]
    built: list[dict[str, Any]] = msgspec.to_builtins(steps, enc_hook=_facts)
    return built


def learn(decision: Decision, score: float, routes: Mapping[str, Route]) -> None:
    """Take in how good the answer of a decision was, from 0 to 1."""
    decision.feedback.append(score)
    for step in decision.steps:
        route = routes.get(f"{decision.model} {step.path}")
        if route is not None and route.learning is not None and step.kind == "route":
            route.learning.learn(step, score)


def _facts(value: object) -> object:
    if isinstance(value, Signals):
        return value.facts
    raise NotImplementedError(f"no decision holds a {type(value).__name__}")
