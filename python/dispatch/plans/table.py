"""The kinds of plans that compose others, by their structs of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatch import config
from dispatch.plans import fallback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dispatch.plans.base import Plan, Site, Start

__all__ = ["KINDS"]

KINDS: Mapping[type, Callable[[Any, Sequence[Start], Site], Plan]] = {config.Fallback: fallback.build}
"""What makes a plan of its struct, of its parts (started plans, in the order of the struct's `parts`) and of where it stands."""
