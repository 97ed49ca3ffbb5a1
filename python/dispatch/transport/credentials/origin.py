"""An origin whose requests carry a credential that is renewed, or a signature: put in as they leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dispatch.transport.pool import NoCredential, Waiting
from dispatch.wire.rope import InPieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.errors import Failure
    from dispatch.exchange import Answer
    from dispatch.transport.connection import Receiver, UpstreamConnection
    from dispatch.transport.credentials.keeper import Keeper
    from dispatch.transport.pool import Origin

__all__ = ["CredentialedOrigin", "with_line"]


def with_line(request: bytes, line: bytes) -> bytes:
    """A request with one more header line, its CRLF included, as the first."""
    at = request.index(b"\r\n") + 2
    return request[:at] + line + request[at:]


class _Told:
    """Waits for the first credential, without a connection."""

    connection: UpstreamConnection | None = None

    def __init__(self, issued: asyncio.Future[None]) -> None:
        self.issued = issued

    def go_on(self, waiting: Waiting) -> None:
        """There is one."""
        del waiting
        if not self.issued.done():
            self.issued.set_result(None)

    def on_failure(self, failure: Failure, reason: str) -> None:
        """There is none."""
        del failure
        if not self.issued.done():
            self.issued.set_exception(NoCredential(reason))

    def on_answer(self, answer: Answer) -> None:
        """Nothing is asked."""

    def on_head(self, answer: Answer) -> None:
        """The same."""

    def on_bytes(self, data: bytes) -> None:
        """The same."""


class CredentialedOrigin:
    """Stands before an `Origin`, whose connections it shares with others.

    Args:
        put: from a request and the credential to the request that is sent.
    """

    def __init__(self, inner: Origin, keeper: Keeper, put: Callable[[bytes, Any], bytes]) -> None:
        self._inner = inner
        self._keeper = keeper
        self._put = put
        keeper.users += 1

    def __repr__(self) -> str:
        return f"<CredentialedOrigin {self._keeper!r} before {self._inner!r}>"

    def send(self, request: bytes, receiver: Receiver) -> Waiting | None:
        """Send as `Origin.send` does, or wait for the first credential."""
        value = self._keeper.value
        if value is not None:
            return self._inner.send(self._put(request, value), receiver)
        return self._held(request, receiver)

    def send_pieces(self, request: InPieces, receiver: Receiver) -> Waiting:
        """The same for a request that is not in one piece."""
        value = self._keeper.value
        return self._held(request, receiver) if value is None else self._inner.send_pieces(self._put_first(request, value), receiver)

    def _held(self, request: bytes, receiver: Receiver) -> Waiting:
        waiting = Waiting(self._inner, request, receiver)
        self._keeper.hold(waiting, self._go_on)
        return waiting

    def _put_first(self, request: InPieces, value: Any) -> InPieces:
        return InPieces.of(self._put(request, value), request.rest)

    def _go_on(self, waiting: Waiting) -> None:
        if waiting.receiver is not None:
            request, value = waiting.request, self._keeper.value
            waiting.request = self._put_first(request, value) if type(request) is InPieces else self._put(request, value)
            self._inner.resume(waiting)

    async def dial(self, protocol: asyncio.Protocol, request: bytes) -> bytes:
        """As `Origin.dial`: with the credential in what is to be sent.

        Raises:
            NoCredential: there is none.
        """
        if self._keeper.value is None:
            told = _Told(asyncio.get_running_loop().create_future())
            self._keeper.hold(Waiting(self._inner, request, told), told.go_on)
            await told.issued
        return await self._inner.dial(protocol, self._put(request, self._keeper.value))

    def on_refused(self) -> None:
        """The provider refused the credential."""
        self._keeper.doubt()

    def sweep(self, now_ns: int) -> None:
        """Have the credential renewed in time; the connections have a sweep of their own."""
        del now_ns
        self._keeper.sweep()

    def close(self) -> None:
        """Ask for no more credentials; the connections are closed by themselves."""
        self._keeper.close()

    async def wait_closed(self) -> None:
        """Wait until nothing is asked for."""
        await self._keeper.wait_closed()

    def on_connected(self, connection: UpstreamConnection) -> None:
        """Connections report to their own origin."""

    def on_lost(self, connection: UpstreamConnection) -> None:
        """The same."""

    def release(self, connection: UpstreamConnection) -> None:
        """The same."""

    def await_end(self, connection: UpstreamConnection) -> None:
        """The same."""
