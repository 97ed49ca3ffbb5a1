"""The kinds of plans that compose others: the module of a kind has its name, and is imported when a model has such a plan."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config.plans import Composite
    from dispatch.plans.base import Plan, Site, Start

__all__ = ["make"]


def make(plan: Composite, parts: Sequence[Start], site: Site) -> Plan:
    """Make a plan.

    Args:
        plan: as data.
        parts: started plans, in the order of `plan.parts`.
        site: where it stands.

    Raises:
        ConfigError: what it names cannot be loaded.
    """
    made: Plan = import_module(f"dispatch.plans.{plan.__struct_config__.tag}").build(plan, parts, site)
    return made
