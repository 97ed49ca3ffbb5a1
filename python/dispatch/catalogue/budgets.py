"""Budgets in dollars, against what is known of prices.

What an endpoint without a price costs is not known, so a budget would never notice it. A server of one's own is the exception: it has no
price list (`catalogue`). `price: {}` of an endpoint says that it costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatch import extensions
from dispatch.catalogue import OWN
from dispatch.config import pools
from dispatch.config.checks import PROVIDERS
from dispatch.config.plans import Fallback, Offline, Pool, Route, Schedule, Shadow, Split
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dispatch.config import Config, Endpoint
    from dispatch.config.plans import Plan

__all__ = ["check_budgets"]

_WITHOUT = Fallback, Offline, Schedule, Shadow, Split
"""Plans that have no budget."""


def check_budgets(config: Config) -> None:
    """Refuse budgets in dollars that cannot be kept.

    Args:
        config: with the prices of the catalogue.

    Raises:
        ConfigError: the first one. Its path names plans inside others by place, as a trace does: `models.m.fallback[1].cascade.budget`.
    """
    endpoints = config.endpoint_by_name
    for model in config.models.values():
        for path, plan in _in_dollars(model.plan, f"models.{model.name}"):
            _check(path, plan, endpoints)


def _in_dollars(plan: Plan, path: str) -> Iterator[tuple[str, Plan]]:
    """Yield plans with a budget in dollars, and the path of it."""
    if isinstance(plan, Pool):
        return
    here = f"{path}.{plan.__struct_config__.tag}"
    if isinstance(plan, Route):
        if plan.budget is not None and plan.budget.dollars_per_hour is not None:
            yield f"{here}.budget.dollars_per_hour", plan
    elif not isinstance(plan, _WITHOUT) and plan.budget is not None and plan.budget.dollars is not None:
        yield f"{here}.budget.dollars", plan
    for place, part in enumerate(plan.parts):
        yield from _in_dollars(part, f"{here}[{place}]")


def _check(path: str, plan: Plan, endpoints: Mapping[str, Endpoint]) -> None:
    reached = [endpoints[name] for pool in pools(plan) for name in pool.endpoints]
    for endpoint in reached:
        if endpoint.price is None and not _is_own(endpoint):
            reason = f"found that nothing says what endpoint {endpoint.name!r} costs, expected its `price` (`{{}}`: nothing)"
            raise ConfigError(path, reason)
    if all(endpoint.price is None for endpoint in reached):
        raise ConfigError(path, "found no endpoint that has a price, expected one at least: this is never spent (`tokens` would be)")


def _is_own(endpoint: Endpoint) -> bool:
    """Whether it is a server of one's own by its address, or none at all: a function, `echo`."""
    provider: Any = extensions.load(PROVIDERS, endpoint.provider, "PROVIDER")
    origin = provider.origin(endpoint)
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return origin.scheme not in ("http", "https") or OWN.match(f"{origin.scheme}://{host}/") is not None
