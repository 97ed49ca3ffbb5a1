"""The engine inside the caller's event loop: a request costs no hop at all.

The sinks here are a future, for a whole answer, and a bounded queue of bytes, for a stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.errors import BadRequest, DispatchError, InvalidKey
from dispatch.exchange import Call
from dispatch.wire.http1 import INCLUDE_USAGE_TRUE, BodyError, Scan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dispatch.dispatcher import Dispatcher
    from dispatch.exchange import Answer

__all__ = ["LocalEngine", "Stream"]

DEFAULT_OUTPUT_TOKENS = 256
BYTES_PER_TOKEN = 4
HIGH_WATER_BYTES = 256 * 1024
"""A reader that falls this far behind pauses its upstream."""


class _Whole:
    """A future as a sink."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def on_answer(self, call: Call, answer: Answer) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def on_error(self, call: Call, error: DispatchError) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def on_chunk(self, call: Call, data: bytes) -> None:
        raise AssertionError("a whole answer has no chunks")

    def on_end(self, call: Call, tail: bytes) -> None:
        raise AssertionError("a whole answer has no end of its own")

    def on_silence(self, call: Call) -> None:
        """Nobody needs to be kept awake in process."""


class Stream:
    """The bytes of a stream, as an async iterator. Leaving it early (`aclose`) cancels the request upstream."""

    __slots__ = ("_bytes", "_call", "_dispatcher", "_ended", "_error", "_parts", "_paused", "_ready", "answer")

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._parts: deque[bytes] = deque()
        self._bytes = 0
        self._ready = asyncio.Event()
        self._ended = False
        self._paused = False
        self._error: DispatchError | None = None
        self._call: Call | None = None
        self.answer: Answer | None = None

    def on_answer(self, call: Call, answer: Answer) -> None:
        """An endpoint that does not stream answered whole."""
        self.answer = answer
        self._end(answer.body)

    def on_chunk(self, call: Call, data: bytes) -> None:
        self._parts.append(data)
        self._bytes += len(data)
        self._ready.set()
        if self._bytes > HIGH_WATER_BYTES and not self._paused and call.run is not None:
            self._paused = True
            call.run.pause()

    def on_end(self, call: Call, tail: bytes) -> None:
        self._end(tail)

    def _end(self, tail: bytes) -> None:
        if tail:
            self._parts.append(tail)
        self._ended = True
        self._ready.set()

    def on_error(self, call: Call, error: DispatchError) -> None:
        self._error = error
        self._ended = True
        self._ready.set()

    def on_silence(self, call: Call) -> None:
        """Nobody needs to be kept awake in process."""

    def bind(self, call: Call) -> None:
        self._call = call

    @property
    def endpoint(self) -> str:
        """The endpoint that answers, once it has begun."""
        return "" if self._call is None else self._call.endpoint

    async def begun(self) -> None:
        """Wait for the first bytes. Raises the error if there is no answer at all."""
        await self._ready.wait()
        if self._error is not None and not self._parts:
            raise self._error

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._ready.clear()
            try:
                await self._ready.wait()
            except asyncio.CancelledError:
                self.cancel()
                raise
        part = self._parts.popleft()
        self._bytes -= len(part)
        call = self._call
        if self._paused and self._bytes < HIGH_WATER_BYTES // 2 and call is not None and call.run is not None:
            self._paused = False
            call.run.resume()
        return part

    def cancel(self) -> None:
        """Stop the request upstream, unless it is over."""
        call, self._call = self._call, None
        if call is not None and not self._ended:
            self._ended = True
            self._dispatcher.cancel(call)

    async def aclose(self) -> None:
        self.cancel()


class LocalEngine:
    """Answers requests of this process by its own dispatcher.

    Args:
        key: name of the configured key whose permissions and limits hold; None for a trusted caller.
    """

    def __init__(self, dispatcher: Dispatcher, key: str | None = None) -> None:
        self._dispatcher = dispatcher
        self._key = key

    async def request(self, door: str, body: bytes, deadline_s: float | None = None) -> tuple[Answer, Call]:
        """Send `body` to the model that it names; wait for the whole answer.

        Raises:
            DispatchError: there is none. An answer of the provider that is an error comes as `UpstreamError`.
        """
        sink = _Whole()
        call = self._start(sink, door, body, deadline_s)
        try:
            return await sink.future, call
        except asyncio.CancelledError:
            self._dispatcher.cancel(call)
            raise

    def stream(self, door: str, body: bytes, deadline_s: float | None = None) -> Stream:
        """Send `body`, which asks for a stream; its server-sent events come as bytes, at any cuts."""
        sink = Stream(self._dispatcher)
        sink.bind(self._start(sink, door, body, deadline_s))
        return sink

    def _start(self, sink: _Whole | Stream, door: str, body: bytes, deadline_s: float | None) -> Call:
        dispatcher = self._dispatcher
        generation = dispatcher.generation
        if generation is None:
            raise RuntimeError("the client is not open: use 'async with'")
        try:
            scan = Scan(body)
        except BodyError as error:
            raise BadRequest(str(error), code=error.code, param=error.param) from None
        key = generation.nobody if self._key is None else generation.key_named(self._key)
        if key is None:
            raise InvalidKey(f"no key named {self._key!r} is configured")
        name, is_stream, flags, text_bytes, max_output, affinity = scan.facts
        model, upstream_name = generation.find(name, key)
        now_ns = monotonic_ns()
        deadline_ns = now_ns + (model.deadline_ns if deadline_s is None else min(model.deadline_ns, int(deadline_s * 1e9)))
        call = Call(sink, name, door, scan, now_ns, deadline_ns)
        call.upstream_name = upstream_name
        call.key = key.name
        call.stream = is_stream
        call.chunked = False
        call.wants_usage = bool(flags & INCLUDE_USAGE_TRUE)
        call.affinity = affinity
        call.tokens_in = text_bytes // BYTES_PER_TOKEN + 1
        if door != "embeddings":
            call.tokens_out = max_output or DEFAULT_OUTPUT_TOKENS
        dispatcher.dispatch(call, model, key.slot)
        return call
