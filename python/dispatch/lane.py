"""The express lane of one generation: the tables by which the core takes plain requests whole.

On it are the models whose plan begins with a pool whose endpoints use their own credentials and their own model names, and the configured
keys, or none. Everything else goes the ordinary way; so does a plain request as soon as anything happens to it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.config import FROM_CLIENT
from dispatch.policy.cost import BYTES_PER_TOKEN, OUTPUT_TOKENS, TOKENS_PER_REQUEST
from dispatch.providers.base import DOORS, PATHS
from dispatch.queue import CLASSES
from dispatch.wire.http1 import affinity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dispatch.generation import Model
    from dispatch.links import Link
    from dispatch.plans.base import Failed
    from dispatch.pools import Pool
    from dispatch.routing import Express, Routing

__all__ = ["LOOPBACK_HOSTS", "NOBODY", "Entry", "KeyEntry", "Lane", "door_generates"]

NOWHERE = (1 << 128) - 1
"""The mask of a pool that has no endpoint for a door."""

_OTHERWISE = frozenset(
    (
        *(
            "count_tokens",
            "gemini_count",
            "responses_counted",
            "moderations",
            "rerank",
            "images",
            "image_edits",
            "image_variations",
            "speech",
        ),
        *("transcriptions", "audio_translations", "stored"),
    )
)
"""Doors whose answers are not generated text, beside those of embeddings."""

LOOPBACK_HOSTS = frozenset((b"127.0.0.1", b"localhost", b"[::1]"))
"""What `Host` may say while no keys are configured, beside `server.hosts`."""


class KeyEntry:
    """A client's key, as doors use it. `slot` is -1 for a caller without one.

    Attributes:
        weight: its share of what many wait for.
        priority: place in `queue.CLASSES`.
        secret: under which its users are told apart; empty where they have no limits of their own.
        affinity: what a hash strategy uses for requests that bring nothing of their own; 0 for a caller without a key.
    """

    __slots__ = ("admin", "affinity", "models", "name", "priority", "secret", "slot", "weight")

    def __init__(  # one for each thing that a key says
        self,
        name: str,
        slot: int,
        models: frozenset[str] | None,
        *,
        admin: bool,
        weight: int = 1,
        priority: str = "normal",
        secret: bytes = b"",
    ) -> None:
        self.name = name
        self.secret = secret
        self.affinity = affinity(name.encode())
        self.slot = slot
        self.models = models
        self.admin = admin
        self.weight = weight
        self.priority = CLASSES.index(priority)

    def asker(self, user: bytes) -> int:
        """Return what admission is asked with for a user of this key: the key's slot, and above it the user's hash."""
        tag = blake2b(user, digest_size=14, key=self.secret, salt=self.slot.to_bytes(2, "little")).digest()
        return self.slot | int.from_bytes(tag, "little") << 16


NOBODY = KeyEntry("", -1, None, admin=False)
"""A caller without a key."""


class Entry:
    """A model on the lane: its first pool, and what follows when that has no answer.

    Attributes:
        patience_ns: from when on a silence is worth a closer look.
        off_lane: doors at which the body decides who can be asked.
    """

    __slots__ = ("deadline_ns", "is_noted", "name", "off_lane", "on_failed", "patience_ns", "pool", "slot")

    def __init__(self, model: Model, pool: Pool, on_failed: Failed, off_lane: frozenset[str]) -> None:
        self.name = model.name
        self.slot = model.slot
        self.is_noted = model.is_noted
        self.deadline_ns = deadline_ns = model.deadline_ns
        self.pool = pool
        self.patience_ns = min(pool.connect_ns, pool.patience_ns(deadline_ns, stream=False, tries=1, tried=1))
        self.on_failed = on_failed
        self.off_lane = off_lane


class _DoorRow(Struct, frozen=True):
    path: bytes
    generates: bool


class _KeyRow(Struct, frozen=True):
    digest: bytes
    slot: int
    models: set[str] | None
    affinity: int


class _LinkRow(Struct, frozen=True):
    heads: list[bytes | None]
    model: bytes


class _ModelRow(Struct, frozen=True):
    name: str
    slot: int
    pool: object
    links: list[_LinkRow]
    cannot: list[int]
    noted: bool


class Lane:
    """See the module.

    Attributes:
        take: `_core.Express.take`, bound.
        models: by `Job.model`.
        keys: by `Job.key`.
        doors: names, by `Job.door`.
    """

    __slots__ = ("doors", "keys", "models", "take")

    def __init__(self, routing: Routing, entries: Sequence[Entry], keys: Sequence[tuple[bytes, KeyEntry]], hosts: Iterable[str]) -> None:
        self.models = [entry for entry in entries if all(_is_own(link) for link in entry.pool.links)]
        self.keys = [key for _, key in keys]
        self.doors = DOORS
        core: Express = routing.express(
            [_DoorRow(f"/v1{path}".encode(), door_generates(door)) for door, path in PATHS.items() if door in DOORS],
            [_KeyRow(digest, key.slot, None if key.models is None else set(key.models), key.affinity) for digest, key in keys],
            [_row(entry) for entry in self.models],
            (BYTES_PER_TOKEN, TOKENS_PER_REQUEST, OUTPUT_TOKENS),
            [*LOOPBACK_HOSTS, *(name.lower().encode() for name in hosts)],
        )
        self.take = core.take


def door_generates(door: str) -> bool:
    """Whether the answers of a door are generated token by token."""
    return door not in _OTHERWISE and "embed" not in door


def _is_own(link: Link) -> bool:
    return link.endpoint.api_key != FROM_CLIENT and not link.endpoint.passes_name


def _row(entry: Entry) -> _ModelRow:
    pool = entry.pool
    # The core passes through: where a request is translated, it composes none.
    heads = [[None if door in link.translations else link.heads.get(door) for door in DOORS] for link in pool.links]
    links = [_LinkRow(found, link.model) for found, link in zip(heads, pool.links, strict=True)]
    return _ModelRow(entry.name, entry.slot, pool.core, links, [_cannot(entry, door) for door in DOORS], entry.is_noted)


def _cannot(entry: Entry, door: str) -> int:
    """The positions that do not offer a door; all of them where the body decides that, which the ordinary way reads."""
    pool = entry.pool
    if door in entry.off_lane:
        return NOWHERE
    if door == "responses" and 0 < sum("responses_stored" in link.heads for link in pool.links) < len(pool.links):
        return NOWHERE
    return pool.cannot.get(door, NOWHERE)
