"""Functions of the configuration's author, run aside: the loop never waits for one, and a request never longer than its time.

A coroutine is cancelled when its time is over. A plain function runs in a thread, and Python cannot stop a thread: what it returns late is
dropped, and it keeps one of the places of its function until it returns, so that one that hangs takes so many threads and no more. Threads
are daemons: none keeps a worker from ending.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["PLACES", "Aside"]

PLACES = 32
"""Threads that one function may have in a worker; the next call waits for a place, within its own time."""


class Aside:
    """One function.

    Args:
        function: plain or `async`.
        name: of its threads.
    """

    __slots__ = ("_function", "_is_async", "_name", "_places")

    def __init__(self, function: Callable[..., object], name: str) -> None:
        call = function if inspect.isroutine(function) else type(function).__call__
        self._function = function
        self._is_async = inspect.iscoroutinefunction(call)
        self._name = name
        self._places = asyncio.Semaphore(PLACES)

    async def call(self, timeout_s: float, *values: object) -> object:
        """What it returns.

        Raises:
            TimeoutError: it did not return in time, or no place became free.
            Exception: whatever it raises, a `TimeoutError` of its own among them.
        """
        async with asyncio.timeout(timeout_s):
            if self._is_async:
                return await cast("Awaitable[object]", self._function(*values))
            await self._places.acquire()
            found = await _Thread(self._function, values, self._places.release).run(self._name)
            # A plain function may return what is to be awaited.
            return await found if inspect.isawaitable(found) else found


class _Thread:
    """One call in a thread of its own."""

    __slots__ = ("_function", "_future", "_leave", "_loop", "_values")

    def __init__(self, function: Callable[..., object], values: tuple[object, ...], leave: Callable[[], None]) -> None:
        self._function = function
        self._values = values
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[object] = self._loop.create_future()

    async def run(self, name: str) -> object:
        """Start it, and wait for what it returns."""
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except BaseException:
            self._leave()
            raise
        return await self._future

    def _work(self) -> None:
        found: object = None
        fault: Exception | None = None
        try:
            found = self._function(*self._values)
        except BaseException as error:  # noqa: BLE001  # `SystemExit` would end this thread alone, and nobody would be told
            fault = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
        try:
            self._loop.call_soon_threadsafe(self._on_over, found, fault)
        except RuntimeError:
            # The loop has ended before the thread.
            return

    def _on_over(self, found: object, fault: Exception | None) -> None:
        self._leave()
        if self._future.done():
            return
        if isinstance(fault, StopIteration):
            # A future takes no such exception.
            fault = RuntimeError("StopIteration")
        if fault is None:
            self._future.set_result(found)
        else:
            self._future.set_exception(fault)
