"""One WebSocket session between a client and an endpoint: from the place that it takes to the place that it gives back.

Its tokens are charged as its responses and transcriptions end, to the key, its user, the model and the endpoint. When a limit is spent, the
client is not read until there is room again; a session that would wait long is ended, and told why. All else is settled once, at the end,
whatever ends it.
"""

from __future__ import annotations

import asyncio
from random import getrandbits
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

from dispatch.errors import DispatchError, Failure, UpstreamError
from dispatch.links import endpoint_lines
from dispatch.replies import over_limit, refused
from dispatch.routing import Refusal
from dispatch.server.handshake import MAX_HEAD_BYTES, asked, checked
from dispatch.server.side import Side
from dispatch.transport.pool import NoCredential
from dispatch.wire.realtime import BEGUN, MARK, Spent, error_event, read
from dispatch.wire.websocket import BROKEN, GOING_AWAY, TOO_LONG, TRY_LATER, Frames, accept_of, close_frame, text_frame

if TYPE_CHECKING:
    from dispatch.attempt import Attempts
    from dispatch.exchange import Call
    from dispatch.generation import Generation
    from dispatch.links import Link
    from dispatch.pools import Pool
    from dispatch.routing import Lease
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound

__all__ = ["HOLD_S", "Session"]

HOLD_S = 30.0
"""A client whose limit is spent for longer than this is told so: sound that comes half a minute late is of no use to anybody."""
_NS = 1_000_000_000
_OF_ENDPOINT = frozenset((Failure.BROKEN, Failure.TOO_LARGE, Failure.STALLED, Failure.CANCELLED))
"""Ends of a session that say something of its endpoint, or nothing of anybody."""


