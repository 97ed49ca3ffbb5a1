"""The engine inside the caller's event loop: a request costs no hop at all.

The sinks here are a future, for a whole answer, and a bounded queue of bytes, for a stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, Self

from dispatch.errors import BadRequest, DispatchError, Draining
from dispatch.exchange import Call
from dispatch.judgement import learn
from dispatch.lane import door_generates
from dispatch.policy.users import user_named
from dispatch.wire.http1 import INCLUDE_USAGE_TRUE, BodyError, Scan

if TYPE_CHECKING:
    from dispatch.dispatcher import Dispatcher
    from dispatch.exchange import Answer
    from dispatch.generation import KeyEntry

__all__ = ["LocalEngine", "Stream"]

HIGH_WATER_BYTES = 256 * 1024
"""A reader that falls this far behind pauses its upstream; at half of it, reading goes on."""

_NS = 1_000_000_000


class _Whole:
    """A future as a sink."""

    __slots__ = ("future", "is_over")

    def __init__(self) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.is_over = False

    def on_answer(self, call: Call, answer: Answer) -> None:
        self.is_over = True
        if not self.future.done():
            self.future.set_result(answer)

    def on_error(self, call: Call, error: DispatchError) -> None:
        self.is_over = True
        if not self.future.done():
            self.future.set_exception(error)

    def on_chunk(self, call: Call, data: bytes) -> None:
        raise AssertionError("a whole answer has no chunks")

    def on_end(self, call: Call, tail: bytes) -> None:
        raise AssertionError("a whole answer has no end of its own")

    def on_silence(self, call: Call) -> None:
        """Nobody needs to be kept awake in process."""


class Stream:
    """The bytes of a stream, as an async iterator. Leaving it early (`aclose`) cancels the request upstream.

    Attributes:
        call: what happened so far: the endpoint that answers, the attempts that it took.
        answer: the answer of an endpoint that does not stream; its body is the only piece.
    """

    __slots__ = ("_bytes", "_dispatcher", "_error", "_is_over", "_is_paused", "_parts", "_ready", "answer", "call")

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._parts: deque[bytes] = deque()
        self._bytes = 0
        self._ready = asyncio.Event()
        self._is_over = False
        self._is_paused = False
        self._error: DispatchError | None = None
        self.call: Call
        self.answer: Answer | None = None

    def __repr__(self) -> str:
        state = "over" if self._is_over else "paused" if self._is_paused else "open"
        return f"<Stream: {state}, {self._bytes} bytes to read>"

    def on_answer(self, call: Call, answer: Answer) -> None:
        self.answer = answer
        self._end(answer.body)

    def on_chunk(self, call: Call, data: bytes) -> None:
        self._parts.append(data)
        self._bytes += len(data)
        self._ready.set()
        if self._bytes > HIGH_WATER_BYTES and not self._is_paused and call.run is not None:
            self._is_paused = True
            call.run.pause()

    def on_end(self, call: Call, tail: bytes) -> None:
        self._end(tail)

    def _end(self, tail: bytes) -> None:
        if tail:
            self._parts.append(tail)
            self._bytes += len(tail)
        self._is_over = True
        self._ready.set()

    def on_error(self, call: Call, error: DispatchError) -> None:
        self._error = error
        self._end(b"")

    def on_silence(self, call: Call) -> None:
        """Nobody needs to be kept awake in process."""

    async def begun(self) -> None:
        """Wait for the first bytes. Raises the error if there is no answer at all."""
        await self._wait()
        if self._error is not None and not self._parts:
            raise self._error

    async def _wait(self) -> None:
        try:
            await self._ready.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._is_over:
                raise StopAsyncIteration
            self._ready.clear()
            await self._wait()
        part = self._parts.popleft()
        self._bytes -= len(part)
        if self._is_paused and self._bytes < HIGH_WATER_BYTES // 2 and self.call.run is not None:
            self._is_paused = False
            self.call.run.resume()
        return part

    def cancel(self) -> None:
        """Stop the request upstream, unless it is over."""
        if not self._is_over:
            self._is_over = True
            self._dispatcher.cancel(self.call)

    async def aclose(self) -> None:
        self.cancel()


class LocalEngine:
    """Answers requests of this process by its own dispatcher.

    Args:
        key: whose permissions and limits hold.
        credential: for endpoints that use the client's own.
    """

    def __init__(self, dispatcher: Dispatcher, key: KeyEntry, credential: str = "") -> None:
        self._dispatcher = dispatcher
        self._key = key
        self._credential = credential.encode()

    def scan(self, body: bytes) -> Scan:
        """Read what routing needs of a body. Raises `BadRequest`."""
        try:
            return Scan(body)
        except BodyError as error:
            raise BadRequest(error.message, code=error.code, param=error.param) from None

    async def request(self, door: str, scan: Scan, deadline_s: float | None = None) -> tuple[Answer, Call]:
        """Send a body to the model that it names; wait for the whole answer. Cancelling the wait cancels the request upstream.

        Raises:
            DispatchError: there is none. An answer of the provider that is an error comes as `UpstreamError`.
        """
        if scan.stream:
            raise BadRequest("the answer to a stream does not come whole", code="unsupported_parameter", param="stream")
        sink = _Whole()
        call = self._start(sink, door, scan, deadline_s)
        try:
            return await sink.future, call
        except asyncio.CancelledError:
            if not sink.is_over:
                self._dispatcher.cancel(call)
            raise

    def stream(self, door: str, scan: Scan, deadline_s: float | None = None) -> Stream:
        """Send a body that asks for a stream; its server-sent events come as bytes, at any cuts. Raises `DispatchError`."""
        sink = Stream(self._dispatcher)
        sink.call = self._start(sink, door, scan, deadline_s)
        return sink

    def feedback(self, decision: str, score: float) -> None:
        """Take in how good the answer of a decision was. Raises `BadRequest`: there is no such decision, or the score is not 0 to 1."""
        if not 0 <= score <= 1:
            raise BadRequest(f"score must be from 0 to 1, found {score}", param="score")
        found = self._dispatcher.decisions.find(decision)
        generation = self._dispatcher.generation
        if found is None or generation is None:
            raise BadRequest("there is no decision of this id, or it is too long ago", code="decision_not_found", status=404, param="id")
        self._dispatcher.decisions.rate(found, score)
        learn(found, score, generation.routes)

    def decision_of(self, call: Call) -> str:
        """The id of the record of a call; empty: it has none."""
        return self._dispatcher.decisions.name_of(call)

    def models(self) -> list[str]:
        """Names that the key may ask for."""
        generation = self._dispatcher.generation
        allowed = self._key.models
        assert generation is not None
        return [name for name in generation.listed if allowed is None or name in allowed]

    def _start(self, sink: _Whole | Stream, door: str, scan: Scan, deadline_s: float | None) -> Call:
        dispatcher = self._dispatcher
        if dispatcher.draining:
            raise Draining("the client is closed")
        generation = dispatcher.generation
        assert generation is not None
        name, is_stream, flags, text_bytes, max_tokens, n, affinity = scan.facts
        model, upstream_name = generation.find(name, self._key)
        now_ns = monotonic_ns()
        wait_ns = model.deadline_ns
        if deadline_s is not None:
            if not deadline_s > 0:
                raise BadRequest(f"deadline_s must be above 0, found {deadline_s}", param="deadline_s")
            wait_ns = int(min(wait_ns, deadline_s * _NS))
        call = Call(sink, name, door, scan, now_ns, now_ns + wait_ns)
        if model.is_noted:
            call.number = dispatcher.decisions.records.begin()
        call.upstream_name = upstream_name
        call.key = self._key.name
        call.credential = self._credential
        call.stream = is_stream
        call.chunked = False
        call.wants_usage = bool(flags & INCLUDE_USAGE_TRUE)
        call.affinity = affinity or self._key.affinity
        call.tokens_in, tokens_out = generation.expect(model, text_bytes, max_tokens, n)
        if door_generates(door):
            call.tokens_out = tokens_out
        key = self._key
        if key.secret:
            call.asker = key.asker(user_named(scan.body(b"", False)))
        dispatcher.dispatch(call, model, call.asker or key.slot)
        return call

    async def close(self) -> None:
        """End what is under way with an error that says so, and close all connections."""
        dispatcher = self._dispatcher
        dispatcher.draining = True
        ended = Draining("the client was closed before the answer was whole")
        for call in {attempts.as_call().root for attempts in [*dispatcher.watch]}:
            dispatcher.cancel(call)
            call.sink.on_error(call, ended)
        dispatcher.close()
        # The caller's loop may end with this; no socket shall stay behind.
        generation = dispatcher.generation
        assert generation is not None
        for origin in generation.origins.values():
            await origin.wait_closed()
        for kept in generation.caches.values():
            if kept.redis is not None:
                await kept.redis.wait_closed()
