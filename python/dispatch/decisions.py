"""Why a request went where it went: a record for each request of a model that decides, in a ring of the last ones of this worker.

A record holds what the decision was made of (signals, draws, what the board said) and not the prompt, so that it can be made again and
can be shown. Each composite plan on the way adds a step, each attempt a try; plans with branches add what they made of them. The id names
the worker, and goes to the client as `x-dispatch-decision`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from dispatch.policy.cost import cost_pico, micro_dollars, rates
from dispatch.schema import Usage

if TYPE_CHECKING:
    from dispatch.attempt import Attempts
    from dispatch.errors import DispatchError, Failure
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Start
    from dispatch.pools import Book

__all__ = ["AWAY", "RING", "Candidate", "Decision", "Decisions", "Step", "Try"]

RING = 4096
"""Decisions that a worker remembers (CONTRACT section 6)."""


_LINE = b"x-dispatch-decision: %b\r\n"


AWAY = "its breakers are open"
"""Why a candidate is passed over that has no endpoint with a closed breaker."""


class Candidate(Struct, omit_defaults=True):
    """A part that might have been chosen."""

    name: str
    score: float | None = None
    filtered: str = ""
    """Why it was not looked at; empty: it was."""


class Step(Struct, omit_defaults=True):
    """What one composite plan decided or did."""

    path: str
    """Its place in the model's plan, such as `fallback[1].route`."""
    kind: str
    by: str = ""
    chosen: str = ""
    why: str = ""
    seed: int = 0
    """The draw, where chance took part."""
    signals: Any = None
    """`_core.Signals` while it stands in the ring, their facts in what is shown."""
    board: dict[str, Any] = {}
    """What was read of the world: latencies, errors, prices, times."""
    candidates: list[Candidate] = []
    worth: list[float] = []
    """Of a learned route, what each of `names` was worth: `candidates` in what is shown."""
    details: dict[str, Any] = {}
    """What else a kind has to say, such as its branches."""
    trail: Any = None
    """Of a pool, `_core.Trail` while it stands in the ring, what it read in what is shown."""
    names: tuple[str, ...] = ()
    """The endpoints of a pool, by position, or those that `worth` is of."""

    def weighed(self) -> list[Candidate]:
        """The candidates, also where only their worth was kept."""
        there = [fact["is_there"] for fact in self.board.get("candidates", ())] if self.worth else []
        nobody = not any(there)
        made = zip(self.names, self.worth, there, strict=True) if self.worth else ()
        return [Candidate(name, worth, "" if is_there or nobody else AWAY) for name, worth, is_there in made] or self.candidates


class Try(Struct, omit_defaults=True):
    """One attempt."""

    endpoint: str
    failure: str
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    micro_dollars: int = 0
    duration_ms: float = 0.0
    is_branch: bool = False


class Decision(Struct, omit_defaults=True):
    """All about one request."""

    id: str
    time: datetime
    made_ns: int
    """When, on the monotonic clock."""
    request: str
    """Its `x-request-id`."""
    model: str
    key: str = ""
    steps: list[Step] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)
    endpoint: str = ""
    outcome: str = "under_way"
    error: str = ""
    micro_dollars: int = 0
    """Of all tries together."""
    duration_ms: float = 0.0
    feedback: list[float] = field(default_factory=list)


class Decisions:
    """The ring of one worker.

    Args:
        worker: its number.
    """

    def __init__(self, worker: int = 0) -> None:
        self._worker = worker
        self._prefix = f"{worker:x}-{time_ns() // 1_000_000 & 0xFFFFFFFF:x}-"
        self._ring: list[Decision | None] = [None] * RING
        self._next = 0

    def of(self, call: Call) -> Decision:
        """Return the record of a call's request, made now if there is none."""
        root = call.root
        found = root.decision
        if isinstance(found, Decision):
            if found.id.encode() not in root.notes:
                # It waited in the queue since, which wrote its own notes.
                root.notes += _LINE % found.id.encode()
            return found
        number = self._next
        self._next += 1
        request = root.request_id[14:-2].decode("latin-1")
        made = Decision(f"{self._prefix}{number:x}", datetime.now(UTC), monotonic_ns(), request, root.model, root.key)
        self._ring[number % RING] = root.decision = made
        root.notes += _LINE % made.id.encode()
        return made

    def recorded(self, start: Start) -> Start:
        """Return what starts a plan, with a record from its beginning."""

        def run(call: Call, failed: Failed) -> None:
            self.of(call)
            start(call, failed)

        return run

    def find(self, name: str) -> Decision | None:
        """Return the record of that id, if this worker still has it."""
        number = name.removeprefix(self._prefix)
        if number == name or not number.isalnum() or len(number) > 12:
            return None
        try:
            found = self._ring[int(number, 16) % RING]
        except ValueError:
            return None
        return found if found is not None and found.id == name else None

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
        decision = call.decision
        if isinstance(decision, Decision):
            decision.endpoint = call.endpoint
            decision.outcome = outcome.name.lower() if outcome else "ok"
            decision.error = error.code if error is not None else ""
            decision.duration_ms = (monotonic_ns() - call.received_ns) // 1000 / 1000


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
