"""Why a request went where it went: a record for each request, the last ones of this worker.

A record holds what the decision was made of (signals, draws, what the board said) and not the prompt, so that it can be made again and
can be shown. Of every request the core notes what its pools read and what its tries took (`noted`); a model that decides has more to say:
each composite plan on the way adds a step, each attempt a try; plans with branches add what they made of them. The id names the worker and
the request, and goes to the client as `x-dispatch-decision`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dispatch.noted import MILLION, Noted
from dispatch.policy.cost import cost_pico, micro_dollars, rates
from dispatch.record import AWAY, Candidate, Decision, Step, Try
from dispatch.routing import RECORDS_KEPT, Records
from dispatch.schema import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.attempt import Attempts
    from dispatch.errors import DispatchError, Failure
    from dispatch.exchange import Call
    from dispatch.noted import PoolNames
    from dispatch.plans.base import Failed, Start
    from dispatch.pools import Book
    from dispatch.routing import Slots

__all__ = ["AWAY", "RING", "Candidate", "Decision", "Decisions", "Step", "Try"]

RING = RECORDS_KEPT
"""Requests that a worker remembers (CONTRACT section 6)."""

_ID = re.compile(r"[0-9a-f]{1,2}-[0-9a-f]{1,8}-[0-9a-f]{1,12}")


class Decisions:
    """The ring of one worker.

    Args:
        worker: its number.
    """

    def __init__(self, worker: int = 0) -> None:
        self._worker = worker
        self._prefix = f"{worker:x}-{time_ns() // 1_000_000 & 0xFFFFFFFF:x}-"
        self.records = Records(self._prefix)
        self._noted = Noted(self.records, self._prefix)
        self._ring: list[Decision | None] = [None] * RING

    def use(self, slots: Slots, pools: Mapping[int, PoolNames]) -> None:
        """Learn the names of a configuration; pools by the core's tags."""
        self._noted.use(slots, pools)

    def name_of(self, call: Call) -> str:
        """Return the id of a call's record; empty: it has none."""
        return f"{self._prefix}{call.root.number:x}" if call.root.number else ""

    def of(self, call: Call) -> Decision:
        """Return the record of a call's request, made now if there is none."""
        root = call.root
        found = root.decision
        if isinstance(found, Decision):
            return found
        number = root.number = root.number or self.records.begin()
        made = Decision(f"{self._prefix}{number:x}", datetime.now(UTC), monotonic_ns(), root.named, root.model, root.key)
        self._ring[number % RING] = root.decision = made
        return made

    def recorded(self, start: Start) -> Start:
        """Return what starts a plan, with a record from its beginning."""

        def run(call: Call, failed: Failed) -> None:
            self.of(call)
            start(call, failed)

        return run

    def find(self, name: str) -> Decision | None:
        """Return the record of that id, if this worker still has it."""
        number = self._number(name)
        if number is None:
            return None
        found = self._ring[number % RING]
        return found if found is not None and found.id == name else self._noted.find(number)

    def whole(self, found: Decision) -> Decision:
        """Return a record with all its steps: a model's that decides, with what its pools read."""
        number = self._number(found.id)
        if number is None or self._ring[number % RING] is not found:
            return found
        return replace(found, steps=found.steps + self._noted.steps(number))

    def had(self, name: str) -> bool:
        """Whether there may have been a record of that id, of this worker or of one before it."""
        number = self._number(name)
        return number <= self.records.begun if number is not None else _ID.fullmatch(name) is not None

    def rate(self, found: Decision, score: float) -> None:
        """Note how good the answer was, from 0 to 1."""
        found.feedback.append(score)
        number = self._number(found.id)
        if number is not None:
            self.records.judged(number, round(score * MILLION))

    def _number(self, name: str) -> int | None:
        """The number in an id of this worker."""
        number = name.removeprefix(self._prefix)
        return int(number, 16) if number != name and _ID.fullmatch(name) else None

    def worker_of(self, name: str) -> int | None:
        """Return the worker whose id this is, if it is another one."""
        number = name.partition("-")[0]
        if not number.isalnum() or len(number) > 2 or name.count("-") != 2:
            return None
        try:
            worker = int(number, 16)
        except ValueError:
            return None
        return None if worker == self._worker else worker

    def booking(self, book: Book | None) -> Book:
        """Return what books an attempt here, and in `book` as well."""
        return _Both(self, book)

    def book(self, attempt: Attempts, failure: Failure, usage: tuple[int, int, int, int], now_ns: int) -> None:
        """Note an attempt that is over in its request's record."""
        call = attempt.call
        decision = call.root.decision
        if not isinstance(decision, Decision):
            return
        tokens_in, tokens_out, cached, _ = usage
        used = Usage(input_tokens=tokens_in, output_tokens=tokens_out, cached_tokens=cached)
        cost = micro_dollars(cost_pico(used, rates(attempt.link.endpoint.price)))
        decision.micro_dollars += cost
        took_ms = (now_ns - attempt.sent_ns) // 1000 / 1000
        is_branch = call.parent is not None
        decision.tries.append(
            Try(attempt.link.name, failure.name.lower(), tokens_in, tokens_out, cached, cost, took_ms, is_branch=is_branch)
        )

    def close(self, call: Call, outcome: Failure, error: DispatchError | None) -> None:
        """The request of a record is over."""
        code = error.code if error is not None else ""
        if outcome:
            self.records.failed(call.number, int(outcome), monotonic_ns(), code)
        decision = call.decision
        if isinstance(decision, Decision):
            decision.endpoint = call.endpoint
            decision.outcome = outcome.name.lower() if outcome else "ok"
            decision.error = code
            decision.duration_ms = (monotonic_ns() - call.received_ns) // 1000 / 1000
            decision.overhead_ms = call.overhead_ns // 1000 / 1000


class _Both:
    """Books an attempt in its request's record, and in the ledger where there is one."""

    __slots__ = ("_decisions", "_ledger")

    def __init__(self, decisions: Decisions, ledger: Book | None) -> None:
        self._decisions = decisions
        self._ledger = ledger

    def begin(self, attempt: Attempts, /) -> None:
        if self._ledger is not None:
            self._ledger.begin(attempt)

    def __call__(self, attempt: Attempts, failure: Failure, usage: tuple[int, int, int, int], now_ns: int, /, *, sent: bool = True) -> None:
        if self._ledger is not None:
            self._ledger(attempt, failure, usage, now_ns, sent=sent)
        self._decisions.book(attempt, failure, usage, now_ns)
