"""An origin without a socket whose answers a program makes: `provider: function`.

The loop never waits for it: coroutines are tasks, plain functions and generators run in threads of their own, which are daemons, since
one that hangs must not keep a worker from ending. What it returns is written as an answer of OpenAI's chat, and read like any other.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextlib import aclosing
from secrets import token_hex
from time import time
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.chat.answers import write_answer
from dispatch.dialects.chat.stream import ChatWriter
from dispatch.dialects.form import (
    Answer,
    Choice,
    Finish,
    Start,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolBegin,
    ToolDelta,
    ToolUse,
    UsageReport,
)
from dispatch.dialects.form import Usage as Used
from dispatch.dialects.target import Losses
from dispatch.errors import DispatchError
from dispatch.providers.base import options_of
from dispatch.providers.function import Ask, Fault, Options, load_handler
from dispatch.transport.connection import UpstreamConnection
from dispatch.transport.posted import Posted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from dispatch.config import Endpoint
    from dispatch.dialects.form import Event, Part
    from dispatch.transport.connection import Receiver
    from dispatch.wire.rope import InPieces

__all__ = ["ProgramOrigin", "program_of"]

_AHEAD = 64
"""Pieces that a thread may be ahead of the client."""
_MESSAGE = frozenset(("content", "reasoning", "tool_calls", "role"))
"""Members of a message; a value with others is answered as JSON."""
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
_REASONS = {400: "Bad Request", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


class ProgramOrigin:
    """Answers by a handler.

    Args:
        name: the endpoint's.
        handler: see `dispatch.providers.function`.
        options: its limits.
    """

    def __init__(self, name: str, handler: Callable[[Ask], Any], options: Options) -> None:
        self.name = name
        self.handler = handler
        self.options = options
        self.busy = 0
        self._runs: set[_Run] = set()
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<ProgramOrigin {self.name}>"

    def send(self, request: bytes, receiver: Receiver) -> None:
        """Start the program in the loop's next round, never inside this call."""
        connection = UpstreamConnection(self)
        run = _Run(self, connection)
        connection.transport = run
        self._runs.add(run)
        connection.start(request, receiver)

    def send_pieces(self, request: InPieces, receiver: Receiver) -> None:
        """The same for a request that is not in one piece."""
        self.send(request.whole(), receiver)

    def on_connected(self, connection: UpstreamConnection) -> None:
        """There is nothing to connect."""

    def release(self, connection: UpstreamConnection) -> None:
        """Nothing to keep."""

    def await_end(self, connection: UpstreamConnection) -> None:
        """Nothing follows that is waited for."""
        connection.close()

    def on_lost(self, connection: UpstreamConnection) -> None:
        """It is over."""
        self._runs.discard(connection.transport)

    def on_refused(self) -> None:
        """There is no credential to fetch anew."""

    def sweep(self, now_ns: int) -> None:
        """Nothing falls idle."""

    def close(self) -> None:
        """Cancel what runs."""
        for run in [*self._runs]:
            run.close()
        if isinstance(self.handler, Posted):
            self._closing = asyncio.get_running_loop().create_task(self.handler.close())

    async def wait_closed(self) -> None:
        """Threads are not waited for."""
        if self._closing is not None:
            await self._closing


def program_of(endpoint: Endpoint) -> ProgramOrigin:
    """The origin of an endpoint whose provider is `function`. Raises `ConfigError`."""
    options = options_of(endpoint, Options)
    handler = load_handler(options.handler) if options.handler else Posted(endpoint.base_url, options.max_bytes)
    return ProgramOrigin(endpoint.name, handler, options)


