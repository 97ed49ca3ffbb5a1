"""A listening mock on the running event loop."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Self

from dispatch.mock.http1 import Connection
from dispatch.mock.provider import Provider

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from dispatch.mock.journal import Journal
    from dispatch.mock.scenario import Scenario

__all__ = ["Service"]

_BACKLOG = 4096


class Service:
    """Listens while the context is open.

    Attributes:
        provider: the simulated provider, after entering.
        port: where it listens, 0 on a Unix socket.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        unix: Path | None = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        journal: Journal | None = None,
        keep_requests: bool = False,
    ) -> None:
        self._scenario = scenario
        self._host = host
        self.port = port
        self._unix = unix
        self._tls: ssl.SSLContext | None = None
        if tls_cert is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls_cert, tls_key)
        self._journal = journal
        self._keep_requests = keep_requests
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.provider = Provider(self._scenario, loop, journal=self._journal, keep_requests=self._keep_requests)
        if self._unix is not None:
            self._server = await loop.create_unix_server(self._connect, str(self._unix), ssl=self._tls, backlog=_BACKLOG)
        else:
            self._server = await loop.create_server(self._connect, self._host, self.port, ssl=self._tls, backlog=_BACKLOG)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    def _connect(self) -> Connection:
        return Connection(self.provider)

    @property
    def url(self) -> str:
        """Scheme, host and port; for a Unix socket its path."""
        if self._unix is not None:
            return f"unix:{self._unix}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._server is not None:
            self._server.close()
            self.provider.stop()
            await self._server.wait_closed()
