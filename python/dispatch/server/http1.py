"""A client's connection: requests in, answers out, one at a time and in order.

It is the sink of its call: what an upstream connection yields is written to this client's transport in the same callback.
The client's side is never paused while its answer runs, because a paused socket reports neither FIN nor RST and a client
that left would go on costing money (CONTRACT section 1).
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from dispatch.errors import BadRequest, DispatchError
from dispatch.server.answers import CONTINUE, STATUS_LINES, comment, error_answer, error_event, late_notes, stream_head
from dispatch.server.front import DOORS
from dispatch.server.openai_api import Door
from dispatch.server.plain import TAKEN, take
from dispatch.server.resets import reset
from dispatch.wire.http1 import COMPLETE, EXPECT_CONTINUE, HAS_BODY, HAS_ORIGIN, KEEP_ALIVE, BodyError, ProtocolError, Scan

if TYPE_CHECKING:
    from dispatch.exchange import Answer, Call
    from dispatch.server.front import Front
    from dispatch.server.plain import PlainRequest
    from dispatch.wire.http1 import Inbound

__all__ = ["ClientConnection"]

BYTE_NS = 1_000_000
"""What a byte of a request may take on average, `server.read_timeout_s` aside: a thousand bytes a second, as nobody is who means it."""

HEAD, NOTES = 2, 1
"""What is owed to the client of a stream before its next bytes."""


class ClientConnection(asyncio.Protocol):
    """See the module. `call` is the request being answered, None between requests; `keeps`: the connection outlives its answer."""

    __slots__ = (
        "_begun",
        "_begun_ns",
        "_owed",
        "_reserved",
        "_unread_bytes",
        "_waits",
        "call",
        "cors",
        "feed",
        "front",
        "is_reading",
        "keeps",
        "paused_ns",
        "peer",
        "reader",
        "received_ns",
        "touched_ns",
        "transport",
    )

    def __init__(self, front: Front) -> None:
        self.front = front
        self.reader = front.new_reader()
        self.feed = self.reader.feed
        self.transport: Any = None
        self.peer = ""
        self.call: Call | PlainRequest | None = None
        self.received_ns = 0
        self.touched_ns = 0
        self.paused_ns = 0
        self._begun: Inbound | None = None
        self._begun_ns = 0
        self._owed = HEAD
        self.keeps = True
        self._reserved = 0
        self._waits = False
        self._unread_bytes = 0
        self.is_reading = False
        self.cors = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.touched_ns = monotonic_ns()
        self.front.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.front.connections.discard(self)
        self._has_all()
        call, self.call = self.call, None
        if call is not None:
            self.front.dispatcher.cancel(call.as_call())

    def data_received(self, data: bytes) -> None:
        self.received_ns = self.touched_ns = monotonic_ns()
        try:
            inbound = self.feed(data)
        except ProtocolError as error:
            self._refuse_bytes(error)
            return
        if inbound is not None:
            self._on_request(inbound)
        elif self.call is None:
            self._on_more()

    def _on_request(self, inbound: Inbound) -> None:
        flags = inbound.flags
        front = self.front
        self.keeps = bool(flags & KEEP_ALIVE) and not front.dispatcher.draining
        self._owed = HEAD
        self.cors = b""
        try:
            if not flags & COMPLETE:
                self._on_head(inbound)
                return
            if self.is_reading:
                self._has_all()
            scan = None
            if front.lane is not None:
                scan = take(front, front.lane, self, inbound)
                if scan is TAKEN:
                    return
            door = DOORS.get(inbound.line)
            if isinstance(scan, Scan) and isinstance(door, Door):
                door(front, self, inbound, scan)
            elif door is not None and not flags & HAS_ORIGIN:
                door(front, self, inbound)
            else:
                front.serve_other(self, inbound, door)
        except DispatchError as error:
            self._refuse_request(inbound.line, error)
        except BodyError as error:
            self._refuse_request(inbound.line, BadRequest(str(error), code=error.code, param=error.param))

    def _on_head(self, inbound: Inbound) -> None:
        """The body is still to come: refuse what is wrong already, make room, say that we go on."""
        front = self.front
        self.keeps = False
        front.check_head(self, inbound)
        if inbound.flags & HAS_BODY:
            self._release()
            size = max(inbound.content_length, self.reader.pending)
            if not front.room.take(size):
                self._begun = inbound
                self._wait_for_room(size)
                return
            self._reserved = size
        self._begin(inbound)

    def _begin(self, inbound: Inbound) -> None:
        # Only now: where a body is refused, the next request would begin amid it.
        self.keeps = bool(inbound.flags & KEEP_ALIVE)
        self._await_more()
        if inbound.flags & EXPECT_CONTINUE:
            self.transport.write(CONTINUE)

    def _on_more(self) -> None:
        """A part of a request has come: what no length announced takes its room as it grows."""
        self._await_more()
        grown = self.reader.pending - self._reserved
        if grown > 0:
            if self.front.room.take(grown):
                self._reserved += grown
            else:
                self._wait_for_room(grown)

    def _wait_for_room(self, size: int) -> None:
        self.transport.pause_reading()
        self.front.room.wait(size, self)

    @property
    def is_gone(self) -> bool:
        """Whether nothing more is read here."""
        return bool(self.transport.is_closing())

    def on_room(self, size: int) -> None:
        self._reserved += size
        self.transport.resume_reading()
        inbound, self._begun = self._begun, None
        if inbound is not None:
            self._begin(inbound)

    def on_no_room(self) -> None:
        self.keeps = False
        self.refuse(BadRequest("this worker's buffers are full", code="buffers_full", status=503))

    def _await_more(self) -> None:
        """A request has begun: its sender is watched for silence."""
        if not self.is_reading:
            self._begun_ns = self.touched_ns
        self.is_reading = True
        self.front.reading.add(self)

    def _has_all(self) -> None:
        self.is_reading = False
        self.front.reading.discard(self)
        self._release()

    def _release(self) -> None:
        if self._reserved:
            self.front.room.give(self._reserved)
            self._reserved = 0

    def eof_received(self) -> bool:
        """A client that ends its side has left: what runs for it is cancelled (CONTRACT section 1)."""
        call, self.call = self.call, None
        if call is not None:
            # Not left to `connection_lost`: that comes only when what was written has gone out, which may be never.
            self.front.dispatcher.cancel(call.as_call())
            self.reset()
        return False

    # The sink of a call.

    def on_answer(self, call: Call, answer: Answer) -> None:
        self.call = None
        transport = self.transport
        if transport.is_closing():
            return
        if self._owed != HEAD:
            # The head of a stream is out already: an answer that is no stream can only be told as an error event.
            self._break(call, BadRequest(answer.body[:300].decode("utf-8", "replace"), code="upstream_error", status=answer.status))
            return
        call.overhead_ns = overhead_ns = call.overhead_ns + monotonic_ns() - call.answered_ns
        extra = call.request_id + call.notes + call.lines
        if self.cors or not self.keeps:
            extra += self.own_lines
        transport.write(answer.compose(STATUS_LINES[answer.status], extra, overhead_ns // 1000))
        self._next()

    @property
    def own_lines(self) -> bytes:
        """Header lines that this connection adds to an answer."""
        return self.cors if self.keeps else self.cors + b"connection: close\r\n"

    def deliver(self, whole: bytes) -> None:
        """Write the whole answer of a plain request."""
        self.call = None
        if self.transport.is_closing():
            return
        self.transport.write(whole)
        if self.keeps:
            self._go_on()
        else:
            self._next()

    def on_chunk(self, call: Call, data: bytes) -> None:
        transport = self.transport
        if transport.is_closing():
            return
        if self._owed:
            data = self._stream_head(call) + data
        transport.write(data)

    def on_end(self, call: Call, tail: bytes) -> None:
        self.call = None
        transport = self.transport
        if transport.is_closing():
            return
        if self._owed:
            tail = self._stream_head(call) + tail
        if tail:
            transport.write(tail)
        self._next()

    def on_silence(self, call: Call) -> None:
        if self.transport.is_closing():
            return
        sign = comment(call.standing, call, self.front.dialect_of_door(call.door))
        if self._owed == HEAD:
            sign = self._stream_head(call) + sign
            # Who answers, and after how many attempts, is not known yet.
            self._owed = NOTES
        self.transport.write(sign)

    def on_error(self, call: Call, error: DispatchError) -> None:
        self.call = None
        if self.transport.is_closing():
            return
        if self._owed != HEAD:
            self._break(call, error)
        else:
            self.refuse(error, self.front.dialect_of_door(call.door), call)

    def _stream_head(self, call: Call) -> bytes:
        """What goes before the bytes of a stream: its head, or what was not known when that left."""
        dialect = self.front.dialect_of_door(call.door)
        owed, self._owed = self._owed, 0
        if owed == NOTES:
            return late_notes(call, dialect)
        if not call.chunked:
            self.keeps = False
        return stream_head(call, self.own_lines, dialect)

    def _break(self, call: Call, error: DispatchError) -> None:
        """A stream that cannot go on: the error as an event, and an end that no client takes for a clean one."""
        transport = self.transport
        told = self._stream_head(call) if self._owed and call.attempts else b""
        transport.write(told + error_event(error, self.front.dialect_of_door(call.door), call.chunked))
        if call.chunked:
            transport.close()
        else:
            # Without chunks a clean close is a clean end (RFC 9112 section 6.3), so it must not be clean.
            self.front.abort_when_flushed(self)

    def refuse(self, error: DispatchError, dialect: str = "openai", call: Call | None = None) -> None:
        """Answer with the error in the client's own dialect."""
        self.answer(error_answer(error, dialect, call, keep=self.keeps))

    def _refuse_request(self, line: bytes, error: DispatchError) -> None:
        """An answer to HEAD has no body, or the next answer would be read as one."""
        is_head = line.startswith(b"HEAD ")
        self.answer(error_answer(error, self.front.dialect_of(line), None, keep=self.keeps, head_only=is_head))

    def answer(self, whole: bytes) -> None:
        """Write a whole answer that this process made."""
        if self.transport.is_closing():
            return
        if self.cors:
            line, end, rest = whole.partition(b"\r\n")
            whole = line + end + self.cors + rest
        self.transport.write(whole)
        self._next()

    def _refuse_bytes(self, error: ProtocolError) -> None:
        """The bytes are no HTTP that we accept: where the next request would begin is unknown, so the connection ends."""
        self.keeps = False
        self._has_all()
        if self.call is not None or not error.status:
            self.reset()
        else:
            self.refuse(BadRequest(error.message, code=error.code, status=error.status))

    def is_late(self, now_ns: int, allowed_ns: int) -> bool:
        """Whether the sender of a request has been silent for as long as is allowed, or is too slow all in all."""
        return now_ns - self.touched_ns > allowed_ns or now_ns - self._begun_ns > allowed_ns + self.reader.pending * BYTE_NS

    def time_out(self) -> None:
        """The client has begun a request and fell silent, or sends it too slowly."""
        self.keeps = False
        self.refuse(BadRequest("the request did not arrive in time", code="request_timeout", status=408))

    def end_after_answer(self) -> None:
        """This connection takes no further request."""
        self.keeps = False

    def reset(self) -> None:
        """End the connection by RST."""
        reset(self.transport)

    def has_taken(self, now_ns: int) -> bool:
        """Whether a client that could not take everything has taken some of it since this was last asked."""
        before, self._unread_bytes = self._unread_bytes, self.transport.get_write_buffer_size()
        if self._unread_bytes >= before:
            return False
        self.paused_ns = now_ns
        return True

    def _next(self) -> None:
        if not self.keeps:
            self._has_all()
            self.transport.close()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Take up what a pipelining client sent ahead; in the loop's next round, so that a thousand requests do not nest."""
        if self.paused_ns:
            # It has not taken the answers that it got: no further one is made before it has.
            self._waits = True
            return
        try:
            inbound = self.reader.next()
        except ProtocolError as error:
            self._refuse_bytes(error)
            return
        if inbound is not None:
            asyncio.get_running_loop().call_soon(self._on_pipelined, inbound)
        elif self.reader.pending:
            self._await_more()

    def _on_pipelined(self, inbound: Inbound) -> None:
        if not self.transport.is_closing():
            self.received_ns = self.touched_ns = monotonic_ns()
            self._on_request(inbound)

    def pause_writing(self) -> None:
        self.paused_ns = monotonic_ns()
        call = self.call
        if call is not None and call.run is not None:
            call.run.pause()

    def resume_writing(self) -> None:
        self.paused_ns = self._unread_bytes = 0
        call = self.call
        if call is not None and call.run is not None:
            call.run.resume()
        elif self._waits:
            self._waits = False
            self._go_on()
