"""One HTTP/1.1 connection to an upstream: bytes out, answers in, one request at a time.

A connection may serve again only after exactly one complete final answer with nothing left over (CONTRACT section 2).
Whatever else happens to it, it is closed, and its receiver is told once.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Protocol

from dispatch.errors import Failure
from dispatch.policy.retry import is_stale
from dispatch.wire import sse
from dispatch.wire.http1 import REUSABLE, STREAM, ProtocolError, ResponseReader
from dispatch.wire.rope import InPieces

if TYPE_CHECKING:
    from dispatch.exchange import Answer
    from dispatch.transport.pool import Waiting

__all__ = ["Owner", "Receiver", "UpstreamConnection"]

ANSWER_HEADERS = (
    b"content-type",
    b"x-request-id",
    b"request-id",
    b"apim-request-id",
    b"retry-after",
    b"retry-after-ms",
    b"openai-processing-ms",
    b"x-amzn-requestid",
)
"""What reaches the client. No cookies, no account headers (CONTRACT section 2)."""

MAX_HEAD_BYTES = 32 * 1024
MAX_FIELDS = 128
MAX_ANSWER_BYTES = 64 * 1024 * 1024


class Receiver(Protocol):
    """Who waits for an answer. One of the methods ends the wait; after that nothing follows."""

    connection: UpstreamConnection | None

    def on_answer(self, answer: Answer) -> None: ...
    def on_head(self, answer: Answer) -> None:
        """A stream begins: call `connection.start_stream` before returning."""

    def on_bytes(self, data: bytes) -> None:
        """What a network chunk of the stream yields for the client; may be empty."""

    def on_failure(self, failure: Failure, reason: str) -> None: ...


class Owner(Protocol):
    """The origin of a connection: a pool of sockets, or a provider in process."""

    def send(self, request: bytes, receiver: Receiver) -> Waiting | None:
        """Send now, or as soon as there is a connection; what is returned can be cancelled until then."""

    def send_pieces(self, request: Any, receiver: Receiver) -> Waiting | None:
        """The same for `InPieces`."""

    def on_connected(self, connection: UpstreamConnection) -> None: ...
    def on_lost(self, connection: UpstreamConnection) -> None: ...
    def release(self, connection: UpstreamConnection) -> None: ...
    def await_end(self, connection: UpstreamConnection) -> None: ...
    def on_refused(self) -> None:
        """The provider refused our credential."""

    def sweep(self, now_ns: int) -> None: ...
    def close(self) -> None: ...
    async def wait_closed(self) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """See the module. `receiver` is None while the connection is idle or finishing."""

    __slots__ = ("_forward", "expect", "feed", "idle_since_ns", "origin", "reader", "receiver", "streaming", "transport")

    def __init__(self, origin: Owner, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        self.origin = origin
        self.reader = ResponseReader(MAX_HEAD_BYTES, MAX_FIELDS, max_answer_bytes, ANSWER_HEADERS)
        self.feed = self.reader.feed
        self.expect = self.reader.expect
        self._forward = self.reader.forward
        self.receiver: Receiver | None = None
        self.transport: Any = None
        self.streaming = False
        self.idle_since_ns = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.origin.on_connected(self)

    def start(self, request: bytes, receiver: Receiver) -> None:
        """Send `request`; its answer goes to `receiver`."""
        self.receiver = receiver
        receiver.connection = self
        self.reader.expect()
        self.transport.write(request)
        if type(request) is InPieces:
            for piece in request.rest:
                self.transport.write(piece)

    def looks_stale(self, sent_ns: int) -> bool:
        """Whether it ended as a connection does that its server had closed while it was idle."""
        since_ns = self.idle_since_ns
        if not since_ns:
            return False
        return is_stale(idle_s=(sent_ns - since_ns) / 1e9, ended_after_s=(monotonic_ns() - sent_ns) / 1e9)

    def start_stream(self, inject: bool, chunked: bool, dialect: int) -> bytes:
        """From here on the answer is forwarded as it comes. Returns what its first bytes yield."""
        self.streaming = True
        self.reader.start_stream(inject, chunked, dialect)
        return self._forward(b"")

    def data_received(self, data: bytes) -> None:
        receiver = self.receiver
        if self.streaming:
            out = self._forward(data)
            if receiver is not None:
                receiver.on_bytes(out)
            elif self.reader.state & sse.ENDED:
                self._recycle()
            return
        if receiver is None:
            # A byte that nobody asked for: what follows on this connection cannot be trusted.
            self.close()
            return
        try:
            answer = self.feed(data)
        except ProtocolError as error:
            self._fail(Failure.TOO_LARGE if error.code == "answer_too_large" else Failure.MALFORMED, str(error))
            return
        if answer is None:
            return
        flags = answer.flags
        if flags & STREAM:
            receiver.on_head(answer)
            return
        self.receiver = None
        if flags & REUSABLE:
            self.origin.release(self)
        else:
            self.close()
        receiver.on_answer(answer)

    def finish(self) -> None:
        """The stream is complete for its client. The connection serves again if the message has ended, too."""
        self.receiver = None
        if self.reader.state & sse.ENDED:
            self._recycle()
        else:
            self.origin.await_end(self)

    def _recycle(self) -> None:
        self.receiver = None
        self.streaming = False
        if self.reader.is_reusable and not self.transport.is_closing():
            self.origin.release(self)
        else:
            self.close()

    def eof_received(self) -> bool:
        receiver = self.receiver
        if receiver is None or self.streaming:
            return False
        try:
            answer = self.reader.eof()
        except ProtocolError as error:
            self._fail(Failure.BROKEN, str(error))
            return False
        if answer is not None:
            self.receiver = None
            receiver.on_answer(answer)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.origin.on_lost(self)
        if self.receiver is None:
            return
        if self.streaming:
            self._end_stream()
        elif self.reader.has_bytes:
            self._fail(Failure.BROKEN, "the connection ended in the middle of the answer")
        else:
            self._fail(Failure.UNKNOWN_EXECUTION, "the connection ended before an answer")

    def _end_stream(self) -> None:
        """The connection ended in a stream; whether that stream is whole is the receiver's question."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            self.reader.eof()
            receiver.on_failure(Failure.BROKEN, "the stream ended without its end")

    def _fail(self, failure: Failure, reason: str) -> None:
        receiver, self.receiver = self.receiver, None
        self.close()
        if receiver is not None:
            receiver.on_failure(failure, reason)

    def cancel(self) -> None:
        """Nobody wants the answer any more: closing is the only way to tell an HTTP/1.1 upstream."""
        self.receiver = None
        self.close()

    def close(self) -> None:
        self.streaming = False
        self.transport.abort()

    def pause(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()
