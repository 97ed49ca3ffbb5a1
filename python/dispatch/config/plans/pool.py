"""A pool as data: the endpoints that can stand in for each other, and the strategy that picks one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from dispatch.config.decode import nearest, shown
from dispatch.config.plans.modifiers import Affinity, Part, Sticky, check_tiers
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALIASES", "CHOICES", "HASHED", "HASH_SOURCES", "PREFERENCES", "STRATEGIES", "Pool", "canonical"]

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

PREFERENCES = ("lowest_cost", "lowest_latency")
"""Modifiers that may stand as the strategy: under them, the default one picks."""

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
    """How one is picked; aliases: `weighted_round_robin`, `least_request`, `p2c`; `lowest_cost` and `lowest_latency` are `least_work` under
    that modifier."""
    choices: Annotated[int, Meta(ge=0, le=16)] = 0
    """Random candidates per decision; 0 looks at all. Left out: 4 for `least_work`, 2 for `least_connections` and `peak_ewma`."""
    bounded_load: Annotated[float, Meta(ge=0, le=100)] = 0.0
    """Under a hash strategy, the most that an endpoint may carry as a multiple of its fair share, such as 1.25; 0: no bound."""
    hash_on: Annotated[tuple[HashSource, ...], Meta(min_length=1)] = HASH_SOURCES
    """What a hash strategy and `cache_aware` hash: the first that a request has of the header `x-dispatch-session` (`session`), the fields
    `prompt_cache_key` and `user` (or `metadata.user_id`), and the name of its key. With none: `least_work`. No other order yet.
    Sessions of `sticky` and `affinity` are told apart by it too."""
    priority: tuple[tuple[str, ...], ...] = ()
    """Tiers: `[[near, nearer], [far]]`. A later one gets nothing while an earlier one can take the request."""
    sticky: Sticky | bool = False
    """A session stays at its endpoint as long as that can be picked; `true`, or `{idle_s: 600}`."""
    affinity: Affinity | bool = False
    """A session goes back to where its prompt is cached, until another endpoint is worth more than the cache; `true`, or its worth."""
    lowest_cost: bool | Part = False
    """Only endpoints that cost no more for this request than the cheapest; `0.1`: than a tenth above it. Each has a price then, `{}` if
    free."""
    lowest_latency: bool | Part = False
    """Only endpoints whose time to first token is about the shortest: `true` takes those up to half above it for as fast; `0.2`: up to a
    fifth; `0`: the shortest alone, to which everybody goes then."""

    @property
    def keeps_sessions(self) -> bool:
        """Whether it is remembered where a session went."""
        return self.sticky is not False or self.affinity is not False


def canonical(pool: Pool, form: dict[str, Any], path: str) -> Pool:
    """Replace an alias by what it means and fill in the strategy's own number of choices."""
    if pool.strategy in PREFERENCES:
        preferred = {pool.strategy: getattr(pool, pool.strategy) or True, "strategy": STRATEGIES[0]}
        return canonical(msgspec.structs.replace(pool, **preferred), form, path)
    strategy, implied = ALIASES.get(pool.strategy, (pool.strategy, None))
    if strategy not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise ConfigError(
            f"{path}.strategy",
            f"found {shown(strategy)}, expected one of {known}{nearest(strategy, [*STRATEGIES, *ALIASES, *PREFERENCES])}",
        )
    if "choices" in form and strategy not in CHOICES:
        raise ConfigError(f"{path}.choices", f"{strategy} does not compare candidates; `choices` is for {', '.join(CHOICES)}")
    if implied is not None and form.get("choices", implied) != implied:
        raise ConfigError(f"{path}.choices", f"found {pool.choices}, but {pool.strategy} means choices: {implied}; write {strategy}")
    _check_hashing(pool, strategy, form, path)
    check_tiers(pool.priority, pool.endpoints, f"{path}.priority")
    if pool.sticky is not False and pool.affinity is not False:
        raise ConfigError(f"{path}.affinity", "`sticky` stays whatever that costs; expected one of the two")
    return msgspec.structs.replace(pool, strategy=strategy, choices=form.get("choices", CHOICES.get(strategy, 0)))


def _check_hashing(pool: Pool, strategy: str, form: dict[str, Any], path: str) -> None:
    for key, users in (("bounded_load", HASHED), ("hash_on", AFFINE)):
        if key in form and strategy not in users and not (key == "hash_on" and pool.keeps_sessions):
            raise ConfigError(f"{path}.{key}", f"{strategy} does not use it; `{key}` is for {', '.join(sorted(users))}")
    if 0 < pool.bounded_load <= 1:
        raise ConfigError(f"{path}.bounded_load", f"found {pool.bounded_load:g}, expected more than 1, or 0 for no bound")
    if pool.hash_on != HASH_SOURCES:
        raise ConfigError(f"{path}.hash_on", f"this version knows one order only: [{', '.join(HASH_SOURCES)}]")
