"""What wakes a worker that waits for a place: a descriptor that is readable once somebody has rung.

An `eventfd` where there is one, else a pipe. The supervisor makes one for each worker, and all inherit all of them; a process that is alone
makes its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatch._core import Board

__all__ = ["Bell", "make"]

_READ_BYTES = 4096


class Bell:
    """The end that is listened to.

    Args:
        fd: not blocking; closed with this.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def alone(cls, board: Board) -> Bell:
        """The bell of the only process that works on a board."""
        reading, writing = make()
        board.hang_bells([writing])
        if writing != reading:
            os.close(writing)
        return cls(reading)

    def silence(self) -> None:
        """Take note: it is readable again at the next ring."""
        try:
            os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Listen no more."""
        os.close(self.fd)


def make() -> tuple[int, int]:
    """Return the end to listen to and the end to ring, which may be the same; neither blocks, neither is inherited."""
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return fd, fd
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    return reading, writing
