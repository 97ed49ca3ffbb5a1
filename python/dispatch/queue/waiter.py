"""A request that waits for its turn: it holds no place, no task and no timer."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Protocol

from dispatch.errors import DeadlineExceeded
from dispatch.policy.cost import OUTPUT_TOKENS
from dispatch.queue.flows import number_of, weight_of

if TYPE_CHECKING:
    from dispatch.exchange import Call
    from dispatch.queue.flows import Flow
    from dispatch.queue.line import Line
    from dispatch.routing import Refusal

__all__ = ["Caller", "Waiter"]

EVENT_NS = 1_000_000_000
"""How often a client that asked for it hears where it stands."""

_NS = 1_000_000_000
_NS_PER_MS = 1_000_000


class Caller(Protocol):
    """A key, as shares are given to it."""

    @property
    def slot(self) -> int: ...
    @property
    def weight(self) -> int: ...
    @property
    def priority(self) -> int:
        """Its place in `CLASSES`."""


class Waiter:
    """The `run` of a call that waits; on the watch, as everything under way.

    Attributes:
        model, routing: what it is served by.
        key_slot: of its key, -1 for none.
        number, weight: of its flow.
        refusal: why it got no place when it was last tried.
        position, eta_ms: how many are served before it and this one, and when it is served, as last reckoned; -1 for unknown.
    """

    __slots__ = (
        "call",
        "eta_ms",
        "flow",
        "joined_ns",
        "key_slot",
        "line",
        "model",
        "number",
        "position",
        "refusal",
        "routing",
        "tokens",
        "usual",
        "weight",
    )

    def __init__(self, call: Call, line: Line, caller: Caller, now_ns: int) -> None:
        self.call = call
        self.line = line
        self.model = line.model
        self.routing = line.routing
        self.key_slot = caller.slot
        priority = caller.priority if call.priority is None else min(caller.priority, call.priority)
        self.number = number_of(caller.slot, priority)
        self.weight = weight_of(caller.weight, priority)
        self.tokens = call.tokens_in + call.tokens_out
        self.usual = self._usual()
        self.joined_ns = now_ns
        self.refusal: Refusal | None = None
        self.position = 0
        self.eta_ms = -1
        self.flow: Flow[Waiter]

    @property
    def cost(self) -> int:
        """Its tokens, by answers as long as they are known to be by now.

        What its flow pays for it. Those who came before the first answers would else pay for a guess that those who came after
        do not share: a dozen of them would cost their key hundreds of turns.
        """
        return self.call.tokens_in + self.call.tokens_out * self._usual() // self.usual

    def _usual(self) -> int:
        """Tokens of an answer of this model, as far as known."""
        return self.routing.expect(self.model.slot, 0, 0, OUTPUT_TOKENS, 1)[1] or 1

    def cancel(self) -> None:
        """The client has left, or is told something else."""
        self.line.remove(self)

    def pause(self) -> None:
        """Nothing comes from upstream yet."""

    def resume(self) -> None:
        """See `pause`."""

    def check(self, now_ns: int) -> None:
        """Look at the clock: the deadline, and the longest wait."""
        call = self.call
        if call.place is not self:
            # Something before it in the same round has ended it.
            return
        if now_ns >= call.deadline_ns:
            waited_s = (now_ns - self.joined_ns) / _NS
            self.line.end(self, DeadlineExceeded(f"the deadline passed after {waited_s:.1f} s in the queue of {call.model!r}"))
        elif now_ns - self.joined_ns >= self.line.patience_s * _NS:
            self.line.shed(self)

    def keep_awake(self, now_ns: int, silent_since_ns: int) -> None:
        """Tell the client of a stream that it still waits: where it stands, if it asked for that."""
        call = self.call
        if not call.stream or call.run is not self:
            return
        if call.queue_events and now_ns - call.heard_ns >= EVENT_NS:
            self.tell(now_ns)
        elif call.heard_ns < silent_since_ns:
            call.heard_ns = now_ns
            call.sink.on_silence(call)

    def tell(self, now_ns: int) -> None:
        """Write down where it stands, and let the client of a stream that asked for it read it."""
        self.position, eta_s = self.line.reckon(self)
        self.eta_ms = -1 if eta_s is None else round(eta_s * 1000)
        call = self.call
        call.notes = self.lines()
        if call.stream and call.queue_events:
            call.heard_ns = now_ns
            call.sink.on_silence(call)

    def lines(self) -> bytes:
        """Header lines that say where it stood when it came."""
        eta = b"x-dispatch-queue-eta-ms: %d\r\n" % self.eta_ms if self.eta_ms >= 0 else b""
        return b"x-dispatch-queue-position: %d\r\n%b" % (self.position, eta)

    def comment(self) -> bytes:
        """The same for a stream that asked for it."""
        eta = b" eta_ms=%d" % self.eta_ms if self.eta_ms >= 0 else b""
        return b"queue position=%d%b" % (self.position, eta)

    def as_call(self) -> Call:
        """The call that waits."""
        return self.call

    def count(self, outcome: int, *, is_refusal: bool) -> None:
        """Count its end on the board: it has no ticket that would."""
        if is_refusal:
            self.routing.refuse(self.model.slot, self.key_slot)
        else:
            self.routing.count(self.model.slot, outcome)

    def begin_try(self) -> None:
        """Its turn has come: what its answer will say of the wait."""
        self.refusal = None
        waited_ns = monotonic_ns() - self.joined_ns
        self.call.notes = self.lines() + b"x-dispatch-queue-wait-ms: %d\r\n" % (waited_ns // _NS_PER_MS)
