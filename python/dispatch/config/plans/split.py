"""`split` and `shadow`: one plan for a share of the requests, and one that is asked besides, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from dispatch.config import plans
from dispatch.config.decode import decode, join, shown
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from dispatch.config.plans.builder import Builder

__all__ = ["Shadow", "ShadowForm", "Split", "SplitForm", "build_shadow", "build_split"]


class SplitForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A split as it is written."""

    arms: dict[str, Any]
    """Plans by name."""
    shares: dict[str, Annotated[float, Meta(ge=0)]]
    """The share of each, in any unit; 0 takes none, so that a rollback is one number."""
    sticky: bool = True
    """The same user, session or key always gets the same arm, as `hash_on` of a pool finds them, also after a restart. False: each
    request is drawn anew, as are requests that have none of these."""


class Split(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="split"):
    """One of several plans, by share."""

    parts: tuple[plans.Plan, ...]
    names: tuple[str, ...]
    shares: tuple[float, ...]
    sticky: bool

    def is_end(self, place: int) -> bool:
        """Nothing is asked after the arm."""
        return place >= 0


class ShadowForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A shadow as it is written."""

    plan: Any
    """Answers the client."""
    mirror: Any
    """Is asked the same; its answer, also a streamed one, is compared, noted in the decision's record and thrown away."""
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Of the requests that are mirrored."""


class Shadow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="shadow"):
    """A plan, and one that is asked the same without anybody waiting for it."""

    parts: tuple[plans.Plan, ...]
    share: float

    def is_end(self, place: int) -> bool:
        """Nothing is asked after either."""
        return place >= 0


def build_split(builder: Builder, form: object, path: str) -> Split:
    """Build a split. Raises `ConfigError`."""
    given = decode(form, SplitForm, path)
    for name in given.shares:
        if name not in given.arms:
            raise ConfigError(join(f"{path}.shares", name), "is no arm")
    for name in given.arms:
        if name not in given.shares:
            raise ConfigError(f"{path}.shares", f"says nothing of {shown(name)}")
    if not sum(given.shares.values()):
        raise ConfigError(f"{path}.shares", "are all 0: no request has anywhere to go")
    return Split(
        parts=tuple(builder.plan(arm, join(f"{path}.arms", name)) for name, arm in given.arms.items()),
        names=tuple(given.arms),
        shares=tuple(given.shares[name] for name in given.arms),
        sticky=given.sticky,
    )


def build_shadow(builder: Builder, form: object, path: str) -> Shadow:
    """Build a shadow. Raises `ConfigError`."""
    given = decode(form, ShadowForm, path)
    parts = (builder.plan(given.plan, f"{path}.plan"), builder.plan(given.mirror, f"{path}.mirror"))
    return Shadow(parts=parts, share=given.share)
