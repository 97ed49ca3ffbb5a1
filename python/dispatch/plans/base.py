"""What a plan is: something that runs a call and says when it cannot.

A plan never delivers by itself: the pool (or plan) that it starts hands the answer to the call's sink. So the plan that most
requests take costs one call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dispatch.errors import DispatchError
from dispatch.exchange import Call

__all__ = ["Failed", "Plan", "Start"]

Failed = Callable[[Call, DispatchError], None]
"""Told once when there will be no answer."""

Start = Callable[[Call, Failed], None]
"""Starts a pool or another plan on a call."""


class Plan(Protocol):
    """A way to answer a call."""

    def run(self, call: Call, failed: Failed) -> None:
        """Start. The answer goes to `call.sink`; `failed` is called once if there will be none."""
