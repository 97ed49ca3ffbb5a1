"""What plans over several models have in common, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from dispatch.config.decode import decode, join, nearest, shown
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.config import plans
    from dispatch.config.plans.builder import Builder

__all__ = ["Budget", "Compare", "budget_of", "check_keys", "plans_of"]

Compare = Literal["text", "choice", "number", "line", "json"]
"""What of two answers is compared: all of the text, letter case, blanks and marks aside; the letter of a choice; the last number; the last
line; JSON, field by field. Calls of tools are always compared as calls."""


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan may spend on one request, with the plans inside it.

    It is looked at before each call, and at most one call goes beyond it: what may cost too much beside those under way waits for them.
    """

    dollars: Annotated[float, Meta(gt=0)] | None = None
    """By the prices of the endpoints, which must be known (`price: {}`: nothing)."""
    tokens: Annotated[int, Meta(gt=0)] | None = None
    """Read and written."""
    seconds: Annotated[float, Meta(gt=0)] | None = None
    """For calls whose answers are waited for; an answer that streams to the client has the request's own deadline."""


def check_keys(form: object, known: Iterable[str], path: str) -> dict[str, Any]:
    """Return `form` if it is a mapping with known keys. Raises `ConfigError`."""
    if not isinstance(form, dict):
        raise ConfigError(path, f"found {shown(form)}, expected a mapping")
    names = [*known]
    for key in form:
        if key not in names:
            raise ConfigError(join(path, str(key)), f"unknown key{nearest(str(key), names)}")
    return form


def budget_of(form: dict[str, Any], path: str) -> Budget | None:
    """Read the key `budget`. Raises `ConfigError`."""
    if "budget" not in form:
        return None
    budget = decode(form["budget"], Budget, join(path, "budget"))
    if budget == Budget():
        raise ConfigError(join(path, "budget"), "found nothing that is limited, expected dollars, tokens or seconds")
    return budget


def plans_of(builder: Builder, form: dict[str, Any], key: str, path: str, least: int = 1) -> tuple[plans.Plan, ...]:
    """Build the list of plans under `key`. Raises `ConfigError`."""
    found, here = form.get(key), join(path, key)
    if not isinstance(found, list) or len(found) < least:
        expected = "a list of at least one plan" if least == 1 else f"a list of at least {least} plans"
        raise ConfigError(here, f"found {shown(found)}, expected {expected}")
    return tuple(builder.plan(one, f"{here}[{place}]") for place, one in enumerate(found))
