"""From what is written under `models` to plans that hold only pools.

Names are resolved here: an endpoint's name becomes a pool of one, a model's name that model's plan. The keys of `defaults` that a model
repeats hold for whoever calls that model; a plan that refers to it takes the plan alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from dispatch.config import plans
from dispatch.config.decode import decode, join, nearest, shown
from dispatch.config.plans import cascade, chain, ensemble, fallback, fanout, retrieve, route, schedule, split
from dispatch.config.plans.pool import Pool, canonical
from dispatch.config.structs import Defaults, Endpoint
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dispatch.config.plans import Plan

__all__ = ["KINDS", "Builder", "Model", "build_models"]


class Model(Struct, frozen=True, kw_only=True):
    """A name that clients ask for."""

    name: str
    """As written; with a `*` at its end it stands for each name that begins so."""
    plan: plans.Plan
    settings: Defaults
    """`defaults`, with what the model repeats of them."""

    @property
    def is_pattern(self) -> bool:
        """Whether the name stands for many; such a model is callable but not listed."""
        return self.name.endswith("*")


def build_models(raw: Mapping[str, Any], endpoints: tuple[Endpoint, ...], defaults: Defaults) -> dict[str, Model]:
    """Decode and resolve the section `models`.

    Raises:
        ConfigError: unknown keys, kinds or names, a model that leads back to itself.
    """
    builder = Builder(raw, {endpoint.name: endpoint for endpoint in endpoints})
    models = {}
    for name, form in raw.items():
        path = join("models", name)
        models[name] = Model(name=name, plan=builder.named(name, path), settings=_settings(form, defaults, path))
    return models


class Builder:
    """Turns written forms into plans; remembers finished models and the way down to the present one.

    Attributes:
        endpoints: by name.
    """

    def __init__(self, raw: Mapping[str, Any], endpoints: Mapping[str, Endpoint]) -> None:
        self._raw = raw
        self.endpoints = endpoints
        self._done: dict[str, Plan] = {}
        self._way: list[str] = []

    def named(self, name: str, path: str) -> Plan:
        """Return the plan behind a name."""
        if name in self.endpoints:
            return Pool(endpoints=(name,), strategy="round_robin")
        if name not in self._raw:
            known = [*self.endpoints, *self._raw]
            raise ConfigError(path, f"found {shown(name)}, expected the name of an endpoint or model{nearest(name, known)}")
        if name in self._way:
            circle = " -> ".join([*self._way[self._way.index(name) :], name])
            raise ConfigError(path, f"a model may not lead back to itself: {circle}")
        if name not in self._done:
            self._way.append(name)
            model_path = join("models", name)
            self._done[name] = self.plan(_without_settings(self._raw[name]), model_path)
            self._way.pop()
        return self._done[name]

    def plan(self, form: object, path: str) -> Plan:
        """Build a plan from any of its written forms."""
        if isinstance(form, str):
            return self.named(form, path)
        if not isinstance(form, dict):
            raise ConfigError(path, f"found {shown(form)}, expected a name, a pool {{strategy, endpoints}} or a plan ({_kinds()})")
        kinds = [key for key in form if key in KINDS]
        if "endpoints" in form or (not kinds and _is_pool_like(form)):
            return self.pool(form, path)
        self._refuse_other_keys(form, kinds, path)
        return KINDS[kinds[0]](self, form[kinds[0]], join(path, kinds[0]))

    def pool(self, form: dict[str, Any], path: str) -> Pool:
        """Build a bare pool."""
        for key in form:
            if key not in Pool.__struct_fields__:
                known = [*Pool.__struct_fields__, *(Defaults.__struct_fields__ if path.count(".") == 1 else ())]
                raise ConfigError(join(path, key), f"unknown key{nearest(key, known)}")
        pool = decode(form, Pool, path)
        for place, name in enumerate(pool.endpoints):
            self._check_member(name, pool.endpoints[:place], f"{path}.endpoints[{place}]")
        return canonical(pool, form, path)

    def reached(self, plan: Plan) -> list[Endpoint]:
        """Return the endpoints that a plan reaches, as often as its pools name them."""
        return [self.endpoints[name] for pool in plans.pools(plan) for name in pool.endpoints]

    def check_local(self, plan: Plan, path: str) -> None:
        """Refuse a plan that reaches an endpoint outside. Raises `ConfigError`."""
        for endpoint in self.reached(plan):
            if not endpoint.offline_ok:
                raise ConfigError(
                    path, f"reaches endpoint {shown(endpoint.name)}, which is not marked `offline_ok: true`: it may be outside"
                )

    def _check_member(self, name: str, before: tuple[str, ...], path: str) -> None:
        if name in before:
            raise ConfigError(path, f"{shown(name)} is in this pool already; use `weight` to give it a larger share")
        if name in self.endpoints:
            return
        if name in self._raw:
            raise ConfigError(path, f"{shown(name)} is a model; a pool holds endpoints, use `fallback` to compose models")
        raise ConfigError(path, f"found {shown(name)}, expected the name of an endpoint{nearest(name, self.endpoints)}")

    @staticmethod
    def _refuse_other_keys(form: dict[str, Any], kinds: list[str], path: str) -> None:
        if len(kinds) == 1 and len(form) == 1:
            return
        if len(kinds) > 1:
            raise ConfigError(path, f"found {' and '.join(kinds)}, expected one plan")
        other = next((key for key in form if key not in kinds), None)
        if other is None:
            raise ConfigError(path, f"found an empty mapping, expected a pool {{strategy, endpoints}} or a plan ({_kinds()})")
        if other in Defaults.__struct_fields__:
            raise ConfigError(join(path, other), "only a model may set this, not a step of its plan")
        raise ConfigError(join(path, other), f"unknown plan; this version has: {_kinds()}{nearest(other, KINDS)}")


KINDS: Mapping[str, Callable[[Builder, Any, str], Plan]] = {
    "fallback": fallback.build,
    "cascade": cascade.build,
    "chain": chain.build,
    "ensemble": ensemble.build,
    "fanout": fanout.build,
    "retrieve": retrieve.build,
    "route": route.build,
    "split": split.build_split,
    "shadow": split.build_shadow,
    "schedule": schedule.build_schedule,
    "offline": schedule.build_offline,
}
"""Plan kinds by their key; each gets the builder, what stands under the key, and its path."""


def _kinds() -> str:
    return ", ".join(KINDS)


def _is_pool_like(form: dict[str, Any]) -> bool:
    return any(key in Pool.__struct_fields__ for key in form)


def _without_settings(form: object) -> object:
    if not isinstance(form, dict):
        return form
    return {key: value for key, value in form.items() if key not in Defaults.__struct_fields__}


def _settings(form: object, defaults: Defaults, path: str) -> Defaults:
    """Lay what a model repeats over `defaults`, key by key, and inside its sections."""
    if not isinstance(form, dict):
        return defaults
    own = {key: value for key, value in form.items() if key in Defaults.__struct_fields__}
    given = decode(own, Defaults, path)
    changes = {key: getattr(given, key) for key in own}
    for section in ("retry", "queue", "health", "limits"):
        if section in own:
            inner = getattr(given, section)
            changes[section] = msgspec.structs.replace(getattr(defaults, section), **{key: getattr(inner, key) for key in own[section]})
    return msgspec.structs.replace(defaults, **changes)
