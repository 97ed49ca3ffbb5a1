"""Steps in order: the next one is asked when the one before could not answer.

Nothing is asked twice that the request itself is to blame for: a bad request is bad everywhere. After commit there is no
next step (CONTRACT section 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.config import Fallback as Config
from dispatch.config import Pool
from dispatch.errors import BadRequest, DeadlineExceeded, DispatchError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config import Plan as Parts
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Plan, Site, Start

__all__ = ["Fallback", "build", "may_go_on"]


_OF_ENDPOINTS = frozenset(("unsupported_parameter", "context_length_exceeded"))
"""What one pool cannot do and another may."""


class Fallback:
    """Ask `steps` in order until one answers."""

    __slots__ = ("_steps",)

    def __init__(self, *steps: Start) -> None:
        self._steps = steps

    def run(self, call: Call, failed: Failed) -> None:
        _Run(self._steps, failed).next(call, None)

    def after_first(self, failed: Failed) -> Failed:
        """What follows the failure of the first step, for a first step that was started elsewhere."""

        def on_failed(call: Call, error: DispatchError) -> None:
            _Run(self._steps, failed, at=1).next(call, error)

        return on_failed


class _Run:
    """One call on its way down the steps."""

    __slots__ = ("_at", "_failed", "_steps")

    def __init__(self, steps: tuple[Start, ...], failed: Failed, at: int = 0) -> None:
        self._steps = steps
        self._failed = failed
        self._at = at

    def next(self, call: Call, error: DispatchError | None) -> None:
        if error is not None and (self._at >= len(self._steps) or not may_go_on(call, error)):
            self._failed(call, error)
            return
        step = self._steps[self._at]
        self._at += 1
        step(call, self.next)


def may_go_on(call: Call, error: DispatchError) -> bool:
    """Whether another plan may be asked after `error`."""
    if call.committed or call.body is None or isinstance(error, DeadlineExceeded):
        return False
    if isinstance(error, UpstreamError):
        return error.may_fall_back
    return not isinstance(error, BadRequest) or error.code in _OF_ENDPOINTS


def build(plan: Config, parts: Sequence[Start], site: Site) -> Plan:
    """Join the steps."""
    if all(map(_is_plain, plan.parts)):
        return Fallback(*parts)
    from dispatch.plans.costly import Costly  # noqa: PLC0415  # brings anyio, which plain plans do without

    return Costly(parts, site)


def _is_plain(plan: Parts) -> bool:
    return isinstance(plan, Pool) or (isinstance(plan, Config) and all(map(_is_plain, plan.parts)))
