"""One client's request on its way: what plans, attempts and sinks hand to each other.

Everything here is called back, never awaited: a request that is passed through costs no task, no future and no timer.
A *sink* takes the answer. The sidecar's client connection is one; the library's future is another.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.errors import DispatchError
    from dispatch.routing import Refusal

__all__ = ["Answer", "Body", "Call", "Place", "Rewritable", "Run", "Sink", "Ticket"]


class Answer(Protocol):
    """A whole answer, or the head of a stream (`_core.Answer`)."""

    @property
    def status(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def head(self) -> bytes:
        """Header lines that may be passed on, each with its CRLF."""

    @property
    def body(self) -> bytes: ...
    @property
    def usage(self) -> tuple[int, int, int, int] | None: ...
    def header(self, name: bytes, /) -> bytes | None:
        """The first value of a header, by its lowercased name."""

    def compose(self, head: bytes, extra: bytes, overhead_us: int, /) -> bytes:
        """The whole answer for a client: `head`, the header lines, `extra`, the body's length, the body."""


class Body(Protocol):
    """A scanned request body that can be sent under another model name (`_core.Scan`)."""

    def compose(self, prefix: bytes, model: bytes, inject_usage: bool, /) -> bytes: ...


@runtime_checkable
class Rewritable(Body, Protocol):
    """A body of JSON that a plan may read, and send another in its place: of every door that can be asked of several models."""

    @property
    def text_bytes(self) -> int:
        """Bytes of text in the prompt."""

    def body(self, model: bytes, inject_usage: bool, /) -> bytes:
        """The JSON with the model's name in it, `model` in its place unless that is empty."""

    def rewritten(self, body: bytes, /) -> Rewritable:
        """Another body in this one's place, under the same forwarded header lines. Raises `BodyError`."""


class Ticket(Protocol):
    """The key's and the model's part of the limits, taken once for a request (`_core.Ticket`)."""

    def settle(self, outcome: int, now_ns: int, overhead_ns: int, tokens_in: int, tokens_out: int, tokens_cached: int, /) -> bool: ...
    def charge(self, now_ns: int, tokens_in: int, tokens_out: int, tokens_cached: int, /) -> Refusal | None:
        """Charge a part of something that lasts. Returns the limit that is spent now."""

    def count_exactly(self) -> None:
        """From here on, 0 tokens are none and not unknown."""

    def withdraw(self, now_ns: int, /) -> bool:
        """Give everything back as if the call had not been let in."""


class Place(Protocol):
    """A place in a queue."""

    def comment(self) -> bytes:
        """Where it is in the queue, as a comment of a stream."""

    def count(self, outcome: int, *, is_refusal: bool) -> None:
        """Count the end of a call that waited to the last."""


class Run(Protocol):
    """What is under way for a call, and can be told to stop."""

    def cancel(self) -> None:
        """Stop at once: the upstream request is closed, the lease settled. Nothing is called back afterwards."""

    def pause(self) -> None:
        """The client takes no more for now: stop reading from upstream."""

    def resume(self) -> None: ...


class Sink(Protocol):
    """Where an answer goes. Exactly one of `on_answer`, `on_end`, `on_error` ends a call."""

    def on_answer(self, call: Call, answer: Answer) -> None:
        """A whole answer, as the provider gave it, whatever its status."""

    def on_chunk(self, call: Call, data: bytes) -> None:
        """Bytes of a stream, framed as `call.chunked` says. The first one carries the head with it."""

    def on_end(self, call: Call, tail: bytes) -> None:
        """The stream is complete; `tail` are its last bytes, the end of the framing among them."""

    def on_silence(self, call: Call) -> None:
        """A stream has been quiet for long: send the head and a comment, so that the client stays."""

    def on_error(self, call: Call, error: DispatchError) -> None:
        """No answer, or the stream broke. It never looks like a clean end."""


