"""The configuration as the core reads it: rows of the board in place of names, 0 in place of what is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.config import pools

if TYPE_CHECKING:
    from dispatch.config import Config, Limits, Pool
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


class _GateTable(Struct, frozen=True):
    slot: int
    limits: _LimitTable


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


class Tables(Struct, frozen=True):
    """One generation of the configuration; the core reads it by attribute, once."""

    endpoints: list[_EndpointTable]
    keys: list[_GateTable]
    models: list[_GateTable]
    pools: list[_PoolTable]


def build(config: Config, slots: Slots) -> Tables:
    """Look up the row of every name; `slots` holds them all."""
    no_limits = _LimitTable(0, 0, 0, 0, 0, 0, 1.0)
    return Tables(
        endpoints=[
            _EndpointTable(slots.endpoints[one.name], one.name, one.weight, one.draining, _LimitTable.of(one.limits))
            for one in config.endpoints
        ],
        keys=[_GateTable(slots.keys[key.name], _LimitTable.of(key.limits)) for key in config.keys],
        models=[_GateTable(slots.models[name], no_limits) for name in config.models],
        pools=[_pool(name, number, pool, slots) for name, model in config.models.items() for number, pool in enumerate(pools(model.plan))],
    )


def _pool(model: str, number: int, pool: Pool, slots: Slots) -> _PoolTable:
    return _PoolTable(
        slot=slots.pools[f"{model} {number}"],
        model=slots.models[model],
        strategy=pool.strategy,
        choices=pool.choices,
        bounded_load=pool.bounded_load,
        endpoints=[slots.endpoints[name] for name in pool.endpoints],
        pairs=[slots.pairs[f"{model} {name}"] for name in pool.endpoints],
        retry_percent=RETRY_PERCENT,
        retry_per_s=RETRY_PER_S,
    )
