"""Plain requests: those that the core's express lane takes whole: a known key, a known model, no hints, no stream.

Such a request needs one call into the core when it comes and one when its answer is there. Whatever else happens to it (an
error, a silence, a client that leaves, a limit) turns it into a `Call` with its `Attempts`, at the point where it stands, and
it goes the way of all requests.
"""

from __future__ import annotations

from random import getrandbits
from time import monotonic_ns
from typing import TYPE_CHECKING, final

from dispatch.attempt import Attempts
from dispatch.exchange import Call
from dispatch.lane import NOBODY
from dispatch.routing import Job
from dispatch.wire.http1 import GOOD, Scan

if TYPE_CHECKING:
    from dispatch.errors import Failure
    from dispatch.exchange import Answer
    from dispatch.lane import Entry, Lane
    from dispatch.links import Link
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.transport.connection import UpstreamConnection
    from dispatch.transport.pool import Waiting
    from dispatch.wire.http1 import Inbound

__all__ = ["TAKEN", "PlainRequest", "Taken", "take"]


@final
class Taken:
    """A request that was plain and is under way."""


TAKEN = Taken()


def take(front: Front, lane: Lane, client: ClientConnection, inbound: Inbound) -> Taken | Scan | None:
    """Start a request if it is plain. Otherwise: its scanned body, or None where that was not read."""
    job = lane.take(inbound, client.received_ns, getrandbits(64))
    if type(job) is not Job:
        return job
    request = PlainRequest(front, lane, client, job)
    client.call = request
    upstream = job.request
    if upstream is None:
        request.refuse()
        return TAKEN
    dispatcher = front.dispatcher
    dispatcher.under_way += 1
    dispatcher.watch.add(request)
    request.send(upstream)
    return TAKEN


class PlainRequest:
    """See the module. A receiver, like `Attempts`; on the watch, like `Attempts`."""

    __slots__ = ("_client", "_front", "_id", "_job", "_lane", "_link", "_model", "_received_ns", "_sent_ns", "_waiting", "connection")

    run = None
    """A whole answer is neither paused nor resumed."""

    def __init__(self, front: Front, lane: Lane, client: ClientConnection, job: Job) -> None:
        self.connection: UpstreamConnection | None = None
        self._front = front
        self._lane = lane
        self._client = client
        self._job = job
        self._model: Entry = lane.models[job.model]
        self._id = front.request_id()
        self._received_ns = client.received_ns
        self._sent_ns = 0
        self._waiting: Waiting | None = None
        self._link: Link = self._model.pool.links[job.position]

    def send(self, upstream: bytes) -> None:
        """Send the request that the core has composed."""
        self._waiting = self._link.origin.send(upstream, self)
        self._sent_ns = monotonic_ns()

    def on_answer(self, answer: Answer) -> None:
        """A whole answer: settle everything and deliver it, if it is what it should be."""
        client = self._client
        front = self._front
        if not answer.flags & GOOD or front.dispatcher.report is not None:
            self._expand().on_answer(answer)
            return
        now_ns = monotonic_ns()
        extra = self._id + self._link.lines(1)
        extra += client.own_lines
        out = self._job.deliver(answer, now_ns, self._sent_ns - self._received_ns + monotonic_ns() - now_ns, extra)
        front.dispatcher.watch.discard(self)
        front.dispatcher.leave()
        client.deliver(out)

    def on_head(self, answer: Answer) -> None:
        """A stream that nobody asked for."""
        self._expand().on_head(answer)

    def on_bytes(self, data: bytes) -> None:
        raise AssertionError("only a relay has bytes")

    def on_failure(self, failure: Failure, reason: str) -> None:
        connection = self.connection
        attempts = self._expand()
        attempts.connection = connection
        attempts.on_failure(failure, reason)

    def check(self, now_ns: int) -> None:
        """Look at the clock, as `Attempts` does."""
        model = self._model
        if now_ns - self._received_ns >= model.deadline_ns or now_ns - self._sent_ns > model.patience_ns:
            self._expand().check(now_ns)

    def keep_awake(self, now_ns: int, silent_since_ns: int) -> None:
        """Nothing is sent to a client before its whole answer."""

    def as_call(self) -> Call:
        """This request as what it has to become when something happens to it."""
        return self._expand().call

    def refuse(self) -> None:
        """There is no place for it: at its key or model, or at every endpoint."""
        job = self._job
        call = self._call()
        dispatcher = self._front.dispatcher
        refusal = job.refusal
        assert refusal is not None
        if call.ticket is None:
            key = self._lane.keys[job.key] if job.key >= 0 else NOBODY
            dispatcher.turn_away(call, self._model.slot, key.slot, refusal)
            return
        dispatcher.under_way += 1
        attempts = Attempts(call, self._model.pool, self._model.on_failed)
        call.run = attempts
        attempts.on_refusal(refusal)

    def _call(self) -> Call:
        job, lane, model = self._job, self._lane, self._model
        received_ns = self._received_ns
        call = Call(self._client, model.name, lane.doors[job.door], job.scan, received_ns, received_ns + model.deadline_ns)
        key = lane.keys[job.key] if job.key >= 0 else NOBODY
        call.key = key.name
        call.tokens_in, call.tokens_out = job.tokens
        call.affinity = job.scan.affinity or key.affinity
        call.request_id = self._id
        call.ticket = job.ticket
        if self._client.call is self:
            self._client.call = call
        return call

    def _expand(self) -> Attempts:
        """Go on as any other request."""
        job, model = self._job, self._model
        call = self._call()
        call.overhead_ns = self._sent_ns - self._received_ns
        attempts = Attempts(call, model.pool, model.on_failed)
        lease = job.lease
        assert lease is not None
        attempts.take_over(lease, self._link, self._sent_ns)
        self._hand_over(attempts)
        watch = self._front.dispatcher.watch
        watch.discard(self)
        watch.add(attempts)
        return attempts

    def _hand_over(self, attempts: Attempts) -> None:
        """Let the answer come to `attempts`, if it is still to come: a connection that has given it may serve another request by now."""
        connection, waiting = self.connection, self._waiting
        if connection is not None and connection.receiver is self:
            connection.receiver = attempts
            attempts.connection = connection
        if waiting is not None and waiting.receiver is self:
            waiting.receiver = attempts
            attempts.waiting = waiting
