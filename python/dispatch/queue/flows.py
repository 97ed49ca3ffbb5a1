"""The requests that wait at one model in this worker, and which of them is next.

A flow is what shares are given to: the requests of one key and one priority. Inside a flow the oldest comes first; between flows the one
with the smallest start in virtual time, which the board holds for all workers (`Turns`). Pure: no clock, no socket.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CLASSES", "PARTS", "Ahead", "Flow", "Flows", "Waits", "number_of", "weight_of"]

CLASSES = ("low", "normal", "high")
"""Priorities, the least first."""

CLASS_FACTOR = 8
"""How many times the share of the class below a priority has. A factor and not a strict order, so that none of them can starve."""

PARTS = 1 << 16
"""Of a token, in virtual time (`rust/src/engine/turns.rs`)."""


class Waits(Protocol):
    """What a flow holds."""

    @property
    def tokens(self) -> int: ...
    @property
    def joined_ns(self) -> int: ...


W = TypeVar("W", bound=Waits)


def number_of(key_slot: int, priority: int) -> int:
    """The number of a flow: of a key (-1: without one) and a place in `CLASSES`."""
    return (key_slot + 1) * len(CLASSES) + priority


def weight_of(weight: int, priority: int) -> int:
    """The share of a flow whose key has this weight."""
    factor: int = CLASS_FACTOR**priority
    return weight * factor


class Flow(Generic[W]):
    """Requests of one key and one priority.

    Attributes:
        blocked_ns: its key may not be asked again before; 0 for a flow that may be served, -1 for nobody knows when.
    """

    __slots__ = ("blocked_ns", "is_listed", "number", "tokens", "waiting", "weight")

    def __init__(self, number: int, weight: int) -> None:
        self.number = number
        self.weight = weight
        self.tokens = 0
        self.waiting: dict[W, None] = {}
        self.is_listed = False
        self.blocked_ns = 0

    @property
    def first(self) -> W:
        """The oldest."""
        return next(iter(self.waiting))

    @property
    def last(self) -> W:
        """The youngest."""
        return next(reversed(self.waiting))


class Ahead:
    """What comes before a request: requests and their tokens."""

    __slots__ = ("requests", "tokens")

    def __init__(self, requests: float, tokens: float) -> None:
        self.requests = requests
        self.tokens = tokens


class Flows(Generic[W]):
    """See the module.

    Args:
        start: where the next request of a flow begins in virtual time. It only grows.
    """

    def __init__(self, start: Callable[[int], int]) -> None:
        self._start = start
        self._flows: dict[int, Flow[W]] = {}
        # Starts as they were when a flow was listed: one that has grown since is put right when it comes up.
        self._heap: list[tuple[int, int]] = []
        self._count = 0
        self._active = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[W]:
        for flow in self._flows.values():
            yield from flow.waiting

    def add(self, waiter: W, number: int, weight: int) -> Flow[W]:
        """Put a request at the end of its flow. Its start is known to the board by now."""
        flow = self._flows.get(number)
        if flow is None:
            flow = self._flows[number] = Flow(number, weight)
        flow.weight = weight
        self._active += not flow.waiting
        flow.waiting[waiter] = None
        flow.tokens += waiter.tokens
        self._count += 1
        self._list(flow)
        return flow

    def remove(self, waiter: W, flow: Flow[W]) -> None:
        """Take a request out, served or not."""
        del flow.waiting[waiter]
        flow.tokens -= waiter.tokens
        self._count -= 1
        if not flow.waiting:
            flow.blocked_ns = 0
            self._active -= 1
            if not flow.is_listed:
                del self._flows[flow.number]

    def first(self) -> Flow[W] | None:
        """The flow that is next; None when nothing may be served."""
        heap = self._heap
        while heap:
            listed, number = heap[0]
            flow = self._flows[number]
            if not flow.waiting or flow.blocked_ns:
                self._unlist(flow)
                continue
            start = self._start(number)
            if start == listed:
                return flow
            heapreplace(heap, (start, number))
        return None

    def _unlist(self, flow: Flow[W]) -> None:
        """Drop the entry at the top of the heap, which is this flow's."""
        heappop(self._heap)
        flow.is_listed = False
        if not flow.waiting:
            del self._flows[flow.number]

    def block(self, flow: Flow[W], until_ns: int) -> None:
        """Leave a flow out until its key may be asked again; -1: until `unblock_all`."""
        flow.blocked_ns = until_ns

    def unblock(self, now_ns: int) -> None:
        """Take up the flows whose time has come."""
        for flow in self._flows.values():
            if 0 < flow.blocked_ns <= now_ns:
                flow.blocked_ns = 0
                self._list(flow)

    def unblock_all(self) -> None:
        """Take up the flows of which nobody knew when."""
        for flow in self._flows.values():
            if flow.blocked_ns < 0:
                flow.blocked_ns = 0
                self._list(flow)

    @property
    def blocked(self) -> int:
        """Flows of which nobody knows when their keys may be asked again."""
        return sum(flow.blocked_ns < 0 for flow in self._flows.values())

    @property
    def blocked_until_ns(self) -> int:
        """When the first blocked flow may be asked again; 0 when none is blocked."""
        return min((flow.blocked_ns for flow in self._flows.values() if flow.blocked_ns > 0), default=0)

    @property
    def is_one(self) -> bool:
        """Whether there is one flow at most."""
        return self._active <= 1

    @property
    def longest(self) -> Flow[W] | None:
        """The flow that waits for most, measured by its share."""
        waiting = (flow for flow in self._flows.values() if flow.waiting)
        return max(waiting, key=lambda flow: flow.tokens / flow.weight, default=None)

    def behind(self, number: int) -> Ahead:
        """What is in front of a request that joins a flow now, in that flow."""
        flow = self._flows.get(number)
        return Ahead(0, 0) if flow is None else Ahead(len(flow.waiting), flow.tokens)

    def ahead(self, number: int, weight: int, before: Ahead) -> Ahead:
        """What is served before a request of a flow that has `before` in front of it in its own flow, if nobody else comes."""
        reach = self._start(number) + before.tokens * PARTS / weight
        requests, tokens = before.requests, before.tokens
        for flow in self._flows.values():
            if flow.number == number:
                continue
            share = min(flow.tokens, max(0.0, (reach - self._start(flow.number)) * flow.weight / PARTS))
            tokens += share
            requests += len(flow.waiting) * share / flow.tokens if flow.tokens else 0.0
        return Ahead(requests, tokens)

    def before(self, waiter: W, flow: Flow[W]) -> Ahead:
        """What is in front of a request in its own flow."""
        requests = tokens = 0
        for other in flow.waiting:
            if other is waiter:
                break
            requests += 1
            tokens += other.tokens
        return Ahead(requests, tokens)

    def _list(self, flow: Flow[W]) -> None:
        if not flow.is_listed and not flow.blocked_ns:
            flow.is_listed = True
            heappush(self._heap, (self._start(flow.number), flow.number))
