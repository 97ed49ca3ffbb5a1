"""`offline`: local endpoints answer while the outside cannot be reached.

The outside is taken for unreachable when no connection to it could be made. Then the local plan is asked, and for a while at once, so that
not every request waits for a connection that will not come; after that one request tries the outside again.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

from dispatch.decisions import Step
from dispatch.errors import Failure, NoEndpoint, Overloaded, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config import Offline as Config
    from dispatch.errors import DispatchError
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Site, Start

__all__ = ["Offline", "build"]

_NS = 1_000_000_000


class Offline:
    """See the module."""

    __slots__ = ("_for_ns", "_local", "_outside", "_reached", "_site", "_until_ns")

    def __init__(self, config: Config, parts: Sequence[Start], site: Site) -> None:
        self._outside, self._local = parts
        self._site = site
        self._reached = site.pools[:1]
        self._for_ns = int(config.for_s * _NS)
        self._until_ns = 0

    def run(self, call: Call, failed: Failed) -> None:
        """Ask outside, unless that cannot be reached; then ask here."""
        now_ns = monotonic_ns()
        if now_ns < self._until_ns:
            self._note(call, "local", "the outside could not be reached just now")
            self._local(call, failed)
            return
        if self._until_ns:
            # This one finds out; those that come meanwhile do not wait for it.
            self._until_ns = now_ns + self._for_ns

        def on_failed(call: Call, error: DispatchError) -> None:
            if call.committed or call.body is None or not self._is_cut_off(error):
                failed(call, error)
                return
            self._until_ns = monotonic_ns() + self._for_ns
            self._note(call, "local", "the outside cannot be reached")
            self._local(call, failed)

        self._note(call, "plan", "the outside can be reached, as far as is known")
        self._outside(call, on_failed)

    def _is_cut_off(self, error: DispatchError) -> bool:
        """Whether it is the way that fails, and not who is at its end."""
        if isinstance(error, UpstreamError):
            is_cut_off = error.failure is Failure.CONNECT
        elif isinstance(error, (NoEndpoint, Overloaded)):
            # No place anywhere: because breakers are open, or because there is too much to do. The board knows.
            is_cut_off = not self._site.live.of(self._reached, monotonic_ns())[0].is_there
        else:
            is_cut_off = False
        if not is_cut_off:
            self._until_ns = 0
        return is_cut_off

    def _note(self, call: Call, chosen: str, why: str) -> None:
        self._site.decisions.of(call).steps.append(Step(self._site.path, "offline", "reach", chosen, why))


def build(plan: Config, parts: Sequence[Start], site: Site) -> Offline:
    """Join a plan with the local one."""
    return Offline(plan, parts, site)
