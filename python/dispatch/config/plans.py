"""What a model does with a request: pools, and the plans that compose them, as data.

A model is written as one name, a bare pool, or a mapping with one plan kind as its key:

    chat: gpt4o-east
    chat: {strategy: least_work, endpoints: [gpt4o-east, gpt4o-west]}
    chat: {fallback: [gpt4o-east, {endpoints: [phi-a, phi-b]}, other-model], deadline_s: 60}

Names are resolved here: an endpoint's name becomes a pool of one, a model's name that model's plan, so a finished plan holds only
pools. The keys of `defaults` that a model repeats hold for whoever calls that model; a plan that refers to it takes the plan alone.

To add a plan: a struct, a member of `Plan`, and a line in `KINDS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from dispatch.config.decode import decode, join, nearest, shown
from dispatch.config.structs import Defaults, Endpoint
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["ALIASES", "HASH_SOURCES", "KINDS", "STRATEGIES", "Fallback", "Model", "Plan", "Pool", "build_models", "pools"]

STRATEGIES = (
    "least_work",
    "round_robin",
    "random",
    "weighted",
    "weighted_random",
    "least_connections",
    "peak_ewma",
    "ring_hash",
    "maglev",
    "rendezvous",
    "cache_aware",
)
"""Names that the core builds, the default first."""

ALIASES: Mapping[str, tuple[str, int | None]] = {
    "weighted_round_robin": ("weighted", None),
    "least_request": ("least_connections", None),
    "p2c": ("least_connections", 2),
}
"""Other names in use: the strategy that is meant, and its `choices` where the name implies them."""

CHOICES = {"least_work": 4, "least_connections": 2, "peak_ewma": 2}
"""Random candidates per decision where a strategy compares some; two is the classic (Mitzenmacher 2001), four CONTRACT section 7."""

HASHED = frozenset({"ring_hash", "maglev", "rendezvous"})
AFFINE = HASHED | {"cache_aware"}
"""Strategies that look at what `hash_on` names."""

HashSource = Literal["session", "prompt_cache_key", "user", "key"]
HASH_SOURCES: tuple[HashSource, ...] = ("session", "prompt_cache_key", "user", "key")


class Pool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="pool"):
    """Endpoints that can stand in for each other."""

    endpoints: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Their names."""
    strategy: str = "least_work"
    """How one is picked; aliases: `weighted_round_robin`, `least_request`, `p2c`."""
    choices: Annotated[int, Meta(ge=0, le=16)] = 0
    """Random candidates per decision; 0 looks at all. Left out: 4 for `least_work`, 2 for `least_connections` and `peak_ewma`."""
    bounded_load: Annotated[float, Meta(ge=0, le=100)] = 0.0
    """Under a hash strategy, the most that an endpoint may carry as a multiple of its fair share, such as 1.25; 0: no bound."""
    hash_on: Annotated[tuple[HashSource, ...], Meta(min_length=1)] = HASH_SOURCES
    """What a hash strategy and `cache_aware` hash: the first that a request has of the header `x-dispatch-session` (`session`), the fields
    `prompt_cache_key` and `user` (or `metadata.user_id`), and the name of its key. With none: `least_work`. No other order yet."""


class Fallback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="fallback"):
    """Plans in order: the next one is asked when the one before has no answer."""

    steps: tuple[Plan, ...]


Plan = Pool | Fallback


class Model(Struct, frozen=True, kw_only=True):
    """A name that clients ask for."""

    name: str
    """As written; with a `*` at its end it stands for each name that begins so."""
    plan: Plan
    settings: Defaults
    """`defaults`, with what the model repeats of them."""

    @property
    def is_pattern(self) -> bool:
        """Whether the name stands for many; such a model is callable but not listed."""
        return self.name.endswith("*")


def pools(plan: Plan) -> Iterator[Pool]:
    """Yield the pools of a plan, left to right."""
    if isinstance(plan, Pool):
        yield plan
        return
    for step in plan.steps:
        yield from pools(step)


