"""Plain requests: those that the core's express lane takes whole: a known key, a known model, no hints, no stream.

Such a request needs one call into the core when it comes and one when its answer is there. Whatever else happens to it (an
error, a silence, a client that leaves, a limit) turns it into a `Call` with its `Attempts`, at the point where it stands, and
it goes the way of all requests. A request whose endpoint speaks another dialect is plain as well: it is translated here, and its answer.
"""

from __future__ import annotations

from random import getrandbits
from time import monotonic_ns
from typing import TYPE_CHECKING, final

from dispatch.attempt import NO_USAGE, Attempts
from dispatch.errors import DispatchError, Failure
from dispatch.exchange import Call
from dispatch.lane import NOBODY
from dispatch.routing import Job
from dispatch.wire.http1 import CUT_CALL, ENCODED, GOOD, NEAR_LIMIT, Scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.exchange import Answer, Body
    from dispatch.lane import Entry, Lane
    from dispatch.links import Link
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.transport.connection import UpstreamConnection
    from dispatch.transport.pool import Waiting
    from dispatch.wire.http1 import Inbound

__all__ = ["TAKEN", "PlainRequest", "Taken", "take"]

OK = b"HTTP/1.1 200 OK\r\n"


@final
class Taken:
    """A request that was plain and is under way."""


TAKEN = Taken()


def take(front: Front, lane: Lane, client: ClientConnection, inbound: Inbound) -> Taken | Scan | None:
    """Start a request if it is plain. Otherwise: its scanned body, or None where that was not read."""
    job = lane.take(inbound, client.received_ns, getrandbits(64))
    if type(job) is not Job:
        return job
    upstream = job.request
    if upstream is None:
        _take_other(front, lane, client, job)
        return TAKEN
    request = PlainRequest(front, lane, client, job)
    client.call = request
    dispatcher = front.dispatcher
    dispatcher.under_way += 1
    dispatcher.watch.add(request)
    request.send(upstream)
    return TAKEN


def _take_other(front: Front, lane: Lane, client: ClientConnection, job: Job) -> None:
    """Start a request that the core has not composed: it is to be translated, or there is no place for it."""
    if job.lease is None:
        client.call = refused = PlainRequest(front, lane, client, job)
        refused.refuse()
    else:
        client.call = request = TranslatedRequest(front, lane, client, job)
        request.begin()


class PlainRequest:
    """See the module. A receiver, like `Attempts`; on the watch, like `Attempts`."""

    __slots__ = ("_client", "_front", "_job", "_lane", "_link", "_model", "_received_ns", "_sent_ns", "_waiting", "connection")

    run = None
    """A whole answer is neither paused nor resumed."""

    def __init__(self, front: Front, lane: Lane, client: ClientConnection, job: Job) -> None:
        self.connection: UpstreamConnection | None = None
        self._front = front
        self._lane = lane
        self._client = client
        self._job = job
        self._model: Entry = lane.models[job.model]
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
        dispatcher = self._front.dispatcher
        if not answer.flags & GOOD or dispatcher.report is not None:
            self._expand().on_answer(answer)
            return
        now_ns = monotonic_ns()
        extra = self._link.first_lines
        if client.cors or not client.keeps:
            extra += client.own_lines
        out = self._job.deliver(answer, now_ns, self._sent_ns - self._received_ns + monotonic_ns() - now_ns, extra)
        dispatcher.watch.discard(self)
        dispatcher.under_way -= 1
        if dispatcher.draining:
            dispatcher.look_idle()
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
        call.request_id = self._lines
        call.number = job.number if model.is_noted else 0
        call.ticket = job.ticket
        if self._client.call is self:
            self._client.call = call
        return call

    @property
    def _lines(self) -> bytes:
        """By which its answer is named."""
        return self._front.records.lines(self._job.number, self._model.is_noted)

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


class TranslatedRequest(PlainRequest):
    """The same at an endpoint of another dialect. It is what a translation must know of a request."""

    __slots__ = ("_translation", "body", "dropped", "upstream_name")

    drops = False
    """The client has not said so: that would be a header line, and the request none of the lane."""
    wants_logprobs = False
    """No plan does."""

    def __init__(self, front: Front, lane: Lane, client: ClientConnection, job: Job) -> None:
        super().__init__(front, lane, client, job)
        self.body: Body | None = job.scan
        self.dropped: Sequence[str] = ()
        self.upstream_name = self._model.name
        self._translation = self._link.translations[lane.doors[job.door]]

    def begin(self) -> None:
        """Translate and send; what cannot be said there is refused, as by `Attempts`."""
        dispatcher = self._front.dispatcher
        dispatcher.under_way += 1
        try:
            upstream = self._translation.request(self, self._link.heads[self._lane.doors[self._job.door]])
        except DispatchError as error:
            lease = self._job.lease
            assert lease is not None
            lease.settle(Failure.CANCELLED, self._received_ns, 0, 0, 0, 0)
            call = self._call()
            call.attempts = 1
            self._model.on_failed(call, error)
            return
        dispatcher.watch.add(self)
        self.send(upstream)

    def on_answer(self, answer: Answer) -> None:
        """See the base; an answer that is none in its own dialect is left to `Attempts`."""
        front = self._front
        now_ns = monotonic_ns()
        is_usual = answer.status == 200 and not answer.flags & (ENCODED | NEAR_LIMIT | CUT_CALL) and front.dispatcher.report is None
        found = self._translation.answer(self, answer) if is_usual else answer
        if not is_usual or not found.flags & GOOD:
            self._expand().on_answer(answer)
            return
        usage = found.usage or NO_USAGE
        client = self._client
        extra = self._lines + self._link.lines(1) + client.own_lines
        overhead_ns = self._sent_ns - self._received_ns + monotonic_ns() - now_ns
        self._job.settle(now_ns, overhead_ns, usage[0], usage[1], usage[2])
        front.dispatcher.watch.discard(self)
        front.dispatcher.leave()
        client.deliver(found.compose(OK, extra, overhead_ns // 1000))

    def _call(self) -> Call:
        call = super()._call()
        call.dropped = self.dropped
        return call
