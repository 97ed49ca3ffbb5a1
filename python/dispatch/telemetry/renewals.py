"""What is told of credentials that are renewed: a count for each endpoint that uses one, and a line when it fails and when it is mended.

A line names whose credential it is and why there is none, never the credential: the reasons are made without one (`transport.credentials`).
Each worker renews by itself, so each says so; the counts are those of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.routing import Board

__all__ = ["EVERY", "Renewals", "Say"]

EVERY = 20
"""Of failures in a row the first one is told, and then each that is a multiple of this: every ten minutes, as renewals pause 30 s."""


class Say(Protocol):
    """Writes a line: `telemetry.log.Log.event`."""

    def __call__(self, name: str, text: str = "", **fields: object) -> None:
        """Write it: what happened, as a person reads it, and its parts."""


class _Kept(Protocol):
    """What keeps a credential."""

    @property
    def name(self) -> str:
        """Whose it is."""

    @property
    def failures(self) -> int:
        """In a row, this one included."""


class Renewals:
    """See the module.

    Args:
        board: where renewals are counted.
        endpoints: names and slots of those that use the credential.
        say: None where nobody reads.
    """

    def __init__(self, board: Board, endpoints: Sequence[tuple[str, int]], say: Say | None) -> None:
        self._board = board
        self._endpoints = endpoints
        self._say = say

    def __call__(self, kept: _Kept, reason: str) -> None:
        """A renewal is over; `reason`: why there is no new credential, empty if there is one."""
        for _, slot in self._endpoints:
            self._board.count_renewal(slot, not reason)
        if self._say is None:
            return
        names = [name for name, _ in self._endpoints]
        failures = kept.failures
        if reason and (failures == 1 or failures % EVERY == 0):
            text = f"no new credential of {kept.name} for {', '.join(names)}: {reason}"
            self._say("credential_failed", text, source=kept.name, endpoints=names, reason=reason, failures=failures)
        elif not reason and failures:
            text = f"the credential of {kept.name} for {', '.join(names)} is renewed again"
            self._say("credential_renewed", text, source=kept.name, endpoints=names, failures=failures)
