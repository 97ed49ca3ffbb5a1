"""How a connection to an upstream is made: names resolved, proxies asked, TLS begun.

None of this is on the path of a request that finds an idle connection.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dispatch.transport.handover import hand_over
from dispatch.transport.tls import connect_tls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.transport.connection import UpstreamConnection
    from dispatch.transport.pool import Origin
    from dispatch.transport.tls import TlsConfig

__all__ = ["Connector", "Resolver", "Target", "proxy_for"]

DNS_TTL_S = 30.0
MAX_CONNECT_ANSWER = 8192

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Target:
    """Where an origin is.

    Attributes:
        unix: path of a Unix socket, instead of host and port.
        proxy: `http://[user:password@]host:port`, asked by CONNECT; empty for none.
    """

    scheme: str
    host: str
    port: int
    proxy: str = ""
    unix: str = ""


class Resolver:
    """Addresses of names, kept for 30 s, given out in turn so that all of them are used."""

    def __init__(self, ttl_s: float = DNS_TTL_S) -> None:
        self._ttl_s = ttl_s
        self._known: dict[Address, tuple[float, list[tuple[socket.AddressFamily, Address]]]] = {}
        self._turn = 0

    async def resolve(self, host: str, port: int) -> list[tuple[socket.AddressFamily, Address]]:
        """All addresses of `host`, beginning with another one each time. Raises `OSError`."""
        kept = self._known.get((host, port))
        if kept is None or kept[0] < monotonic():
            infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = [(socket.AddressFamily(family), (str(address[0]), int(address[1]))) for family, _, _, _, address in infos]
            kept = (monotonic() + self._ttl_s, found)
            self._known[(host, port)] = kept
        self._turn += 1
        addresses = kept[1]
        start = self._turn % len(addresses)
        return addresses[start:] + addresses[:start]


class Connector:
    """Makes the connections of one origin.

    Args:
        tls: what to trust and to show; None for a plain origin.
    """

    def __init__(self, target: Target, resolver: Resolver, tls: TlsConfig | None) -> None:
        self._target = target
        self._resolver = resolver
        self._tls = tls

    async def __call__(self, origin: Origin) -> None:
        """Make one connection; its protocol reports to `origin` when it is ready. Raises `OSError`."""
        target = self._target
        loop = asyncio.get_running_loop()
        sock = await self._open()
        try:
            if target.proxy and target.scheme == "https":
                await _ask_proxy(loop, sock, target)
            if self._tls is None:
                await _take_over(loop, origin.protocol(), sock)
                return
            await connect_tls(loop, origin.protocol, server_name=target.host, config=self._tls, timeout_s=origin.connect_s, sock=sock)
        except BaseException:
            sock.close()
            raise

    async def _open(self) -> socket.socket:
        target = self._target
        if target.unix:
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, target.unix)
            return sock
        host, port = target.host, target.port
        if target.proxy:
            proxy = urlsplit(target.proxy)
            host, port = proxy.hostname or "", proxy.port or 80
        return await _open_any(await self._resolver.resolve(host, port))


async def _take_over(loop: asyncio.AbstractEventLoop, connection: UpstreamConnection, sock: socket.socket) -> None:
    """Let `connection` have a connected socket. Raises `OSError`."""
    try:
        transport, _ = await loop.create_connection(lambda: connection, sock=sock)
    except BaseException:
        # Out of time in the very round in which it was made: uvloop closes it and tells nobody, and it would serve as an idle one.
        connection.connection_lost(None)
        raise
    hand_over(transport, sock)


async def _open_any(addresses: list[tuple[socket.AddressFamily, Address]]) -> socket.socket:
    """A connected socket to the first address that answers."""
    loop = asyncio.get_running_loop()
    failed: OSError = OSError("no address")
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failed = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failed


async def _ask_proxy(loop: asyncio.AbstractEventLoop, sock: socket.socket, target: Target) -> None:
    """Ask an HTTP proxy for a tunnel (RFC 9110 section 9.3.6)."""
    name = f"{target.host}:{target.port}"
    lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}"]
    proxy = urlsplit(target.proxy)
    if proxy.username:
        token = base64.b64encode(f"{proxy.username}:{proxy.password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {token}")
    await loop.sock_sendall(sock, ("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head:
        part = await loop.sock_recv(sock, 1024)
        head += part
        if not part or len(head) > MAX_CONNECT_ANSWER:
            raise ConnectionRefusedError(f"the proxy gave no answer to CONNECT {name}")
    status = head.split(b"\r\n", 1)[0]
    if status.split(b" ")[1:2] != [b"200"] or not head.endswith(b"\r\n\r\n"):
        raise ConnectionRefusedError(f"the proxy refused CONNECT {name}: {status.decode('latin-1')[:80]}")


def proxy_for(scheme: str, host: str, configured: str | None, environ: Mapping[str, str] | None = None) -> str:
    """The proxy for an origin: its own, else HTTPS_PROXY / HTTP_PROXY unless NO_PROXY names the host."""
    if configured is not None:
        return configured
    proxies = _proxies(os.environ if environ is None else environ)
    if scheme not in proxies or host in ("127.0.0.1", "localhost", "::1"):
        return ""
    # Brings an HTTP client, mail and temporary files along: 10 ms of every start, for the few that have a proxy.
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # noqa: PLC0415  # missing in typeshed

    return "" if proxy_bypass_environment(host, proxies) else proxies[scheme]


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """What `urllib.request.getproxies_environment` finds. Lower case wins; in a CGI script HTTP_PROXY is a field of the request."""
    upper = {name.lower()[:-6]: value for name, value in environ.items() if name.lower().endswith("_proxy")}
    if "REQUEST_METHOD" in environ:
        upper.pop("http", None)
    lower = {name[:-6]: value for name, value in environ.items() if name.endswith("_proxy")}
    return {name: value for name, value in (upper | lower).items() if value}
