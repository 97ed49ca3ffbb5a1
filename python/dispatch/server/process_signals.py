"""Signals of the process as bytes on a socket, so that a selector waits for them like for anything else."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

__all__ = ["WokenBySignals"]

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class WokenBySignals:
    """While entered, each signal wakes the selector by a byte that is its number; the handlers themselves do nothing."""

    def __init__(self, woken: socket.socket) -> None:
        self._woken = woken
        self._before: dict[int, Any] = {}
        self._fd = -1

    def __enter__(self) -> None:
        self._woken.setblocking(False)
        for number in CAUGHT:
            self._before[number] = signal.signal(number, lambda *_: None)
        self._fd = signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._fd)
        for number, handler in self._before.items():
            signal.signal(number, handler)
