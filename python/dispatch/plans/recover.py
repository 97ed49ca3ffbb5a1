"""Streams that outlive the endpoint that gave them: held back until they can be trusted, or taken over when they break.

Stands around each pool of a model with `commit` or `recover`, for streams alone; whatever else comes goes straight on to the pool.
`takeover` is what then happens to one stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.plans.hold import WHOLE
from dispatch.plans.takeover import Delivery
from dispatch.plans.ways import ways_of
from dispatch.wire.http1 import HAS_LOGPROBS, Scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config.structs import AfterTokens, Recovery
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Start
    from dispatch.plans.hold import Room
    from dispatch.pools import Pool

__all__ = ["Recover"]

_FOLLOWED = frozenset(("chat", "completions"))
"""Doors whose streams another answer can be held against."""


class Recover:
    """See the module: in a pool's place for the plans above it.

    Args:
        pool: whose endpoints may take over.
        start: asks it.
        commit: as configured.
        recover: the same.
        max_bytes: most that is held of a stream, and most that is remembered.
        room: what held bytes are counted against.
    """

    __slots__ = ("_hold", "_max_bytes", "_pool", "_room", "_start", "_ways")

    def __init__(  # each is one fact of the model, named at the call
        self, *, pool: Pool, start: Start, commit: str | AfterTokens, recover: Sequence[Recovery], max_bytes: int, room: Room
    ) -> None:
        self._pool = pool
        self._start = start
        self._max_bytes = max_bytes
        self._room = room
        self._ways = tuple(way for name in dict.fromkeys(recover) for way in ways_of(name, pool))
        self._hold = WHOLE if commit == "whole" else 0 if isinstance(commit, str) else commit.after_tokens

    def start(self, call: Call, failed: Failed) -> None:
        """Ask the pool; take over what the step before it in a fallback has begun, if it has."""
        delivery = call.recovery
        if isinstance(delivery, Delivery):
            delivery.enter(self._pool, self._start, self._ways, failed)
            return
        ways = self._ways if _can_follow(call) else ()
        if call.stream and (ways or self._hold):
            Delivery(call, self._hold, bool(ways), self._max_bytes, self._room).enter(self._pool, self._start, ways, failed)
        else:
            self._start(call, failed)


def _can_follow(call: Call) -> bool:
    """Whether another answer can be told from this one's beginning: one choice, and nothing beside its text that differs each time."""
    scan = call.body
    return call.door in _FOLLOWED and isinstance(scan, Scan) and scan.n == 1 and not scan.flags & HAS_LOGPROBS
