"""The core's TLS session against OpenSSL, in memory: where the network cuts does not matter, and noise ends in a clear error."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from contextlib import suppress
from functools import cache

import pytest
import trustme
from dispatch.transport.tls import TlsConfig, TlsError, TlsProtocol, TlsSession
from hypothesis import given
from hypothesis import strategies as st

NAME = "provider.test"


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def config() -> TlsConfig:
    return TlsConfig(authority().cert_pem.bytes(), False, None, None)


@cache
def server_context(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority().issue_cert(NAME).configure_cert(context)
    return context


class OpenSsl:
    """A server that echoes, without a socket."""

    def __init__(self, version: ssl.TLSVersion) -> None:
        self.inward, self.outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = server_context(version).wrap_bio(self.inward, self.outward, server_side=True)
        self.is_open = False

    def feed(self, data: bytes) -> bytes:
        """Take ciphertext, echo the plaintext in it, return ciphertext."""
        self.inward.write(data)
        try:
            if not self.is_open:
                self.tls.do_handshake()
                self.is_open = True
            while heard := self.tls.read(65536):
                self.tls.write(heard)
        except ssl.SSLWantReadError:
            pass
        return self.outward.read()


def is_refused(client: TlsSession) -> bool:
    try:
        client.send(b"request")
    except TlsError:
        return True
    return False


class Wire(asyncio.Transport):
    """The raw transport: keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def take(self) -> bytes:
        written, self.written = self.written, b""
        return written

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


class Heard(asyncio.Protocol):
    """Records what it is told, in order."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.events.append(data)

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(type(exc))


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    cuts = itertools.cycle(sizes)
    cut: list[bytes] = []
    while data:
        size = next(cuts)
        cut.append(data[:size])
        data = data[size:]
    return cut


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@given(
    sizes=st.lists(st.integers(1, 300) | st.integers(1000, 20_000), min_size=1, max_size=20),
    said=st.binary(min_size=1, max_size=600) | st.integers(16_000, 70_000).map(lambda size: bytes(range(256)) * (size // 256)),
)
def test_where_the_network_cuts_does_not_matter(version: ssl.TLSVersion, sizes: list[int], said: bytes) -> None:
    client, server = TlsSession(config(), NAME), OpenSsl(version)
    heard, is_said = b"", False
    while len(heard) < len(said):
        ciphertext = client.outgoing()
        if not client.is_handshaking and not is_said:
            ciphertext += client.send(said)
            is_said = True
        back = b"".join([server.feed(piece) for piece in pieces(ciphertext, sizes)])
        assert back, "the conversation goes on until everything came back"
        heard += b"".join([client.receive(piece) for piece in pieces(back, sizes)])

    assert heard == said
    assert client.version == version.name.replace("_", ".")
    assert server.tls.selected_alpn_protocol() == "http/1.1"


@given(noise=st.binary(min_size=6, max_size=2_000), is_open=st.booleans())
def test_noise_gives_no_plaintext_and_ends_in_an_error(noise: bytes, is_open: bool) -> None:
    client = TlsSession(config(), NAME)
    if is_open:
        server = OpenSsl(ssl.TLSVersion.TLSv1_3)
        while client.is_handshaking:
            assert client.receive(server.feed(client.outgoing())) == b""
    assert is_refused(client) or is_open, "nothing is sent to a peer that is not verified"
    try:
        heard = client.receive(noise)
    except TlsError:
        heard = b""
        assert is_refused(client)
        with pytest.raises(TlsError, match=NAME):
            client.receive(b"")

    assert heard == b""


def test_plain_http_on_the_port_is_named() -> None:
    client = TlsSession(config(), NAME)

    with pytest.raises(TlsError, match="does not speak TLS"):
        client.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_the_servers_alert_is_named() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(NAME).configure_cert(context)
    authority().configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(inward, outward, server_side=True)
    client = TlsSession(config(), NAME)

    while client.is_handshaking:
        inward.write(client.outgoing())
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
        client.receive(outward.read())
    inward.write(client.outgoing())
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        server.do_handshake()
    with pytest.raises(TlsError, match="CertificateRequired"):
        client.receive(outward.read())


def test_plaintext_in_front_of_a_fault_is_delivered_before_the_connection_is_lost() -> None:
    wire, heard, server = Wire(), Heard(), OpenSsl(ssl.TLSVersion.TLSv1_3)
    protocol = TlsProtocol(heard, TlsSession(config(), NAME))
    protocol.connection_made(wire)
    while not heard.events:
        protocol.data_received(server.feed(wire.take()))
    protocol.data_received(server.feed(wire.take()))  # session tickets
    server.tls.write(b"whole")
    broken_record = b"\x17\x03\x03\x00\x20" + bytes(32)
    protocol.data_received(server.outward.read() + broken_record)

    assert heard.events == ["made", b"whole"]
    assert wire.is_closed
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        server.feed(wire.take())
    protocol.connection_lost(None)
    assert heard.events == ["made", b"whole", TlsError]