class Session:
    """See the module. The `run` of its call, on the worker's watch, and what the ledger books.

    Attributes:
        link: the endpoint that is asked, or has answered.
        sent_ns: when it was asked.
    """

    link: Link
    relay = None
    sent_ns = 0

    def __init__(self, front: Front, client: ClientConnection, inbound: Inbound, call: Call, pool: Pool) -> None:
        self._front = front
        self._client = client
        self._inbound = inbound
        self.call = call
        self._pool = pool
        self._lease: Lease | None = None
        self._key = inbound.header(b"sec-websocket-key") or b""
        self._head = b""
        self._answered: asyncio.Future[bytes] | None = None
        most = front.settings.max_body_bytes
        self._down = Side(self, Frames(most), is_client=True)
        self._up = Side(self, Frames(most, MARK), is_client=False)
        self._is_open = False
        self._is_leaving = False
        self._busy = 0
        self._spent = Spent()
        self._opened_ns = self._quiet_ns = 0
        self._heard = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for an endpoint."""
        self.call.run = self
        self._front.sessions.add(self)
        self._front.dispatcher.watch.add(self)
        self._task = asyncio.get_running_loop().create_task(self._open())

    # Before it is open.

    async def _open(self) -> None:
        """Ask one endpoint after another for the handshake."""
        call, pool = self.call, self._pool
        tried = pool.cannot[call.door]
        error: DispatchError | None = None
        while call.attempts < pool.retry.attempts:
            now_ns = monotonic_ns()
            taken = pool.acquire(tried, 0, 0, now_ns, getrandbits(64), call.affinity, call.number)
            if isinstance(taken, Refusal):
                error = error or refused(pool.name, taken)
                break
            self._lease = taken
            tried |= 1 << taken.position
            self.link = link = pool.links[taken.position]
            call.attempts += 1
            self.sent_ns = now_ns
            if pool.book is not None:
                pool.book.begin(cast("Attempts", self))
            try:
                protocol, leftover = await self._shake_hands(link)
            except DispatchError as failed:
                error = failed
                failure = failed.failure if isinstance(failed, UpstreamError) else Failure.BAD_REQUEST
                self._settle(failure, sent=bool(self._head) or failure not in (Failure.CONNECT, Failure.CREDENTIAL, Failure.BAD_REQUEST))
                self._drop_upstream()
                if failure is Failure.BAD_REQUEST:
                    break
            else:
                self._begin(link, protocol, leftover)
                return
        self._forget()
        assert error is not None
        # It does not wait in a queue: a handshake is awaited by people.
        error.refusal = None
        self._front.dispatcher.fail(call, error)

    async def _shake_hands(self, link: Link) -> tuple[bytes, bytes]:
        """Connect and shake hands. Returns the subprotocol, and what came behind it. Raises `DispatchError`."""
        origin = link.origin
        dial = getattr(origin, "dial", None)
        if dial is None:
            raise link.error(Failure.CONNECT, "there is no connection to it", None, None)
        request = asked(link, self.call, self._inbound, self._key)
        self._up = up = Side(self, Frames(self._front.settings.max_body_bytes, MARK), is_client=False)
        self._answered = asyncio.get_running_loop().create_future()
        self._head = b""
        try:
            request = await dial(up, request)
        except NoCredential as failed:
            raise link.error(Failure.CREDENTIAL, str(failed), None, None) from None
        except (OSError, TimeoutError) as failed:
            raise link.error(Failure.CONNECT, f"no connection: {failed}", None, None) from None
        up.transport.write(request)
        try:
            async with asyncio.timeout(self._pool.first_token_ns / _NS):
                head = await self._answered
        except TimeoutError:
            raise link.error(Failure.FIRST_TOKEN_TIMEOUT, "no answer to the handshake", None, None) from None
        return checked(link, head, self._key)

    def _begin(self, link: Link, protocol: bytes, leftover: bytes) -> None:
        """Both sides agree: from here on bytes are passed on."""
        call, client, down, up = self.call, self._client, self._down, self._up
        call.endpoint = link.name
        down.other, up.other = up, down
        down.transport = client.transport
        self._is_open = True
        self._opened_ns = self._quiet_ns = now_ns = monotonic_ns()
        call.overhead_ns = self.sent_ns - call.received_ns
        if self._lease is not None:
            # The handshake is what there is to wait for; how long people talk says nothing about an endpoint.
            self._lease.first_byte(now_ns)
        chosen = b"sec-websocket-protocol: %b\r\n" % protocol if protocol else b""
        client.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: %b\r\n%b%b%b\r\n"
            % (accept_of(self._key), chosen, call.request_id, endpoint_lines(link.name, call.attempts))
        )
        client.transport.set_protocol(down)
        if leftover:
            self.on_bytes(up, leftover)
        if self._front.dispatcher.draining:
            self.drain()

    def _on_head(self, data: bytes) -> None:
        """A part of the endpoint's answer to the handshake."""
        self._head += data
        answered = self._answered
        if answered is not None and not answered.done() and (b"\r\n\r\n" in self._head or len(self._head) > MAX_HEAD_BYTES):
            answered.set_result(self._head)

    def _drop_upstream(self) -> None:
        if self._up.transport is not None:
            self._up.transport.abort()

    # While it is open.

    def on_bytes(self, side: Side, data: bytes) -> None:
        """Bytes of one side: for the other one."""
        if not self._is_open:
            if not side.is_client:
                self._on_head(data)
            return
        other = side.other
        if other is None or other.transport.is_closing():
            return
        self._heard = True
        try:
            told = side.frames.feed(data)
        except ValueError as error:
            # What was sent of this message has no end: there is nothing more to say to the other side.
            side.close(close_frame(TOO_LONG, f"{error}, longer than server.max_body_bytes", masked=not side.is_client))
            self._end(Failure.BAD_REQUEST if side.is_client else Failure.TOO_LARGE)
            return
        refusal: Refusal | None = None
        for text in told:
            # Before the client hears of it: a worker that is killed in between has charged it.
            refusal = self._charge(text) or refusal
        other.transport.write(data)
        if told and self._is_leaving and not self._busy:
            self._leave()
        elif refusal is not None:
            self._hold(refusal)

    def _charge(self, text: bytes) -> Refusal | None:
        """A response begins, or is over, or something was transcribed: its tokens are charged. Returns the limit that is spent now."""
        step, spent = read(text)
        self._busy = max(0, self._busy + step)
        lease, ticket = self._lease, self.call.ticket
        if lease is None or ticket is None or step == BEGUN:
            return None
        self._spent += spent
        now_ns = monotonic_ns()
        self.call.first_ns = self.call.first_ns or now_ns
        lease.charge(now_ns, spent.input, spent.output, spent.cached)
        return ticket.charge(now_ns, spent.input, spent.output, spent.cached)

    def _hold(self, refusal: Refusal) -> None:
        """A limit is spent: the client is not read until it has room again, so that no further response begins."""
        wait_ns = refusal.retry_after_ns
        if 0 <= wait_ns <= HOLD_S * _NS:
            self._down.stop()
            asyncio.get_running_loop().call_later(wait_ns / _NS, self._down.go_on)
        else:
            error = over_limit(self.call, refusal)
            self._end(Failure.RATE_LIMITED, TRY_LATER, error_event(error.code, "rate_limit_error", error.message), error)

    def check(self, now_ns: int) -> None:
        """Look at the clock."""
        if not self._is_open:
            return
        if self._heard:
            self._heard = False
            self._quiet_ns = now_ns
        settings = self._front.settings
        if now_ns - self._opened_ns > settings.session_s * _NS:
            self._expire(f"the session has lasted {settings.session_s:g} s (server.session_s)")
        elif now_ns - self._quiet_ns > settings.session_idle_s * _NS:
            self._expire(f"nobody has said anything for {settings.session_idle_s:g} s (server.session_idle_s)")
        else:
            for side in (self._down, self._up):
                if side.stalled_ns and now_ns - side.stalled_ns > settings.write_timeout_s * _NS:
                    # The other one is full as well, as a rule: nobody would hear a goodbye.
                    self._down.transport.abort()
                    self._up.transport.abort()
                    self._end(Failure.CANCELLED if side.is_client else Failure.STALLED, BROKEN)
                    return

    def keep_awake(self, now_ns: int, silent_since_ns: int) -> None:
        """Nothing is said on our own."""

    def pause(self) -> None:
        """Each side stops the other one by itself."""

    def resume(self) -> None:
        """The same."""

    def as_call(self) -> Call:
        """Its call."""
        return self.call

    def recheck(self, generation: Generation) -> None:
        """There are other tables: what they do not have any more ends, when the response that is under way is over."""
        call = self.call
        key = generation.by_name.get(call.key) if call.key else generation.nobody
        if key is None or (generation.keys and not call.key):
            self.drain()
            return
        try:
            generation.find(call.model, key)
        except DispatchError:
            self.drain()
            return
        if call.endpoint and all(endpoint.name != call.endpoint for endpoint in generation.config.endpoints):
            self.drain()

    def drain(self) -> None:
        """Leave, when the response that is under way is over."""
        self._is_leaving = True
        if self._is_open and not self._busy:
            self._leave()

    def _leave(self) -> None:
        self._end(Failure.NONE, GOING_AWAY)

    def _expire(self, message: str) -> None:
        self._end(Failure.NONE, GOING_AWAY, error_event("session_expired", "invalid_request_error", message))

    # The end.

    def on_lost(self, side: Side) -> None:
        """One side has ended."""
        if not self._is_open:
            if not side.is_client and self._answered is not None and not self._answered.done():
                self._answered.set_result(self._head)
            return
        if self._down.frames.is_closing or self._up.frames.is_closing:
            self._end(Failure.NONE, GOING_AWAY)
        else:
            self._end(Failure.CANCELLED if side.is_client else Failure.BROKEN, GOING_AWAY if side.is_client else BROKEN)

    def cancel(self) -> None:
        """The client has left before the handshake was over, or this worker ends at once."""
        if self._task is not None:
            self._task.cancel()
        if self._is_open:
            self._part(GOING_AWAY)
            self._give_back(Failure.CANCELLED)
        else:
            self._settle(Failure.CANCELLED, sent=self._up.transport is not None)
            self._drop_upstream()
            self._forget()

    def _end(self, failure: Failure, code: int = GOING_AWAY, event: bytes = b"", error: DispatchError | None = None) -> None:
        """Say goodbye and give everything back, once."""
        if self._is_open:
            self._part(code, event)
            self._give_back(failure)
            self._front.dispatcher.finish(self.call, failure, error)

    def _part(self, code: int, event: bytes = b"") -> None:
        """Close both sides; who has not said goodbye hears one, where no message is under way."""
        down, up = self._down, self._up
        for side, said in ((down, up), (up, down)):
            last = b""
            if said.frames.is_between and not said.frames.is_closing:
                last = close_frame(code, masked=not side.is_client)
                if event and side.is_client:
                    last = text_frame(event) + last
            side.close(last)

    def _give_back(self, failure: Failure) -> None:
        """Settle; the tokens were charged as they came."""
        self._is_open = False
        call, client, front, spent = self.call, self._client, self._front, self._spent
        call.usage = (spent.input, spent.output, spent.cached, 0)
        call.audio = (spent.audio_input, spent.audio_output)
        call.answered_ns = now_ns = monotonic_ns()
        self._settle(failure if failure in _OF_ENDPOINT else Failure.NONE)
        ticket, call.ticket = call.ticket, None
        if ticket is not None:
            ticket.settle(failure, now_ns, call.overhead_ns, 0, 0, 0)
            front.dispatcher.leave()
        self._forget()
        front.connections.discard(client)
        client.call = None

    def _settle(self, failure: Failure, *, sent: bool = True) -> None:
        """Give back the place, and book it: what was reported was delivered, however the session ended."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        now_ns = monotonic_ns()
        lease.settle(int(failure), now_ns, 0, 0, 0, 0)
        if self._pool.book is not None:
            booked = Failure.NONE if self._spent != Spent() else failure
            # It has what the ledger wants of one.
            self._pool.book(cast("Attempts", self), booked, self.call.usage, now_ns, sent=sent)

    def _forget(self) -> None:
        self.call.run = None
        self._front.sessions.discard(self)
        self._front.dispatcher.watch.discard(self)
