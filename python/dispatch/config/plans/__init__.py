"""What a model does with a request: pools, and the plans that compose them, as data.

A model is written as one name, a bare pool, or a mapping with one plan kind as its key:

    chat: gpt4o-east
    chat: {strategy: least_work, endpoints: [gpt4o-east, gpt4o-west]}
    chat: {fallback: [gpt4o-east, {endpoints: [phi-a, phi-b]}, other-model], deadline_s: 60}

To add a kind `vote`: a module here with its struct (tagged by the kind; `parts` are the plans in it, left to right, `is_end(place)` says
whether nothing is asked after that part has failed) and `build(builder, form, path)`; a member of `Composite` below; a line in
`builder.KINDS`; and a module `dispatch.plans.vote` with `build(plan, parts, site)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.config.plans.asking import Budget
from dispatch.config.plans.cascade import Cascade
from dispatch.config.plans.chain import Chain
from dispatch.config.plans.ensemble import Ensemble
from dispatch.config.plans.fallback import Fallback
from dispatch.config.plans.fanout import Fanout
from dispatch.config.plans.modifiers import NOISE, Affinity, Sticky, margin
from dispatch.config.plans.pool import ALIASES, CHOICES, HASH_SOURCES, HASHED, PREFERENCES, STRATEGIES, Pool
from dispatch.config.plans.retrieve import Retrieve
from dispatch.config.plans.route import Route
from dispatch.config.plans.schedule import Offline, Schedule
from dispatch.config.plans.split import Shadow, Split

if TYPE_CHECKING:
    from collections.abc import Iterator

Composite = Cascade | Chain | Ensemble | Fallback | Fanout | Offline | Retrieve | Route | Schedule | Shadow | Split
Plan = Pool | Composite

# The builder's table holds every kind, and the kinds' structs name `Plan`.
from dispatch.config.plans.builder import KINDS, Builder, Model, build_models  # noqa: E402

__all__ = [
    "ALIASES",
    "CHOICES",
    "HASHED",
    "HASH_SOURCES",
    "KINDS",
    "NOISE",
    "PREFERENCES",
    "STRATEGIES",
    "Affinity",
    "Budget",
    "Builder",
    "Cascade",
    "Chain",
    "Composite",
    "Ensemble",
    "Fallback",
    "Fanout",
    "Model",
    "Offline",
    "Plan",
    "Pool",
    "Retrieve",
    "Route",
    "Schedule",
    "Shadow",
    "Split",
    "Sticky",
    "budgets",
    "build_models",
    "margin",
    "pools",
]


def pools(plan: Plan) -> Iterator[Pool]:
    """Yield the pools of a plan, left to right."""
    if isinstance(plan, Pool):
        yield plan
        return
    for part in plan.parts:
        yield from pools(part)


def budgets(plan: Plan, path: str = "") -> Iterator[str]:
    """Yield the places of routes with a budget, as a trace names them: such as `fallback[1].route`."""
    if isinstance(plan, Pool):
        return
    here = f"{path}.{plan.__struct_config__.tag}".removeprefix(".")
    if isinstance(plan, Route) and plan.budget is not None:
        yield here
    for place, part in enumerate(plan.parts):
        yield from budgets(part, f"{here}[{place}]")
