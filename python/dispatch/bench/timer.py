"""A timer finer than a millisecond, which is what event loops offer.

A load generator that sends up to a millisecond late measures itself. On Linux this is a timerfd that the loop polls like a
socket; elsewhere the loop's own timer must do, and the report's send lag shows what it costs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Timer"]

_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1
"""TFD_TIMER_ABSTIME of timerfd_settime(2)."""
_NS: Final = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """Calls back once at a time of `time.monotonic()`; asking again replaces what was asked before."""

    __slots__ = ("_call", "_descriptor", "_handle", "_libc", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
        self._loop = loop
        self._call = call
        self._handle: asyncio.TimerHandle | None = None
        self._descriptor = -1
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._descriptor = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor >= 0:
            loop.add_reader(self._descriptor, self._expired)

    def at(self, when_s: float) -> None:
        """Call back at `when_s`, or as soon as possible if that has passed."""
        if self._descriptor < 0:
            if self._handle is not None:
                self._handle.cancel()
            self._handle = self._loop.call_later(max(0.0, when_s - time.monotonic()), self._call)
            return
        when_ns = max(1, int(when_s * _NS))  # zero would disarm it
        setting = _Itimerspec(_Timespec(0, 0), _Timespec(when_ns // _NS, when_ns % _NS))
        self._libc.timerfd_settime(self._descriptor, _ABSOLUTE, ctypes.byref(setting), None)

    def close(self) -> None:
        """Call back no more."""
        if self._handle is not None:
            self._handle.cancel()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _expired(self) -> None:
        with contextlib.suppress(BlockingIOError):  # set anew between the poll and this read
            os.read(self._descriptor, 8)
        self._call()
