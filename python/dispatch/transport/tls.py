"""TLS under an asyncio Protocol, with the core's sans-IO session instead of the event loop's own TLS.

    socket <-> raw transport <-> TlsProtocol (owns a TlsSession) <-> inner protocol, which writes to a TlsTransport

After the handshake a network chunk costs one call into the core and one call of `inner.data_received`; a write costs one
call into the core and one of the raw transport. asyncio.sslproto and uvloop's take several of each, through two memory BIOs.

What the inner protocol sees:
- `connection_made(TlsTransport)` once the peer is verified, never before; nothing at all if the handshake fails;
- `eof_received()` only for a close_notify, after which both sides are closed (its return value is ignored: no half-closed TLS);
- `connection_lost(TlsTruncated)` if TCP ended without close_notify, so that an answer that runs "until the end" is never taken
  for whole because somebody cut it (RFC 8446 6.1); `connection_lost(TlsError)` for any other fault; else the socket's own error.

Back-pressure is the raw transport's: limits and sizes count ciphertext, 1.0 to 1.1 times the plaintext from 300 bytes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dispatch._core import TlsConfig, TlsError, TlsSession
from dispatch.transport.handover import hand_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from socket import socket

__all__ = ["TlsConfig", "TlsError", "TlsProtocol", "TlsSession", "TlsTransport", "TlsTruncated", "connect_tls"]

InnerT = TypeVar("InnerT", bound=asyncio.Protocol)


class TlsTruncated(TlsError):
    """The connection ended without close_notify: what arrived may be only a part of what was sent."""


class TlsTransport(asyncio.Transport):
    """What the inner protocol writes to. Everything but the encryption is the raw transport's."""

    __slots__ = ("_is_closing", "_protocol", "_raw", "_raw_write", "_seal", "_session")

    def __init__(self, raw: asyncio.Transport, session: TlsSession, protocol: TlsProtocol) -> None:
        self._raw = raw
        self._raw_write = raw.write
        self._session = session
        self._seal = session.send
        self._protocol = protocol
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send. After `close()`, `abort()` or the loss of the connection the data is dropped."""
        if self._is_closing:
            return
        try:
            sealed = self._seal(data if data.__class__ is bytes else bytes(data))
        except TlsError as error:
            self._protocol.fail(error)
            return
        self._raw_write(sealed)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt the pieces together: fewer records, one system call."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """Send what is buffered and a close_notify, then close. Does not wait for the peer's (RFC 8446 6.1 asks for no wait)."""
        if self._is_closing:
            return
        self._is_closing = True
        last = self._session.close()
        if last and not self._raw.is_closing():
            self._raw_write(last)
        self._raw.close()

    def abort(self) -> None:
        """Close now; what is buffered is lost."""
        self._is_closing = True
        self._raw.abort()

    def on_lost(self) -> None:
        """Called by the protocol: from now on writes are dropped."""
        self._is_closing = True

    def is_closing(self) -> bool:
        """Whether writes are dropped."""
        return self._is_closing or self._raw.is_closing()

    def pause_reading(self) -> None:
        """Read no more from the socket. A chunk that is being delivered was read before."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._raw.resume_reading()

    def is_reading(self) -> bool:
        """Whether the socket is read."""
        return self._raw.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes of ciphertext, at which the inner protocol's `pause_writing` and `resume_writing` are called."""
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes of ciphertext that the socket has not taken yet."""
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high mark, bytes of ciphertext."""
        return self._raw.get_write_buffer_limits()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the `TlsSession` for `"tls"`, else what the raw transport says (`peername`, `socket`, ...)."""
        return self._session if name == "tls" else self._raw.get_extra_info(name, default)

    def can_write_eof(self) -> bool:
        """Tell that there is no half-closed TLS."""
        return False

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the inner protocol."""
        return self._protocol.inner

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what comes from now on to another inner protocol."""
        self._protocol.set_inner(cast("asyncio.Protocol", protocol))

    def __repr__(self) -> str:
        return f"<TlsTransport {self._session!r}{' closing' if self.is_closing() else ''}>"


class TlsProtocol(asyncio.Protocol):
    """Drives a session over the raw transport and an inner protocol over the session.

    Attributes:
        inner: the protocol that sees plaintext.
    """

    __slots__ = ("_deliver", "_fault", "_opened", "_raw", "_receive", "_session", "_transport", "inner")

    def __init__(self, inner: asyncio.Protocol, session: TlsSession, opened: asyncio.Future[TlsTransport] | None = None) -> None:
        """Wrap `inner`; `opened` gets the transport after the handshake, or the reason why there is none."""
        self.inner = inner
        self._session = session
        self._receive = session.receive
        self._opened = opened
        self._raw: asyncio.Transport | None = None
        self._transport: TlsTransport | None = None
        self._deliver: Callable[[bytes], None] = inner.data_received
        self._fault: Exception | None = None

    def set_inner(self, inner: asyncio.Protocol) -> None:
        """Deliver to `inner` from now on."""
        self.inner = inner
        self._deliver = inner.data_received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._raw = raw = cast("asyncio.Transport", transport)
        raw.write(self._session.outgoing())

    def data_received(self, data: bytes) -> None:
        """Decrypt and deliver: the path that every answer takes."""
        try:
            plain = self._receive(data)
        except TlsError as error:
            self.fail(error)
            return
        if self._session.needs_attention:
            self._attend(plain)
        elif plain:
            self._deliver(plain)

    def _attend(self, plain: bytes) -> None:
        """Do what is not plaintext: the handshake, key updates, alerts, the end."""
        session, raw = self._session, self._raw
        if raw is None:
            return
        if pending := session.outgoing():
            raw.write(pending)
        if self._transport is None:
            if session.is_handshaking:
                return
            self._open(raw)
        if plain:
            self._deliver(plain)
        if session.peer_closed:
            self._end()
        elif plain and not raw.is_closing():
            self.data_received(b"")  # a fault behind the plaintext shows now

    def _open(self, raw: asyncio.Transport) -> None:
        self._transport = transport = TlsTransport(raw, self._session, self)
        self.inner.connection_made(transport)
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(transport)

    def _end(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self.inner.eof_received()
            transport.close()

    def fail(self, error: Exception) -> None:
        """End the connection because of `error`, which the inner protocol gets; the peer gets an alert if it takes it at once."""
        raw = self._raw
        if raw is None or raw.is_closing():
            return
        self._fault = error
        alert = self._session.outgoing()
        if raw.get_write_buffer_size():
            raw.abort()  # a peer that does not read would hold the connection for ever
            return
        if alert:
            raw.write(alert)
        raw.close()

    def abort(self) -> None:
        """Close now, at whatever stage. The inner protocol gets `connection_lost` if it had `connection_made`."""
        if self._raw is not None:
            self._raw.abort()

    def eof_received(self) -> None:
        """Note a truncation; the raw transport then closes itself."""
        transport = self._transport
        if transport is None:
            self._fault = TlsError(f"TLS with {self._session.server_name}: the peer closed the connection during the handshake")
        elif not transport.is_closing():
            self._fault = TlsTruncated(f"TLS with {self._session.server_name}: the connection ended without close_notify")

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the end and its reason."""
        transport, opened, error = self._transport, self._opened, self._fault or exc
        if transport is not None:
            transport.on_lost()
            self.inner.connection_lost(error)
        elif opened is not None and not opened.done():
            opened.set_exception(error or TlsError(f"TLS with {self._session.server_name}: closed during the handshake"))
        # Break the circle transport <-> protocol, so that memory does not wait for the collector.
        self._transport = self._opened = self._fault = None

    def pause_writing(self) -> None:
        """Forward: more ciphertext waits than the high mark."""
        if self._transport is not None:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        """Forward: the low mark is reached."""
        if self._transport is not None:
            self.inner.resume_writing()