class _Run:
    """The transport of one call."""

    def __init__(self, origin: ProgramOrigin, connection: UpstreamConnection) -> None:
        self._origin = origin
        self._connection = connection
        self._task: asyncio.Task[None] | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._closed = False

    def write(self, data: bytes) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(data))

    async def _run(self, request: bytes) -> None:
        is_begun = False
        try:
            async with _Place(self._origin), aclosing(_answer(self._origin, Ask.read(request))) as pieces:
                async for piece in pieces:
                    await self._flows.wait()
                    is_begun = True
                    self._connection.data_received(piece)
        except Exception as error:  # noqa: BLE001  # whatever a program raises, the call has to end
            self._connection.data_received(_failed(error, is_begun=is_begun))
        self._task = None
        self.close()

    def pause_reading(self) -> None:
        self._flows.clear()

    def resume_reading(self) -> None:
        self._flows.set()

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._task is not None:
                self._task.cancel()
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    abort = close


class _Place:
    """One of the calls at once that an endpoint allows."""

    def __init__(self, origin: ProgramOrigin) -> None:
        self._origin = origin

    async def __aenter__(self) -> None:
        most = self._origin.options.concurrency
        if self._origin.busy >= most:
            raise Fault(503, f"{most} calls run already", "overloaded")
        self._origin.busy += 1

    async def __aexit__(self, *_: object) -> None:
        self._origin.busy -= 1


async def _answer(origin: ProgramOrigin, ask: Ask) -> AsyncGenerator[bytes]:
    """The bytes of an HTTP answer: in pieces for a stream."""
    known, now_s = f"fn_{token_hex(12)}", int(time())
    writer = ChatWriter(now_s, wants_usage=True)
    parts: list[Part] = []
    size = 0
    head = _STREAM_HEAD
    writer.write([Start(known, ask.model, None, now_s)])
    async with aclosing(_timed(_pieces(origin, ask), origin.options.timeout_s)) as pieces:
        async for piece in pieces:
            found = _parts(piece, len(parts))
            size += sum(len(_shown(part)) for part in found)
            if size > origin.options.max_bytes:
                raise Fault(502, f"its answer is longer than {origin.options.max_bytes} bytes", "answer_too_large")
            parts += found
            if ask.stream and (data := writer.write(_events(found, parts))):
                # Not before there is something: until then a failure has a status of its own.
                yield head + _chunk(data)
                head = b""
    finish = "tool" if any(isinstance(part, ToolUse) for part in parts) else "stop"
    if ask.stream:
        yield head + _chunk(writer.write([Finish(finish), UsageReport(Used())]) + writer.end()) + b"0\r\n\r\n"
        return
    answer = Answer(id=known, model=ask.model, choices=[Choice(parts=parts, finish=finish)], usage=Used(), created=now_s)
    yield _whole(200, write_answer(answer, now_s, Losses(drops=True)))


async def _timed(found: AsyncGenerator[Any], timeout_s: float) -> AsyncGenerator[Any]:
    async with aclosing(found) as pieces:
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    piece = await anext(pieces)
            except TimeoutError:
                raise Fault(504, f"no answer within {timeout_s:g} s", "timeout") from None
            except StopAsyncIteration:
                return
            yield piece


async def _pieces(origin: ProgramOrigin, ask: Ask) -> AsyncGenerator[Any]:
    """What the handler gives: one value, or those of its iterator."""
    handler = origin.handler
    call = handler if inspect.isroutine(handler) else type(handler).__call__
    if inspect.isasyncgenfunction(call) or inspect.iscoroutinefunction(call):
        found = handler(ask)
    else:
        found = _Thread(origin, lambda: handler(ask)).pieces()
    if inspect.isawaitable(found):
        found = await found
    if hasattr(found, "__next__"):
        found = _Thread(origin, lambda: found).pieces()
    if not hasattr(found, "__aiter__"):
        yield found
        return
    async for piece in found:
        # A plain function may return what is to be awaited.
        yield (await piece) if inspect.isawaitable(piece) else piece


