"""A listening mock on the running event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from dispatch.mock.gate import Gate
from dispatch.mock.provider import Provider

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from dispatch.mock.journal import Journal
    from dispatch.mock.scenario import Scenario

__all__ = ["Service"]


class Service:
    """Listens while the context is open.

    Attributes:
        provider: the simulated provider, after entering.
        port: where it listens, 0 on a Unix socket.
        control_port: where it listens besides, whatever the scenario does to connections; None if nowhere.
    """

    def __init__(  # noqa: PLR0913  # each is a flag of the command
        self,
        scenario: Scenario,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        control_port: int | None = None,
        unix: Path | None = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        journal: Journal | None = None,
        keep_requests: bool = False,
    ) -> None:
        self._scenario = scenario
        self._host = host
        self.port = port
        self.control_port = control_port
        self._unix = unix
        self._tls: ssl.SSLContext | None = None
        if tls_cert is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls_cert, tls_key)
        self._journal = journal
        self._keep_requests = keep_requests
        self._gates: list[Gate] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.provider = Provider(self._scenario, loop, journal=self._journal, keep_requests=self._keep_requests)
        self._gates = [Gate(self.provider, self._listen, self._tls)]
        if self.control_port is not None:
            self._gates.append(Gate(self.provider, self._listen_for_control, None, is_safe=True))
        self.provider.gates = self._gates
        for gate in self._gates:
            gate.open()
        return self

    def _listen(self) -> socket.socket:
        if self._unix is not None:
            with suppress(FileNotFoundError):
                self._unix.unlink()
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(str(self._unix))
            return sock
        sock = _bound(self._host, self.port)
        self.port = sock.getsockname()[1]
        return sock

    def _listen_for_control(self) -> socket.socket:
        sock = _bound(self._host, self.control_port or 0)
        self.control_port = sock.getsockname()[1]
        return sock

    @property
    def url(self) -> str:
        """Scheme, host and port; for a Unix socket its path."""
        if self._unix is not None:
            return f"unix:{self._unix}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for gate in self._gates:
            gate.close()
        self.provider.stop()
        # Closed connections report their end in the loop's next rounds.
        await asyncio.sleep(0)
        if self._unix is not None:
            with suppress(FileNotFoundError):
                self._unix.unlink()


def _bound(host: str, port: int) -> socket.socket:
    """A socket bound to the first address of a name. Raises `OSError`."""
    family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, kind, number)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock
