"""TLS to a provider over real sockets: `dispatch.transport.tls` against the ssl module's own server."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme
from dispatch.errors import ConfigError
from dispatch.transport.tls import TlsConfig, TlsError, TlsTransport, TlsTruncated, connect_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

NAME = "provider.test"
LARGE = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def config(ca: trustme.CA) -> TlsConfig:
    return trusting(ca)


@pytest.fixture
def context(ca: trustme.CA) -> ssl.SSLContext:
    return serving(ca.issue_cert(NAME))


def trusting(ca: trustme.CA) -> TlsConfig:
    return TlsConfig(ca.cert_pem.bytes(), False, None, None)


def serving(cert: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    return context


class Inner(asyncio.Protocol):
    """Records what it is told; `until` waits for a state."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.events: list[str] = []
        self.lost: Exception | None = None
        self.changed = asyncio.Event()

    def note(self, event: str) -> None:
        self.events.append(event)
        self.changed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.note("made")

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.changed.set()

    def eof_received(self) -> None:
        self.note("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc
        self.note("lost")

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")

    async def until(self, is_reached: Callable[[Inner], bool]) -> None:
        while not is_reached(self):
            self.changed.clear()
            await self.changed.wait()

    async def until_length(self, size: int) -> None:
        await self.until(lambda inner: len(inner.heard) >= size)

    async def until_event(self, event: str) -> None:
        await self.until(lambda inner: event in inner.events)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def served(handler: Handler, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Serve on a port that the system chooses; leave when every connection is gone."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*tasks)
        await server.wait_closed()


async def connected(port: int, config: TlsConfig, *, server_name: str = NAME, timeout_s: float = 10) -> tuple[TlsTransport, Inner]:
    loop = asyncio.get_running_loop()
    return await connect_tls(loop, Inner, host="127.0.0.1", port=port, server_name=server_name, config=config, timeout_s=timeout_s)


async def closed(transport: TlsTransport, inner: Inner) -> None:
    transport.close()
    await inner.until_event("lost")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_small_and_large_payloads_come_back_whole(context: ssl.SSLContext, config: TlsConfig, version: ssl.TLSVersion) -> None:
    context.minimum_version = context.maximum_version = version
    async with served(echo, context) as port:
        transport, inner = await connected(port, config)
        for said in (b"x", b"request" * 100, LARGE):
            inner.heard.clear()
            transport.writelines([said[:10], said[10:]])
            await inner.until_length(len(said))
            assert inner.heard == said
        assert transport.get_extra_info("tls").version == version.name.replace("_", ".")
        assert transport.get_extra_info("peername")[1] == port
        await closed(transport, inner)

    assert inner.events[0] == "made"
    assert inner.events[-1] == "lost"
    assert inner.lost is None


async def test_a_wrong_host_name_is_refused(context: ssl.SSLContext, config: TlsConfig) -> None:
    async with served(echo, context) as port:
        with pytest.raises(TlsError, match="not valid for name"):
            await connected(port, config, server_name="other.test")


async def test_an_address_is_verified_too(ca: trustme.CA, config: TlsConfig, context: ssl.SSLContext) -> None:
    async with served(echo, serving(ca.issue_cert("127.0.0.1"))) as port:
        await closed(*await connected(port, config, server_name="127.0.0.1"))
    async with served(echo, context) as port:
        with pytest.raises(TlsError, match="not valid for name"):
            await connected(port, config, server_name="127.0.0.1")


async def test_an_unknown_authority_is_refused_with_a_hint(context: ssl.SSLContext) -> None:
    async with served(echo, context) as port:
        with pytest.raises(TlsError, match=r"UnknownIssuer.*ca_file"):
            await connected(port, trusting(trustme.CA()))


async def test_the_systems_authorities_do_not_vouch_for_a_private_one(context: ssl.SSLContext) -> None:
    async with served(echo, context) as port:
        with pytest.raises(TlsError, match="UnknownIssuer"):
            await connected(port, TlsConfig(None, True, None, None))


async def test_an_expired_certificate_is_refused(ca: trustme.CA, config: TlsConfig) -> None:
    expired = ca.issue_cert(NAME, not_after=datetime.now(UTC) - timedelta(days=1))
    async with served(echo, serving(expired)) as port:
        with pytest.raises(TlsError, match="expired"):
            await connected(port, config)


async def test_a_client_certificate_is_shown(ca: trustme.CA, context: ssl.SSLContext) -> None:
    async def say_who(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subject = str(writer.get_extra_info("peercert")["subjectAltName"])
        writer.write(subject.encode())
        await reader.read()

    ours = ca.issue_cert("dispatch.test")
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    cert = b"".join(blob.bytes() for blob in ours.cert_chain_pems)
    config = TlsConfig(ca.cert_pem.bytes(), False, cert, ours.private_key_pem.bytes())
    async with served(say_who, context) as port:
        transport, inner = await connected(port, config)
        await inner.until(lambda inner: b"dispatch.test" in inner.heard)
        await closed(transport, inner)


async def test_a_missing_client_certificate_ends_the_connection(context: ssl.SSLContext, ca: trustme.CA, config: TlsConfig) -> None:
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    async with served(echo, context) as port:
        # In TLS 1.3 the client is done before the server has looked: the refusal comes to an open connection.
        _, inner = await connected(port, config)
        await inner.until_event("lost")

    assert isinstance(inner.lost, TlsError)
    assert "eof" not in inner.events


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_second_connection_resumes_the_first(context: ssl.SSLContext, ca: trustme.CA, version: ssl.TLSVersion) -> None:
    seen: list[bool] = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("ssl_object").session_reused)
        await echo(reader, writer)

    context.minimum_version = context.maximum_version = version
    config = trusting(ca)
    async with served(look, context) as port:
        for is_resumed in (False, True):
            transport, inner = await connected(port, config)
            transport.write(b"hello")
            await inner.until(lambda inner: inner.heard == b"hello")
            assert transport.get_extra_info("tls").is_resumed is is_resumed
            await closed(transport, inner)

    assert seen == [False, True]


async def test_close_notify_is_an_end(context: ssl.SSLContext, config: TlsConfig) -> None:
    async def say_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"whole")

    async with served(say_and_close, context) as port:
        transport, inner = await connected(port, config)
        await inner.until_event("lost")

    assert inner.heard == b"whole"
    assert inner.events == ["made", "eof", "lost"]
    assert inner.lost is None
    assert transport.is_closing()
    transport.write(b"dropped")


async def test_an_end_without_close_notify_is_a_truncation(context: ssl.SSLContext, config: TlsConfig) -> None:
    async def say_and_vanish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half")
        await reader.readexactly(4)  # the client has it
        writer.transport.abort()

    async with served(say_and_vanish, context) as port:
        transport, inner = await connected(port, config)
        await inner.until(lambda inner: inner.heard == b"half")
        transport.write(b"seen")
        await inner.until_event("lost")

    assert isinstance(inner.lost, TlsTruncated)
    assert "eof" not in inner.events


async def test_plain_http_on_the_port_is_named(config: TlsConfig) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async with served(answer, None) as port:
        with pytest.raises(TlsError, match="does not speak TLS"):
            await connected(port, config)


async def test_a_peer_that_leaves_during_the_handshake_is_an_error(config: TlsConfig) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)

    async with served(leave, None) as port:
        with pytest.raises(TlsError, match="during the handshake"):
            await connected(port, config)


async def test_a_peer_that_never_answers_is_given_up(config: TlsConfig) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client is gone

    async with served(wait, None) as port:
        with pytest.raises(TimeoutError):
            await connected(port, config, timeout_s=0.05)


async def test_a_peer_that_does_not_read_pauses_the_writer(context: ssl.SSLContext, config: TlsConfig) -> None:
    may_read = asyncio.Event()

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_read.wait()
        await reader.readexactly(4 * len(LARGE))
        writer.write(b"all")
        await reader.read()

    async with served(read_late, context) as port:
        transport, inner = await connected(port, config)
        transport.set_write_buffer_limits(high=65536)
        for _ in range(4):
            transport.write(LARGE)
        await inner.until_event("pause")
        assert transport.get_write_buffer_size() > 65536
        may_read.set()
        await inner.until_event("resume")
        await inner.until(lambda inner: inner.heard == b"all")
        await closed(transport, inner)


async def test_a_paused_reader_gets_nothing_until_it_resumes(context: ssl.SSLContext, config: TlsConfig) -> None:
    async with served(echo, context) as port:
        transport, inner = await connected(port, config)
        transport.pause_reading()
        assert not transport.is_reading()
        transport.write(b"said")
        other, witness = await connected(port, config)
        other.write(b"a round trip on another connection")
        await witness.until(lambda inner: bool(inner.heard))
        assert not inner.heard
        transport.resume_reading()
        await inner.until(lambda inner: inner.heard == b"said")
        await closed(other, witness)
        await closed(transport, inner)


async def test_an_abort_ends_at_once(context: ssl.SSLContext, config: TlsConfig) -> None:
    async with served(echo, context) as port:
        transport, inner = await connected(port, config)
        transport.abort()
        await inner.until_event("lost")

    assert inner.lost is None
    assert "closing" in repr(transport)


async def test_a_connected_socket_can_be_taken_over(context: ssl.SSLContext, config: TlsConfig) -> None:
    import socket

    async with served(echo, context) as port:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        transport, inner = await connect_tls(loop, Inner, sock=sock, server_name=NAME, config=config, timeout_s=10)
        transport.write(b"through")
        await inner.until(lambda inner: inner.heard == b"through")
        await closed(transport, inner)


def test_settings_that_do_not_fit_are_refused_by_name(ca: trustme.CA) -> None:
    pem = ca.cert_pem.bytes()
    key = ca.issue_cert(NAME).private_key_pem.bytes()
    cases: list[tuple[tuple[bytes | None, bool, bytes | None, bytes | None], str]] = [
        ((None, False, None, None), "ca_file"),
        ((b"no certificate", False, None, None), "ca_file"),
        ((pem, False, pem, None), "client_key"),
        ((pem, False, None, key), "client_cert"),
        ((pem, False, pem, key), "client_cert"),
        ((pem, False, pem, b"-----BEGIN PRIVATE KEY-----\nsecret"), "client_key"),
    ]
    for arguments, path in cases:
        with pytest.raises(ConfigError) as caught:
            TlsConfig(*arguments)
        assert caught.value.path == path
        assert "secret" not in str(caught.value)
