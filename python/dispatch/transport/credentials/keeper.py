"""Has one credential renewed ahead of time, and requests wait for the first one.

Driven by the worker's coarse timer: no timer and no thread of its own. A renewal that fails is tried again with growing pauses; until the
credential ends, requests go on with it, and nobody notices. After that they fail at once, as failures of our credential, with the reason.
"""

from __future__ import annotations

import asyncio
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from dispatch.errors import Failure
from dispatch.transport.credentials.fetch import CredentialError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.transport.pool import Waiting

__all__ = ["Issued", "Keeper", "Source"]

AHEAD_S = 300.0
"""How long before its end a credential is renewed; a fifth of its life, where that is shorter. Google hands out the old one until then."""
SPENT_S = 10.0
"""So long before its end it is not used any more: the provider's clock may be ahead, and the request is on its way for a while."""
PAUSE_S, PAUSE_MOST_S = 1.0, 30.0
DOUBT_S = 30.0
"""A credential that a provider refuses is asked for anew, but not more often than this."""


class Issued(Struct, frozen=True):
    """A credential."""

    value: Any
    expires_s: float = float("inf")
    """Seconds since 1970."""

    def __repr__(self) -> str:
        return f"Issued(***, {self.expires_s})"


class Source(Protocol):
    """Where a credential comes from."""

    name: str
    """For messages."""

    async def issue(self, timeout_s: float) -> Issued:
        """Have one issued.

        Raises:
            CredentialError: there is none.
        """


class Keeper:
    """See the module.

    Args:
        timeout_s: for one issue.
        now, steady: the wall's clock, and one that does not jump; seconds.

    Attributes:
        value: the credential; None while there is none that could be used.
        users: origins that use it.
        failures: renewals that failed in a row.
        told: called after each renewal, with what this keeps for whom, and why it failed; empty: it did not.
    """

    def __init__(
        self, source: Source, timeout_s: float, *, now: Callable[[], float] = time, steady: Callable[[], float] = monotonic
    ) -> None:
        self.value: Any = None
        self.users = 0
        self.failures = 0
        self.told: Callable[[Keeper, str], None] | None = None
        self._source = source
        self._timeout_s = timeout_s
        self._now = now
        self._steady = steady
        self._expires_s = 0.0
        self._due_s = 0.0
        """When to ask for the next, by the clock that does not jump."""
        self._asked_s = float("-inf")
        self._pause_s = PAUSE_S
        self._reason = ""
        self._task: asyncio.Task[None] | None = None
        self._held: list[tuple[Waiting, Callable[[Waiting], None]]] = []

    def __repr__(self) -> str:
        state = "ready" if self.value is not None else self._reason or "nothing yet"
        return f"<Keeper of {self._source.name}: {state}, {len(self._held)} waiting>"

    @property
    def name(self) -> str:
        """Whose credential it is, for messages."""
        return self._source.name

    def hold(self, waiting: Waiting, go_on: Callable[[Waiting], None]) -> None:
        """Keep a request until there is a credential; it fails if there will be none."""
        if self._task is None and self._steady() < self._due_s:
            # The last try has failed, and the next one is not due.
            asyncio.get_running_loop().call_soon(self._fail, waiting, self._reason)
            return
        self._held.append((waiting, go_on))
        self._ask()

    def sweep(self) -> None:
        """Look at the clock: ask for the next one in time, and use none that has ended."""
        if self.value is not None and self._now() >= self._expires_s - SPENT_S:
            self.value = None
            self._reason = self._reason or "it has expired"
        if self._task is None and self._steady() >= self._due_s:
            self._ask()

    def doubt(self) -> None:
        """The provider has refused it: it may have been withdrawn, or replaced where it lies."""
        if self._steady() - self._asked_s >= DOUBT_S:
            self._due_s = 0.0

    def close(self) -> None:
        """One user less; the last one stops what is under way."""
        self.users -= 1
        if self._task is not None and not self.users:
            self._task.cancel()

    async def wait_closed(self) -> None:
        """After `close`: wait until nothing is under way."""
        if self._task is not None and not self.users:
            await asyncio.wait([self._task])

    def _ask(self) -> None:
        if self._task is None:
            self._asked_s = self._steady()
            self._task = asyncio.get_running_loop().create_task(self._renew())
            self._task.add_done_callback(self._asked)

    async def _renew(self) -> None:
        async with asyncio.timeout(self._timeout_s):
            issued = await self._source.issue(self._timeout_s)
        left_s = issued.expires_s - self._now()
        if left_s <= SPENT_S:
            raise CredentialError("what was issued has ended already")
        self.value, self._expires_s, self._reason, self._pause_s = issued.value, issued.expires_s, "", PAUSE_S
        self._due_s = self._steady() + left_s - min(AHEAD_S, left_s / 5)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._task = None
        held, self._held = self._held, []
        error = None if task.cancelled() else task.exception()
        if error is not None or task.cancelled():
            self._due_s = self._steady() + self._pause_s
            self._pause_s = min(2 * self._pause_s, PAUSE_MOST_S)
            self._reason = str(error) if isinstance(error, CredentialError) else _why(error, self._timeout_s)
            self.failures += 1
        if self.told is not None and not task.cancelled():
            self.told(self, self._reason if error is not None else "")
        if error is None:
            self.failures = 0
        for waiting, go_on in held:
            if self.value is None:
                self._fail(waiting, self._reason)
            else:
                go_on(waiting)

    def _fail(self, waiting: Waiting, reason: str) -> None:
        receiver, waiting.receiver = waiting.receiver, None
        if receiver is not None:
            receiver.on_failure(Failure.CREDENTIAL, f"no credential of {self._source.name}: {reason}")


def _why(error: BaseException | None, timeout_s: float) -> str:
    """An error that nobody has put into words yet, without its text: that may hold anything."""
    if error is None:
        return "stopped"
    return f"none within {timeout_s:g} s" if isinstance(error, TimeoutError) else type(error).__name__