class _Thread:
    """Runs a plain function, and the iterator that it may return, in a thread of its own."""

    def __init__(self, origin: ProgramOrigin, call: Callable[[], Any]) -> None:
        self._origin = origin
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._stopped = threading.Event()
        self._is_over = False
        self._is_left = False

    async def pieces(self) -> AsyncGenerator[Any]:
        """What it gives, as it comes."""
        threading.Thread(target=self._work, name=f"function-{self._origin.name}", daemon=True).start()
        try:
            while True:
                kind, value = await self._told.get()
                self._room.release()
                if kind == "end":
                    return
                if kind == "error":
                    raise value
                yield value
        finally:
            self._stopped.set()
            self._room.release()
            if not self._is_over:
                # A thread that does not come back keeps its place.
                self._is_left = True
                self._origin.busy += 1

    def _work(self) -> None:
        try:
            found = self._call()
            for piece in found if hasattr(found, "__next__") else (found,):
                self._tell("piece", piece)
                self._room.acquire()
                if self._stopped.is_set():
                    break
            self._tell("end", None)
        except BaseException as error:  # noqa: BLE001  # told to the loop, which knows what to do with it
            self._tell("error", error)
        self._send(self._on_over)

    def _tell(self, kind: str, value: object) -> None:
        self._send(self._told.put_nowait, (kind, value))

    def _send(self, call: Callable[..., None], *values: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *values)
        except RuntimeError:
            # The loop has ended before the thread.
            self._stopped.set()

    def _on_over(self) -> None:
        self._is_over = True
        if self._is_left:
            self._origin.busy -= 1


def _parts(value: Any, before: int) -> list[Part]:
    """What a handler returned, as parts of a message."""
    if value is None:
        return []
    if isinstance(value, str):
        return [Text(text=value)]
    if not isinstance(value, dict) or not value or not value.keys() <= _MESSAGE:
        return [Text(text=msgspec.json.encode(value).decode())]
    parts: list[Part] = [Thinking(text=str(value["reasoning"]))] if value.get("reasoning") else []
    if value.get("content"):
        parts.append(Text(text=str(value["content"])))
    return parts + [_call(call, before + at) for at, call in enumerate(value.get("tool_calls") or ())]


def _call(tree: Any, number: int) -> ToolUse:
    inside = tree.get("function") or tree
    arguments = inside.get("arguments") or {}
    written = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return ToolUse(id=tree.get("id") or f"call_{token_hex(6)}_{number}", name=str(inside.get("name") or ""), arguments=written)


def _shown(part: Part) -> str:
    return part.arguments if isinstance(part, ToolUse) else getattr(part, "text", "")


def _events(found: list[Part], parts: list[Part]) -> list[Event]:
    """The same as events; `parts` are all so far, these among them."""
    calls = [part for part in parts if isinstance(part, ToolUse)]
    events: list[Event] = []
    for part in found:
        if isinstance(part, ToolUse):
            place = next(at for at, call in enumerate(calls) if call is part)
            events += [ToolBegin(place, part.id, part.name), ToolDelta(place, part.arguments)]
        elif isinstance(part, Thinking):
            events.append(ThinkingDelta(part.text))
        elif isinstance(part, Text) and part.text:
            events.append(TextDelta(part.text))
    return events


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _whole(status: int, body: bytes) -> bytes:
    line = b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, "OK" if status == 200 else "Failed").encode())
    return b"%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (line, len(body), body)


def _failed(error: Exception, *, is_begun: bool) -> bytes:
    """An exception of a program as an answer, or as the last event of a stream."""
    status, code = 500, "program_failed"
    if isinstance(error, DispatchError | Fault):
        status, code, message = error.status, error.code, str(error)
    else:
        message = f"{type(error).__name__}: {error}"
    kind = "invalid_request_error" if status < 500 else "overloaded_error" if status == 503 else "server_error"
    body = msgspec.json.encode({"error": {"message": message, "type": kind, "code": code, "param": getattr(error, "param", None)}})
    return _chunk(b"data: %b\n\n" % body) if is_begun else _whole(status, body)