class Call:
    """One request: what was asked, how long it may take, who gets the answer, what it cost so far.

    Attributes:
        asker: the key's slot with the hash of its user, where users have limits of their own; else 0.
        body: the scanned body; None once no further attempt may need it.
        dropped: fields of the request that the endpoint asked last cannot do, and that were left out.
        drops: leave such fields out instead of refusing the request.
        decision: the record of why it went where it went, of a model that decides.
        declared: what the client says of the request by `x-dispatch-*`, for models that decide.
        deadline_ns: absolute, on `time.monotonic_ns`; covers queue, retries, fallbacks and stream together.
        upstream_name: the model's name for endpoints that pass it on.
        stream: the client asked for server-sent events.
        chunked: the stream leaves in HTTP/1.1 chunks.
        committed: a content delta has gone to the client; no retry is legal any more.
        first_ns: when the first token of a stream came; 0 before.
        lines: header lines that say which endpoint answered, at which attempt.
        notes: further header lines that say what happened on the way.
        number: of the request in this worker's records; 0: it stands in none.
        freshness: 0, or what `Cache-Control` forbids: `policy.sharing.NO_CACHE`, `NO_STORE`.
        is_estimated: its usage is counted from what was given: nobody reported it.
        is_kept: the answer was kept from an earlier request, and cost nothing.
        home: the account that is to be asked, by its number in `homes`; 0: any.
        heard_ns: when the client last heard of a stream that has not committed.
        booked: lines of the ledger so far.
        is_delivered: the ledger has the attempt that the key pays for.
        attempts: tries so far, over all pools.
        audio: of the tokens, those of sound: of the input without cached ones, and of the output.
        place: in the queue, while it waits there.
        priority: what the client asked for, by its place in `queue.CLASSES`; None: its key's.
        queue_events: the client of a stream wants to hear where it stands in the queue.
        progress: how far a plan is, as a comment for the client of a stream that wants to hear it.
        cost_pico: what a plan over several models has spent on it, picodollars.
        is_private: a route somewhere in its plan keeps it on local endpoints.
        is_part: it is one of the answers that a plan makes one of; the key pays for it beside the others.
        parent: the call on whose behalf this one asks; None for a client's own.
        wants_logprobs: a plan wants to know how sure the model is of its answer, and the client has not asked.
        recovery: what its client has of a stream that broke, where the next step of a plan may take it over.
        overhead_ns: time spent in this process so far, waiting not counted.
        answer: head of the stream that is being delivered.
        answered_ns: when the answer was whole.
        usage: input, output, cached and reasoning tokens of the delivered answer; zeros are unknown.
    """

    # Defaults live on the class: most requests leave most of them alone, and each store would be paid by every request.
    affinity = 0
    answer: Answer | None = None
    answered_ns = 0
    asker = 0
    attempts = 0
    audio = (0, 0)
    booked = 0
    chunked = True
    committed = False
    cost_pico = 0
    credential = b""
    decision: object = None
    declared: Sequence[tuple[str, str]] = ()
    dropped: Sequence[str] = ()
    drops = False
    endpoint = ""
    first_ns = 0
    freshness = 0
    home = 0
    is_delivered = False
    is_estimated = False
    is_kept = False
    is_part = False
    is_private = False
    key = ""
    lines = b""
    notes = b""
    number = 0
    overhead_ns = 0
    parent: Call | None = None
    place: Place | None = None
    priority: int | None = None
    progress = b""
    queue_events = False
    recovery: Run | None = None
    request_id = b""
    run: Run | None = None
    stream = False
    ticket: Ticket | None = None
    tokens_in = 0
    tokens_out = 0
    usage = (0, 0, 0, 0)
    wants_logprobs = False
    wants_usage = False

    def __init__(self, sink: Sink, model: str, door: str, body: Body, received_ns: int, deadline_ns: int) -> None:
        self.sink = sink
        self.model = model
        self.upstream_name = model
        self.door = door
        self.body: Body | None = body
        self.received_ns = self.heard_ns = received_ns
        self.deadline_ns = deadline_ns

    def as_call(self) -> Call:
        """Itself; a plain request of the sidecar is none until it has to be."""
        return self

    def branch(self, sink: Sink) -> Call:
        """A call that asks the same on behalf of this one: its answer goes to `sink`, it pays no key and stands in no log.

        Whoever makes branches is the `run` of this call: it passes on or cancels what they come to, and adds up `attempts` and usage.
        """
        body = self.body
        assert body is not None
        part = Call(sink, self.model, self.door, body, monotonic_ns(), self.deadline_ns)
        part.parent = self
        part.upstream_name = self.upstream_name
        part.affinity = self.affinity
        part.chunked = self.chunked
        part.credential = self.credential
        part.drops = self.drops
        part.freshness = self.freshness
        part.home = self.home
        part.key = self.key
        part.number = self.number
        part.request_id = self.request_id
        if self.is_private:
            part.is_private = True
        if self.wants_logprobs:
            part.wants_logprobs = True
        part.stream = self.stream
        part.tokens_in = self.tokens_in
        part.tokens_out = self.tokens_out
        part.wants_usage = self.wants_usage
        return part

    @property
    def named(self) -> str:
        """Its `x-request-id`."""
        return self.request_id[14:].partition(b"\r\n")[0].decode("latin-1")

    @property
    def root(self) -> Call:
        """The client's own call."""
        call = self
        while call.parent is not None:
            call = call.parent
        return call

    @property
    def standing(self) -> bytes:
        """What its client may hear while there is nothing else to say."""
        return self.progress or (b"waiting" if self.place is None else self.place.comment())

    @property
    def payer(self) -> Call:
        """The call that pays for one attempt at most: a part of a plan over several models, or the client's own call."""
        call = self
        while call.parent is not None and not call.is_part:
            call = call.parent
        return call
