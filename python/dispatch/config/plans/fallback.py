"""`fallback`: plans in order, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.config import plans
from dispatch.config.decode import shown
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from dispatch.config.plans.builder import Builder

__all__ = ["Fallback", "build"]


class Fallback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="fallback"):
    """Plans in order: the next one is asked when the one before has no answer."""

    steps: tuple[plans.Plan, ...]

    @property
    def parts(self) -> tuple[plans.Plan, ...]:
        """The steps."""
        return self.steps

    def is_end(self, place: int) -> bool:
        """Whether nothing is asked after that step."""
        return place == len(self.steps) - 1


def build(builder: Builder, form: object, path: str) -> Fallback:
    """Build the steps. Raises `ConfigError`."""
    if not isinstance(form, list) or not form:
        raise ConfigError(path, f"found {shown(form)}, expected a list of at least one plan")
    return Fallback(steps=tuple(builder.plan(step, f"{path}[{place}]") for place, step in enumerate(form)))
