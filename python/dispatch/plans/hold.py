"""Bytes of a stream that its client does not get yet."""

from __future__ import annotations

from typing import Protocol

__all__ = ["WHOLE", "Held", "Room"]

WHOLE = -1
"""As a number of deltas to hold: all of them."""


class Room(Protocol):
    """The memory of this worker for what is held."""

    def hold(self, size: int) -> bool:
        """Take `size` bytes of it. False: there is not so much left."""

    def free(self, size: int) -> None: ...


class Held:
    """What is held of one stream, counted against the memory of its worker.

    Attributes:
        size: bytes.
    """

    __slots__ = ("_parts", "_room", "size")

    def __init__(self, room: Room) -> None:
        self._parts: list[bytes] = []
        self._room = room
        self.size = 0

    def keep(self, data: bytes) -> bool:
        """Hold `data` as well. False: there is no room for it."""
        if not self._room.hold(len(data)):
            return False
        self._parts.append(data)
        self.size += len(data)
        return True

    def release(self) -> bytes:
        """Return what was held, and hold it no more."""
        data = b"".join(self._parts)
        self._room.free(self.size)
        self._parts.clear()
        self.size = 0
        return data
