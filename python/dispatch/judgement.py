"""What is done with decisions: shown, made again, foreseen, learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.routing import Signals, Trail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dispatch.decisions import Decision, Step
    from dispatch.plans.base import Replayed
    from dispatch.plans.route import Route

__all__ = ["explain", "learn", "shown"]

REPLAYED = frozenset(("route", "split", "schedule", "shadow"))
"""Kinds whose choice is a function of its record."""


def shown(decision: Decision, plans: Mapping[str, Replayed]) -> dict[str, Any]:
    """A decision as data, each choice made again: `replayed` says whether the same came out, to the last bit.

    A plan that a reload has changed since is not made again: `replayed` is null. A pool's choice is, by what was kept of it.
    """
    tree: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(decision, steps=_whole(decision.steps)), enc_hook=_facts)
    for step, told in zip(decision.steps, tree.get("steps", []), strict=True):
        if isinstance(step.trail, Trail):
            told.update(_told(step, step.trail))
        elif step.kind in REPLAYED:
            plan = plans.get(f"{decision.model} {step.path}")
            recorded = msgspec.structs.replace(step, signals=told.get("signals"))
            told["replayed"] = None if plan is None or plan.made_ns > decision.made_ns else plan.replay(recorded)
    return tree


def _told(step: Step, trail: Trail) -> dict[str, Any]:
    """A pool's choice: who was held back by what, what was read of each, and whether it comes out the same again."""
    names = step.names
    held = dict(trail.held)
    picks = []
    looked_at: set[str] = set()
    for pick in trail.picks or ():
        chosen, home = pick["chosen"], pick["home"]
        seen = {names[at]: facts for at, facts in pick["seen"].items()}
        looked_at.update(seen)
        found: dict[str, Any] = {"chosen": None if chosen is None else names[chosen], "taken": pick["taken"], "seen": seen}
        if home is not None:
            found["home"] = {"endpoint": names[home[0]], "tokens": home[1], "age_s": home[2]}
        if pick["turns"]:
            found["turns"] = pick["turns"]
        picks.append(found)
    found = {"trail": picks, "candidates": [], "names": [*names], "replayed": trail.replays()}
    if trail.picks is None:
        found["why"] = step.why or "more was read than is kept of it: `decisions: true` keeps more"
    for at, name in enumerate(names):
        filtered = held.get(at) or ("" if name in looked_at or trail.picks is None else "not looked at")
        found["candidates"].append({"name": name} | ({"filtered": filtered} if filtered else {}))
    return found


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
    built: list[dict[str, Any]] = msgspec.to_builtins(_whole(steps), enc_hook=_facts)
    return built


def _whole(steps: Sequence[Step]) -> list[Step]:
    """Steps with their candidates, where only what these are worth was kept."""
    made = msgspec.structs.replace
    return [made(step, candidates=step.weighed(), worth=[], names=()) if step.worth else step for step in steps]


def learn(decision: Decision, score: float, routes: Mapping[str, Route]) -> None:
    """Take in how good the answer of a decision was, from 0 to 1."""
    for step in decision.steps:
        route = routes.get(f"{decision.model} {step.path}")
        if route is not None and route.learning is not None and step.kind == "route":
            route.learning.learn(step, score)


def _facts(value: object) -> object:
    if isinstance(value, Signals):
        return value.facts
    if isinstance(value, Trail):
        return None
    raise NotImplementedError(f"no decision holds a {type(value).__name__}")
