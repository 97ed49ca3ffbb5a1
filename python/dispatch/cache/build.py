"""The caches of one generation: those of models that have not changed are carried over from the one before."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from dispatch.cache.memory import Memory
from dispatch.cache.redis import Redis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config import Endpoint, Model, Secrets

__all__ = ["Stores", "stores"]


class Stores(Struct, frozen=True):
    """Where a model's answers are kept."""

    identity: bytes
    """Of everything that the answers depend on beside the request: another one begins with an empty cache."""
    memory: Memory
    redis: Redis | None


def stores(model: Model, endpoints: list[Endpoint], secrets: Secrets, old: Mapping[str, Stores]) -> Stores | None:
    """Return the stores of a model, or None where nothing is kept.

    Args:
        model: whose answers are to be kept.
        endpoints: those that its plan can reach.
        secrets: with the URL of its Redis, if it has one.
        old: by model, of the generation before.

    Raises:
        ConfigError: Redis cannot be used.
    """
    cache = model.settings.cache
    if cache is None:
        return None
    what = msgspec.json.encode([model.name, model.plan, model.settings, endpoints])
    identity = hashlib.sha256(what).digest()
    before = old.get(model.name)
    if before is not None and before.identity == identity:
        return before
    url = secrets.stores.get(model.name)
    redis = None
    if url:
        redis = Redis(url.reveal(), b"dispatch:1:" + identity[:16] + b":", cache.ttl_s)
    return Stores(identity, Memory(cache.max_bytes, cache.ttl_s), redis)
