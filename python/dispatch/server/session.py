"""One WebSocket session between a client and an endpoint: from the place that it takes to the place that it gives back."""

from __future__ import annotations

import asyncio
from random import getrandbits
from time import monotonic_ns
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from dispatch.errors import DispatchError, Failure, UpstreamError
from dispatch.links import endpoint_lines
from dispatch.replies import refused
from dispatch.routing import Refusal
from dispatch.transport.pool import Origin
from dispatch.wire.websocket import GOING_AWAY, Frames, accept_of, close_frame

if TYPE_CHECKING:
    from dispatch.exchange import Call
    from dispatch.links import Link
    from dispatch.pools import Pool
    from dispatch.routing import Lease
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound

__all__ = ["Session"]

MAX_HEAD_BYTES = 16 * 1024
_PROTOCOLS = (b"realtime", b"openai-beta.")
"""Subprotocols that are passed on; others are keys that browsers cannot show otherwise."""
_DONE = b'"response.done"'


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _Details | None = None


class _Response(msgspec.Struct):
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    response: _Response | None = None


class Side(asyncio.Protocol):
    """One end. What it hears goes to the session; while it takes nothing, the other end is not read."""

    def __init__(self, session: Session, *, is_client: bool) -> None:
        self.session = session
        self.is_client = is_client
        self.transport: Any = None
        self.other: Side | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.session.on_bytes(self, data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self.session.on_lost(self)


class Session:
    """See the module. The `run` of its call until it is open."""

    def __init__(self, front: Front, client: ClientConnection, inbound: Inbound, call: Call, pool: Pool) -> None:
        self._front = front
        self._client = client
        self._inbound = inbound
        self._call = call
        self._pool = pool
        self._lease: Lease | None = None
        self._key = inbound.header(b"sec-websocket-key") or b""
        self._head = b""
        self._protocol = b""
        self._answered: asyncio.Future[bytes] | None = None
        self._down = Side(self, is_client=True)
        self._up: Side | None = None
        self._is_open = False
        self._usage = [0, 0, 0]
        most = front.settings.max_body_bytes
        self._frames = {True: Frames(most), False: Frames(most, _DONE)}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for an endpoint."""
        self._call.run = self
        self._front.sessions.add(self)
        self._task = asyncio.get_running_loop().create_task(self._open())

    # The run of a call that is not open yet.

    def cancel(self) -> None:
        """The client has left before the handshake was over."""
        if self._task is not None:
            self._task.cancel()
        self._settle(Failure.CANCELLED)
        self._drop_upstream()
        self._front.sessions.discard(self)

    def pause(self) -> None:
        """Nothing is written before the handshake."""

    def resume(self) -> None:
        """Nothing is written before the handshake."""

    async def _open(self) -> None:
        """Ask one endpoint after another for the handshake."""
        call, pool = self._call, self._pool
        tried = pool.cannot[call.door]
        error: DispatchError | None = None
        while call.attempts < pool.retry.attempts:
            now_ns = monotonic_ns()
            taken = pool.acquire(tried, call.tokens_in, call.tokens_out, now_ns, getrandbits(64), call.affinity)
            if isinstance(taken, Refusal):
                error = error or refused(pool.name, taken)
                break
            self._lease = taken
            tried |= 1 << taken.position
            link = pool.links[taken.position]
            call.attempts += 1
            try:
                leftover = await self._handshake(link)
            except DispatchError as failed:
                error = failed
                self._settle(failed.failure if isinstance(failed, UpstreamError) else Failure.BAD_REQUEST)
                self._drop_upstream()
                if not isinstance(failed, UpstreamError) or failed.failure is Failure.BAD_REQUEST:
                    break
            else:
                self._begin(link, leftover)
                return
        self._front.sessions.discard(self)
        call.run = None
        # Counted as asked, so that it does not wait in a queue: a handshake is awaited by people.
        call.attempts = max(call.attempts, 1)
        assert error is not None
        self._front.dispatcher.fail(call, error)

    async def _handshake(self, link: Link) -> bytes:
        """Connect and shake hands. Returns what came behind it. Raises `DispatchError`."""
        origin = link.origin
        if not isinstance(origin, Origin):
            raise link.error(Failure.CONNECT, "there is no connection to it", None, None)
        self._up = up = Side(self, is_client=False)
        self._answered = asyncio.get_running_loop().create_future()
        self._head = b""
        request = self._request(link)
        try:
            await origin.dial(up)
        except (OSError, TimeoutError) as failed:
            raise link.error(Failure.CONNECT, f"no connection: {failed}", None, None) from None
        up.transport.write(request)
        try:
            async with asyncio.timeout(self._pool.first_token_ns / 1e9):
                head = await self._answered
        except TimeoutError:
            raise link.error(Failure.FIRST_TOKEN_TIMEOUT, "no answer to the handshake", None, None) from None
        lines, _, rest = head.partition(b"\r\n\r\n")
        self._check_answer(link, lines, rest)
        return rest

    def _check_answer(self, link: Link, lines: bytes, rest: bytes) -> None:
        line, *fields = lines.split(b"\r\n")
        told = {name.strip().lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
        status = line.split(b" ")[1:2]
        if status != [b"101"]:
            code = int(status[0]) if status and status[0].isdigit() else 0
            failure = link.provider.classify(code, told.get(b"content-type", b""), rest) if code >= 400 else Failure.MALFORMED
            failure = Failure.MALFORMED if failure is Failure.NONE else failure
            raise link.error(failure, f"status {code} in place of a handshake", None, None)
        if told.get(b"sec-websocket-accept") != accept_of(self._key) or b"sec-websocket-extensions" in told:
            raise link.error(Failure.MALFORMED, "a handshake that does not answer ours", None, None)
        self._protocol = told.get(b"sec-websocket-protocol", b"")

    def _request(self, link: Link) -> bytes:
        """The handshake for an endpoint: our own lines, the client's key and subprotocols, no extensions."""
        inbound = self._inbound
        prefix = link.head_for(self._call)
        line, _, fields = prefix.partition(b"\r\n")
        path, _, own = line.split(b" ")[1].partition(b"?")
        name = msgspec.json.decode(link.model, type=str) if link.model else self._call.upstream_name
        more = [one for one in parse_qsl(inbound.query.decode("latin-1")) if one[0] not in {"model", "key"}]
        query = urlencode([("model", name), *more], quote_via=quote)
        target = path + b"?" + (own + b"&" if own else b"") + query.encode("ascii")
        offered = [one.strip() for one in (inbound.header(b"sec-websocket-protocol") or b"").split(b",")]
        kept = b", ".join(one for one in offered if one.startswith(_PROTOCOLS))
        protocol = b"sec-websocket-protocol: %b\r\n" % kept if kept else b""
        lines = b"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: %b\r\n" % self._key
        return b"GET %b HTTP/1.1\r\n%b%b%b%b\r\n" % (target, fields, inbound.forward, lines, protocol)

    def _begin(self, link: Link, leftover: bytes) -> None:
        """Both sides agree: from here on bytes are passed on."""
        call, client = self._call, self._client
        call.run = None
        call.endpoint = link.name
        down, up = self._down, self._up
        assert up is not None
        down.other, up.other = up, down
        down.transport = client.transport
        self._is_open = True
        protocol = b"sec-websocket-protocol: %b\r\n" % self._protocol if self._protocol else b""
        client.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: %b\r\n%b%b%b\r\n"
            % (accept_of(self._key), protocol, call.request_id, endpoint_lines(link.name, call.attempts))
        )
        client.transport.set_protocol(down)
        if leftover:
            self.on_bytes(up, leftover)
        if self._front.dispatcher.draining:
            self.drain()

    def on_bytes(self, side: Side, data: bytes) -> None:
        """Bytes of one side: for the other one."""
        if not self._is_open:
            self._on_head(data)
            return
        other = side.other
        if other is None or other.transport.is_closing():
            return
        try:
            told = self._frames[side.is_client].feed(data)
        except ValueError:
            self._end(Failure.BAD_REQUEST if side.is_client else Failure.TOO_LARGE)
            return
        other.transport.write(data)
        for text in told:
            self._count(text)

    def _on_head(self, data: bytes) -> None:
        """A part of the endpoint's answer to the handshake."""
        self._head += data
        answered = self._answered
        if answered is not None and not answered.done() and (b"\r\n\r\n" in self._head or len(self._head) > MAX_HEAD_BYTES):
            answered.set_result(self._head)

    def _count(self, text: bytes) -> None:
        try:
            event = msgspec.json.decode(text, type=_Event)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        usage = None if event.response is None else event.response.usage
        if usage is not None:
            cached = usage.input_token_details.cached_tokens if usage.input_token_details is not None else 0
            for at, tokens in enumerate((usage.input_tokens, usage.output_tokens, cached)):
                self._usage[at] += max(0, tokens or 0)

    def on_lost(self, side: Side) -> None:
        """One side has ended."""
        if self._is_open:
            self._end(Failure.NONE)
        elif not side.is_client and self._answered is not None and not self._answered.done():
            self._answered.set_result(self._head)

    def drain(self) -> None:
        """This worker is about to stop: say so to both sides, between two frames."""
        if not self._is_open or self._up is None:
            return
        if self._frames[False].is_between:
            self._down.transport.write(close_frame(GOING_AWAY, masked=False))
        if self._frames[True].is_between:
            self._up.transport.write(close_frame(GOING_AWAY, masked=True))
        self._end(Failure.NONE)

    def _end(self, failure: Failure) -> None:
        """Give everything back, once."""
        if not self._is_open:
            return
        self._is_open = False
        call, client, front = self._call, self._client, self._front
        call.usage = (self._usage[0], self._usage[1], self._usage[2], 0)
        call.answered_ns = monotonic_ns()
        self._settle(failure)
        for side in (self._down, self._up):
            if side is not None:
                # Closed, not aborted: what was written still leaves.
                side.transport.close()
        front.sessions.discard(self)
        front.connections.discard(client)
        client.call = None
        front.dispatcher.finish(call, failure)

    def _settle(self, failure: Failure) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            read, written, cached = self._usage
            lease.settle(int(failure), monotonic_ns(), read, written, cached, 0)

    def _drop_upstream(self) -> None:
        up, self._up = self._up, None
        if up is not None and up.transport is not None:
            up.transport.abort()
