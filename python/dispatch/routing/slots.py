"""Which row of a board belongs to which name, and how many rows there are."""

from __future__ import annotations

from itertools import chain
from os import urandom
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from dispatch.config import budgets, pools
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dispatch.config import Config, Pool

__all__ = ["MASK_BITS", "Names", "Sizes", "Slots"]

MASK_BITS = 127
"""The engine keeps what was tried in 128 bits; in larger pools two endpoints may share one."""

HEADROOM = 4
"""A board has room for this many times what its first configuration holds."""

COLUMNS = 16
"""Most workers that one board can serve."""


class Sizes(Struct, frozen=True, kw_only=True):
    """How many rows a board has. Fixed for its life."""

    workers: int = 1
    """Columns of held things: 1 to 16."""
    endpoints: int = 64
    keys: int = 1024
    models: int = 64
    pairs: int = 256
    """One for each endpoint that a model can reach."""
    pools: int = 256
    users: int = 0
    """0 where no key has limits for its users."""
    sessions: int = 0
    """Sets of eight; 0 where no pool keeps sessions."""

    @classmethod
    def of(cls, config: Config, workers: int = 1) -> Sizes:
        """Return the sizes for a configuration, with headroom for those that reloads will bring."""
        names = Names.of(config)
        least = cls()
        return cls(
            workers=workers,
            endpoints=max(least.endpoints, HEADROOM * len(names.endpoints)),
            keys=max(least.keys, HEADROOM * len(names.keys)),
            models=max(least.models, HEADROOM * len(names.models)),
            pairs=max(least.pairs, HEADROOM * len(names.pairs)),
            pools=max(least.pools, HEADROOM * (len(names.pools) + len(names.budgets))),
            users=config.server.users_max if any(key.limits.per_user for key in config.keys) else 0,
            sessions=config.server.sessions_max // 8 if any(pool.keeps_sessions for pool in _pools(config)) else 0,
        )


class Slots(Struct, frozen=True, kw_only=True):
    """Which row of the board belongs to which name."""

    sizes: Sizes
    endpoints: dict[str, int]
    keys: dict[str, int]
    models: dict[str, int]
    pairs: dict[str, int]
    """By `model endpoint`: names hold no spaces."""
    pools: dict[str, int]
    """By `model number`, the number counting the pools of the model's plan from the left. A route's budget has such a row, too, by
    `model path`."""
    secret: bytes = b""
    """Of this board: under it the names of users are hashed."""

    @classmethod
    def of(cls, config: Config, sizes: Sizes, before: Slots | None = None) -> Slots:
        """Give each name a row; names that had one keep it, also while they are not configured.

        Args:
            config: what is to be served now.
            sizes: of the board.
            before: the rows given so far on this board.

        Raises:
            ConfigError: the board has no row left: it was made for a smaller configuration, and a restart is needed.
        """
        names = Names.of(config)
        return cls(
            sizes=sizes,
            endpoints=_assign("endpoints", names.endpoints, before.endpoints if before else {}, sizes.endpoints),
            keys=_assign("keys", names.keys, before.keys if before else {}, sizes.keys),
            models=_assign("models", names.models, before.models if before else {}, sizes.models),
            pairs=_assign("models", names.pairs, before.pairs if before else {}, sizes.pairs),
            pools=_assign("models", [*names.pools, *names.budgets], before.pools if before else {}, sizes.pools),
            secret=before.secret if before else urandom(16),
        )

    def encode(self) -> bytes:
        """Return JSON for `decode`, to hand to another process."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, text: bytes) -> Slots:
        """Read what `encode` wrote.

        Raises:
            msgspec.DecodeError: it is something else.
        """
        return msgspec.json.decode(text, type=cls)


class Names(Struct, frozen=True):
    """Everything that has a row, in the order of the configuration."""

    endpoints: list[str]
    keys: list[str]
    models: list[str]
    pairs: list[str]
    pools: list[str]
    budgets: list[str]

    @classmethod
    def of(cls, config: Config) -> Names:
        """Collect them from a configuration."""
        plans = {name: list(pools(model.plan)) for name, model in config.models.items()}
        reached = {name: dict.fromkeys(chain.from_iterable(pool.endpoints for pool in plan)) for name, plan in plans.items()}
        return cls(
            endpoints=[endpoint.name for endpoint in config.endpoints],
            keys=[key.name for key in config.keys],
            models=list(config.models),
            pairs=[f"{model} {endpoint}" for model, endpoints in reached.items() for endpoint in endpoints],
            pools=[f"{model} {number}" for model, plan in plans.items() for number in range(len(plan))],
            budgets=[f"{name} {path}" for name, model in config.models.items() for path in budgets(model.plan)],
        )


def _pools(config: Config) -> Iterable[Pool]:
    return chain.from_iterable(pools(model.plan) for model in config.models.values())


def _assign(path: str, names: Iterable[str], before: Mapping[str, int], room: int) -> dict[str, int]:
    slots = dict(before)
    for name in names:
        slots.setdefault(name, len(slots))
    if len(slots) > room:
        reason = f"needs a restart: the board was made with {room} rows, and {len(slots)} names have had one since the start"
        raise ConfigError(path, reason)
    return slots