async def connect_tls(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], InnerT],
    *,
    server_name: str,
    config: TlsConfig,
    timeout_s: float,
    host: str | None = None,
    port: int | None = None,
    sock: socket | None = None,
) -> tuple[TlsTransport, InnerT]:
    """Connect to `host` and `port`, or take over the connected `sock` (of a CONNECT proxy, for one), and shake hands.

    Args:
        loop: the running loop.
        factory: makes the inner protocol.
        server_name: what the certificate must be for, and what SNI says; a DNS name or an IP address.
        config: whom to trust.
        timeout_s: for TCP and TLS together.
        host: name or address to connect to.
        port: its port.
        sock: connected and non-blocking, instead of `host` and `port`; closed with the connection.

    Raises:
        TlsError: the handshake failed, or `server_name` is no name.
        TimeoutError: it took longer than `timeout_s`.
        OSError: TCP failed. The two above are `OSError`s too.
    """
    opened: asyncio.Future[TlsTransport] = loop.create_future()
    inner = factory()
    protocol = TlsProtocol(inner, TlsSession(config, server_name), opened)
    try:
        async with asyncio.timeout(timeout_s):
            raw, _ = await loop.create_connection(lambda: protocol, host, port, sock=sock)  # type: ignore[arg-type]  # no overload of both
            if sock is not None:
                hand_over(raw, sock)
            return await opened, inner
    except BaseException:
        protocol.abort()
        raise
