"""The sinks of a plan's branches: a future for a whole answer, and one that passes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dispatch.errors import DispatchError
    from dispatch.exchange import Answer, Call

__all__ = ["Owner", "Passed", "Whole"]


class Owner(Protocol):
    """Whose client gets what is passed on (`course.Course`)."""

    call: Call

    def begin(self, branch: Call) -> None: ...
    def summed(self, data: bytes) -> bytes: ...
    def pass_end(self, branch: Call, answer: Answer | None, tail: bytes) -> None: ...


class Whole:
    """Waits for a whole answer."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def on_answer(self, call: Call, answer: Answer) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def on_error(self, call: Call, error: DispatchError) -> None:
        self.fail(call, error)

    def fail(self, call: Call, error: DispatchError) -> None:
        """There will be no answer."""
        if not self.future.done():
            self.future.set_exception(error)

    def on_chunk(self, call: Call, data: bytes) -> None:
        raise AssertionError("a whole answer has no chunks")

    def on_end(self, call: Call, tail: bytes) -> None:
        raise AssertionError("a whole answer has no end of its own")

    def on_silence(self, call: Call) -> None:
        """The plan keeps its client awake by itself."""


class Passed:
    """Passes on what comes; its future is done when all has gone out."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_answer(self, call: Call, answer: Answer) -> None:
        self._owner.pass_end(call, answer, b"")
        self._done()

    def on_chunk(self, call: Call, data: bytes) -> None:
        own = self._owner.call
        if not own.committed:
            self._owner.begin(call)
        own.sink.on_chunk(own, self._owner.summed(data))

    def on_end(self, call: Call, tail: bytes) -> None:
        self._owner.pass_end(call, None, tail)
        self._done()

    def on_silence(self, call: Call) -> None:
        """The plan keeps its client awake by itself."""

    def on_error(self, call: Call, error: DispatchError) -> None:
        self.fail(call, error)

    def fail(self, call: Call, error: DispatchError) -> None:
        """It broke, or there will be no answer."""
        if not self.future.done():
            self.future.set_exception(error)

    def _done(self) -> None:
        if not self.future.done():
            self.future.set_result(None)
