"""The configuration as the core reads it: rows of the board in place of names, 0 in place of what is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.config import pools
from dispatch.config.plans import NOISE, Affinity, Sticky, margin
from dispatch.errors import ConfigError
from dispatch.policy.cost import rates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config import Config, Endpoint, Health, Limits, Pool
    from dispatch.config.plans import Model
    from dispatch.routing import Slots

__all__ = ["Tables", "build"]

RETRY_PERCENT = 20
"""Retries allowed for each hundred requests of a pool: the budget of Finagle, tower and linkerd."""
RETRY_PER_S = 10
"""Retries allowed each second besides, so that a quiet pool can retry at all."""


class _LimitTable(Struct, frozen=True):
    """What the core reads of `Limits`; 0 is "no limit"."""

    requests_per_min: int
    tokens_per_min: int
    input_tokens_per_min: int
    uncached_input_tokens_per_min: int
    output_tokens_per_min: int
    concurrency: int
    burst_s: float

    @classmethod
    def of(cls, limits: Limits) -> _LimitTable:
        return cls(
            requests_per_min=limits.requests_per_min or 0,
            tokens_per_min=limits.tokens_per_min or 0,
            input_tokens_per_min=limits.input_tokens_per_min or 0,
            uncached_input_tokens_per_min=limits.uncached_input_tokens_per_min or 0,
            output_tokens_per_min=limits.output_tokens_per_min or 0,
            concurrency=limits.concurrency or 0,
            burst_s=limits.burst_s,
        )


class _EndpointTable(Struct, frozen=True):
    slot: int
    name: str
    weight: int
    draining: bool
    limits: _LimitTable
    account: int
    adaptive: bool


class _GateTable(Struct, frozen=True):
    slot: int
    limits: _LimitTable


class _HealthTable(Struct, frozen=True):
    """What the core reads of `Health`: milliseconds and thousandths."""

    consecutive: int
    ratio_permille: int
    min_requests: int
    window_ms: int
    open_ms: int
    longest_ms: int
    probes: int
    slow_start_ms: int
    outlier_permille: int
    ejected_permille: int
    panic_permille: int

    @classmethod
    def of(cls, health: Health) -> _HealthTable:
        return cls(
            consecutive=health.consecutive,
            ratio_permille=round(health.ratio * 1000),
            min_requests=health.min_requests,
            window_ms=round(health.window_s * 1000),
            open_ms=round(health.open_s * 1000),
            longest_ms=round(health.open_max_s * 1000),
            probes=health.probes,
            slow_start_ms=round(health.slow_start_s * 1000),
            # One more than all: a share of failures that no endpoint reaches.
            outlier_permille=round(health.outlier * 1000) if health.outlier < 1 else 1001,
            ejected_permille=round(health.max_ejected * 1000),
            panic_permille=round(health.panic_threshold * 1000),
        )


class _Modifiers(Struct, frozen=True):
    """What the core reads of a pool's modifiers; money in picodollars."""

    tiers: list[int]
    rates: list[tuple[int, int, int]]
    sticky_s: int
    affinity: tuple[int, float, int, float] | None
    lowest_cost: float | None
    lowest_latency: float | None


class _PoolTable(Struct, frozen=True):
    slot: int
    model: int
    strategy: str
    choices: int
    bounded_load: float
    endpoints: list[int]
    pairs: list[int]
    retry_percent: int
    retry_per_s: int
    health: _HealthTable
    modifiers: _Modifiers


class Tables(Struct, frozen=True):
    """One generation of the configuration; the core reads it by attribute, once."""

    endpoints: list[_EndpointTable]
    keys: list[_GateTable]
    users: list[_GateTable]
    models: list[_GateTable]
    pools: list[_PoolTable]


def build(config: Config, slots: Slots) -> Tables:
    """Look up the row of every name; `slots` holds them all."""
    accounts: dict[str, int] = {}
    for one in config.endpoints:
        accounts.setdefault(one.account, slots.endpoints[one.name])
    endpoints = {one.name: one for one in config.endpoints}
    return Tables(
        endpoints=[_endpoint(one, accounts, slots) for one in config.endpoints],
        keys=[_GateTable(slots.keys[key.name], _LimitTable.of(key.limits)) for key in config.keys],
        users=[_GateTable(slots.keys[key.name], _LimitTable.of(key.limits.per_user)) for key in config.keys if key.limits.per_user],
        models=[_GateTable(slots.models[name], _LimitTable.of(model.settings.limits)) for name, model in config.models.items()],
        pools=[
            _pool(model, number, pool, endpoints, slots)
            for model in config.models.values()
            for number, pool in enumerate(pools(model.plan))
        ],
    )


def _endpoint(endpoint: Endpoint, accounts: Mapping[str, int], slots: Slots) -> _EndpointTable:
    slot = slots.endpoints[endpoint.name]
    return _EndpointTable(
        slot=slot,
        name=endpoint.name,
        weight=endpoint.weight,
        draining=endpoint.draining,
        limits=_LimitTable.of(endpoint.limits),
        account=accounts[endpoint.account] if endpoint.account else slot,
        adaptive=endpoint.adaptive,
    )


def _pool(model: Model, number: int, pool: Pool, endpoints: Mapping[str, Endpoint], slots: Slots) -> _PoolTable:
    return _PoolTable(
        slot=slots.pools[f"{model.name} {number}"],
        model=slots.models[model.name],
        strategy=pool.strategy,
        choices=pool.choices,
        bounded_load=pool.bounded_load,
        endpoints=[slots.endpoints[name] for name in pool.endpoints],
        pairs=[slots.pairs[f"{model.name} {name}"] for name in pool.endpoints],
        retry_percent=RETRY_PERCENT,
        retry_per_s=RETRY_PER_S,
        health=_HealthTable.of(model.settings.health),
        modifiers=_modifiers(model.name, pool, endpoints),
    )


def _modifiers(model: str, pool: Pool, endpoints: Mapping[str, Endpoint]) -> _Modifiers:
    tier_of = {name: tier for tier, names in enumerate(pool.priority) for name in names}
    sticky = Sticky() if pool.sticky is True else pool.sticky
    affinity = Affinity() if pool.affinity is True else pool.affinity
    cheapest = margin(pool.lowest_cost)
    prices = {name: endpoints[name].price for name in pool.endpoints}
    unknown = next((name for name, price in prices.items() if price is None), None)
    if cheapest is not None and unknown is not None:
        reason = f"`lowest_cost` compares prices, and {unknown!r} has none: give it a `price`, or `price: {{}}` if it is free"
        raise ConfigError(f"models.{model}", reason)
    compares = cheapest is not None or affinity is not False
    own = [rates(price) for price in prices.values()] if compares else []
    return _Modifiers(
        tiers=[tier_of[name] for name in pool.endpoints] if len(pool.priority) > 1 else [],
        rates=[(rate.input, rate.cached_input, rate.output) for rate in own],
        sticky_s=sticky.idle_s if isinstance(sticky, Sticky) else 0,
        affinity=(affinity.ttl_s, affinity.kept, affinity.least_tokens, affinity.wait_price * 1e12)
        if isinstance(affinity, Affinity)
        else None,
        lowest_cost=cheapest,
        lowest_latency=margin(pool.lowest_latency, NOISE),
    )
