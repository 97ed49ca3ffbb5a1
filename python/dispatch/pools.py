"""A pool as attempts use it, and what the worker's coarse timer looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dispatch.attempt import Attempts
from dispatch.routing import MASK_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config import Defaults
    from dispatch.errors import Failure
    from dispatch.exchange import Call
    from dispatch.links import Link
    from dispatch.plans.base import Failed
    from dispatch.routing import Router

__all__ = ["Book", "Finish", "Pool", "Watch", "Watched"]

_NS = 1_000_000_000


class Finish(Protocol):
    """Called once per request, when its answer is out or given up. Settles the key's part."""

    def __call__(self, call: Call, outcome: Failure) -> None: ...


class Book(Protocol):
    """Called for each attempt that is over: `telemetry.ledger`."""

    def begin(self, attempt: Attempts, /) -> None:
        """An attempt is about to be sent."""

    def __call__(
        self, attempt: Attempts, failure: Failure, usage: tuple[int, int, int, int], now_ns: int, /, *, sent: bool = True
    ) -> None: ...


class Watched(Protocol):
    """Something under way."""

    def check(self, now_ns: int) -> None: ...
    def keep_awake(self, now_ns: int, silent_since_ns: int) -> None: ...
    def as_call(self) -> Call: ...


class Watch(Protocol):
    """What the worker's coarse timer looks at."""

    def add(self, item: Watched, /) -> None: ...
    def discard(self, item: Watched, /) -> None: ...


class Pool:
    """A pool as attempts use it.

    Attributes:
        links: the endpoints, by position.
        all: the mask of all positions.
        book: told of each attempt that is over, for the ledger; None costs nothing.
        cannot: per door, the positions that have no such path, as a bit mask.
        is_last: no other plan is asked after this pool.
        others: per account that a request may be bound to, the positions that have another one.
        connect_ns, first_token_ns, stall_ns: silences that are not waited through.
        min_speed: of a stream; None costs nothing.
        answer_ns: the same for an answer that is no stream; 0: as long as there is time.
    """

    __slots__ = (
        "acquire",
        "all",
        "answer_ns",
        "book",
        "cannot",
        "connect_ns",
        "core",
        "finish",
        "first_token_ns",
        "is_last",
        "links",
        "min_speed",
        "name",
        "others",
        "retry",
        "retry_allowed",
        "stall_ns",
        "watch",
    )

    def __init__(
        self,
        *,
        name: str,
        router: Router,
        links: list[Link],
        settings: Defaults,
        is_last: bool,
        finish: Finish,
        watch: Watch,
        book: Book | None = None,
    ) -> None:
        self.name = name
        self.core = router.core
        self.acquire = router.acquire
        self.retry_allowed = router.retry_allowed
        self.links = links
        self.retry = settings.retry
        self.connect_ns = int(settings.connect_s * _NS)
        self.first_token_ns = int(settings.first_token_s * _NS)
        self.answer_ns = int((settings.answer_s or 0) * _NS)
        self.stall_ns = int(settings.stall_s * _NS)
        self.min_speed = settings.min_speed
        self.is_last = is_last
        self.finish = finish
        self.watch = watch
        self.book = book
        self.others: Mapping[int, int] = {}
        self.all = (1 << min(len(links), MASK_BITS + 1)) - 1
        doors = {door for link in links for door in link.heads}
        self.cannot = {door: sum({1 << (at & MASK_BITS) for at, link in enumerate(links) if door not in link.heads}) for door in doors}

    def patience_ns(self, left_ns: int, *, stream: bool, tries: int, tried: int) -> int:
        """How long one try may take to begin its answer.

        Args:
            left_ns: what was left of the deadline when it was sent.
            stream: whether the answer is one.
            tries: made so far in this pool, this one included.
            tried: the positions they took.
        """
        most_ns = self.first_token_ns if stream else self.answer_ns
        if not stream and most_ns:
            return most_ns
        others = not self.is_last or (tries < self.retry.attempts and bool(self.all & ~tried))
        room_ns = left_ns // 2 if others else left_ns
        return min(most_ns, room_ns) if stream else room_ns

    def start(self, call: Call, failed: Failed) -> None:
        """Make the tries of `call` in this pool: what plans start."""
        Attempts(call, self, failed).start()
