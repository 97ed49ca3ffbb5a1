"""A name that clients may ask for, as its requests find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.config import Defaults
    from dispatch.exchange import Call
    from dispatch.homes import Homes
    from dispatch.plans.base import Failed
    from dispatch.pools import Pool

__all__ = ["Model"]

_NS = 1_000_000_000


class Model:
    """A callable name."""

    __slots__ = (
        *(
            "caches",
            "deadline_ns",
            "declares",
            "doors",
            "from_client",
            "homes",
            "is_noted",
            "is_pattern",
            "learns",
            "name",
            "pool",
            "queue",
        ),
        *("reads_head", "run", "slot"),
    )

    doors: frozenset[str]
    """What its endpoints offer, together."""
    homes: Homes | None
    """Who gave which id, where its endpoints have several accounts."""
    pool: Pool | None
    """Its first, where its plan begins with one."""

    def __init__(self, name: str, slot: int, settings: Defaults, run: Callable[[Call, Failed], None], *, from_client: bool) -> None:
        self.name = name
        self.is_pattern = name.endswith("*")
        self.slot = slot
        self.deadline_ns = int(settings.deadline_s * _NS)
        self.queue = settings.queue
        self.from_client = from_client
        self.caches = settings.cache is not None
        self.declares: dict[str, bytes] = {}
        """What a client may say of a request, by name: the header field."""
        self.reads_head = from_client or self.caches
        self.learns = False
        """What its answers take says what the next one will: not so where several models are asked for one."""
        self.is_noted = True
        """Its requests stand in the records."""
        self.run = run
