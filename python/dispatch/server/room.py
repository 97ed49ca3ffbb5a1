"""The memory of one worker for bodies that are on their way in, and who waits for some of it.

A body that has no room is not read: its sender's connection pauses. It gets what others give back within `WAIT_S`, or 503.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WAIT_S", "Guest", "Room"]

WAIT_S = 1.0
"""How long a body waits for room."""
POLL_S = 0.02
"""How often it is looked for, while somebody waits: what is held for other reasons is given back without a word."""


class Guest(Protocol):
    """Who wants room for a body."""

    @property
    def is_gone(self) -> bool: ...
    def on_room(self, size: int) -> None:
        """So many bytes are taken for it."""

    def on_no_room(self) -> None:
        """There was none in time."""


class Room:
    """See the module.

    Args:
        free: bytes of this worker that nobody else holds, for bodies to share.

    Attributes:
        taken: bytes.
    """

    __slots__ = ("_free", "_is_looking", "_waiting", "taken")

    def __init__(self, free: Callable[[], int]) -> None:
        self._free = free
        self._is_looking = False
        self._waiting: list[tuple[float, int, Guest]] = []
        self.taken = 0

    def take(self, size: int) -> bool:
        """Take `size` bytes. False: there is no room for them."""
        if self.taken + size > self._free():
            return False
        self.taken += size
        return True

    def give(self, size: int) -> None:
        """Give them back."""
        self.taken -= size

    def wait(self, size: int, guest: Guest) -> None:
        """Wait for room; one of the guest's methods is called, unless it has gone."""
        self._waiting.append((monotonic() + WAIT_S, size, guest))
        if not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_later(POLL_S, self._look)

    def _look(self) -> None:
        waiting, self._waiting = self._waiting, []
        now_s = monotonic()
        for until_s, size, guest in waiting:
            if guest.is_gone:
                continue
            if self.take(size):
                guest.on_room(size)
            elif now_s >= until_s:
                guest.on_no_room()
            else:
                self._waiting.append((until_s, size, guest))
        self._is_looking = bool(self._waiting)
        if self._is_looking:
            asyncio.get_running_loop().call_later(POLL_S, self._look)