def build_models(raw: Mapping[str, Any], endpoints: tuple[Endpoint, ...], defaults: Defaults) -> dict[str, Model]:
    """Decode and resolve the section `models`.

    Raises:
        ConfigError: unknown keys, kinds or names, a model that leads back to itself.
    """
    builder = _Builder(raw, frozenset(endpoint.name for endpoint in endpoints))
    models = {}
    for name, form in raw.items():
        path = join("models", name)
        models[name] = Model(name=name, plan=builder.named(name, path), settings=_settings(form, defaults, path))
    return models


class _Builder:
    """Turns written forms into plans; remembers finished models and the way down to the present one."""

    def __init__(self, raw: Mapping[str, Any], endpoints: frozenset[str]) -> None:
        self._raw = raw
        self._endpoints = endpoints
        self._done: dict[str, Plan] = {}
        self._way: list[str] = []

    def named(self, name: str, path: str) -> Plan:
        """Return the plan behind a name."""
        if name in self._endpoints:
            return Pool(endpoints=(name,), strategy="round_robin")
        if name not in self._raw:
            known = [*self._endpoints, *self._raw]
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
        return _canonical(pool, form, path)

    def _check_member(self, name: str, before: tuple[str, ...], path: str) -> None:
        if name in before:
            raise ConfigError(path, f"{shown(name)} is in this pool already; use `weight` to give it a larger share")
        if name in self._endpoints:
            return
        if name in self._raw:
            raise ConfigError(path, f"{shown(name)} is a model; a pool holds endpoints, use `fallback` to compose models")
        raise ConfigError(path, f"found {shown(name)}, expected the name of an endpoint{nearest(name, self._endpoints)}")

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


def _fallback(builder: _Builder, form: object, path: str) -> Fallback:
    if not isinstance(form, list) or not form:
        raise ConfigError(path, f"found {shown(form)}, expected a list of at least one plan")
    return Fallback(steps=tuple(builder.plan(step, f"{path}[{place}]") for place, step in enumerate(form)))


KINDS: Mapping[str, Callable[[_Builder, Any, str], Plan]] = {"fallback": _fallback}
"""Plan kinds by their key; each gets what stands under the key."""


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


def _canonical(pool: Pool, form: dict[str, Any], path: str) -> Pool:
    """Replace an alias by what it means and fill in the strategy's own number of choices."""
    strategy, implied = ALIASES.get(pool.strategy, (pool.strategy, None))
    if strategy not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise ConfigError(
            f"{path}.strategy", f"found {shown(strategy)}, expected one of {known}{nearest(strategy, [*STRATEGIES, *ALIASES])}"
        )
    if "choices" in form and strategy not in CHOICES:
        raise ConfigError(f"{path}.choices", f"{strategy} does not compare candidates; `choices` is for {', '.join(CHOICES)}")
    if implied is not None and form.get("choices", implied) != implied:
        raise ConfigError(f"{path}.choices", f"found {pool.choices}, but {pool.strategy} means choices: {implied}; write {strategy}")
    _check_hashing(pool, strategy, form, path)
    return msgspec.structs.replace(pool, strategy=strategy, choices=form.get("choices", CHOICES.get(strategy, 0)))


def _check_hashing(pool: Pool, strategy: str, form: dict[str, Any], path: str) -> None:
    for key, users in (("bounded_load", HASHED), ("hash_on", AFFINE)):
        if key in form and strategy not in users:
            raise ConfigError(f"{path}.{key}", f"{strategy} does not use it; `{key}` is for {', '.join(sorted(users))}")
    if 0 < pool.bounded_load <= 1:
        raise ConfigError(f"{path}.bounded_load", f"found {pool.bounded_load:g}, expected more than 1, or 0 for no bound")
    if pool.hash_on != HASH_SOURCES:
        raise ConfigError(f"{path}.hash_on", f"this version knows one order only: [{', '.join(HASH_SOURCES)}]")
