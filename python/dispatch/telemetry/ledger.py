"""The ledger: one line for every attempt that is over, with who pays for it.

JSON lines in a file per worker, `PATH.N`, each of them whole or absent (`telemetry.appended`). The attempts that a killed process had
under way, which their providers may have executed, are booked as `unknown` by the next worker that opens the ledger (`telemetry.begun`).
A reload opens the file anew, so that it can be rotated. Lines that the disk does not take are counted; their number precedes the next one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

from dispatch.errors import ConfigError, Failure
from dispatch.policy.booking import BOOKED, Booking, book_as
from dispatch.policy.cost import audio_pico, cost_pico
from dispatch.schema import Usage
from dispatch.telemetry.appended import append, open_appended
from dispatch.telemetry.begun import Begun, Sent, book_left_behind

if TYPE_CHECKING:
    from dispatch.exchange import Call
    from dispatch.policy.cost import Rates

__all__ = ["Attempt", "Entry", "Ledger", "Named"]


class Entry(Struct, omit_defaults=True, kw_only=True):
    """One attempt."""

    time: datetime
    """When it was over."""
    id: str
    """The request's id, as its client sees it."""
    attempt: int
    """Counts from 1 within the request, in the order in which attempts end."""
    model: str
    endpoint: str
    outcome: Booking
    failure: str
    """`none`, or a name of docs/failures.md."""
    sent: bool = True
    """Its request was written to a connection; what was not is `wasted`, and its provider knows nothing of it."""
    key: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    audio_in: int = 0
    """Of `tokens_in`, those of sound that were not cached, in a realtime session."""
    audio_out: int = 0
    estimated: bool = False
    """The tokens are an estimate: of a stream without a report from what it gave, of an `unknown` attempt its prompt."""
    cost_pico: int = 0
    """Picodollars, by the endpoint's price; of what was not delivered, what is known of it."""
    duration_ms: float = 0.0
    killed: bool = False
    """Its worker died; how it ended nobody knows, and `time` is that of the booking."""


class _Lost(Struct, kw_only=True):
    """In place of lines that could not be written."""

    time: datetime
    lost: int


class Named(Protocol):
    """An endpoint, as far as the ledger cares."""

    @property
    def name(self) -> str:
        """Of the configuration."""


class Stream(Protocol):
    """A stream, as far as the ledger cares."""

    @property
    def is_estimated(self) -> bool:
        """Its tokens are counted from what it gave: it has not reported any."""


class Attempt(Protocol):
    """What is booked, as the retry loop knows it."""

    @property
    def call(self) -> Call:
        """The request, or a branch of it."""

    @property
    def link(self) -> Named:
        """Where it was made."""

    @property
    def sent_ns(self) -> int:
        """When, on the monotonic clock."""

    @property
    def relay(self) -> Stream | None:
        """Its stream, if it has begun one."""


class Count(Protocol):
    """Counts an entry for the metrics: names of endpoint, model and key, place of the outcome, picodollars."""

    def __call__(self, endpoint: str, model: str, key: str, outcome: int, cost_pico: int, /) -> None: ...


class Ledger:
    """See the module.

    Args:
        path: of the file, without the worker's number.
        worker: the number.
        prices: by endpoint.
        count: told of each entry.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: str, worker: int, prices: dict[str, Rates], count: Count) -> None:
        self._prices = prices
        self._count = count
        self._encode = msgspec.json.Encoder().encode
        self.lost = 0
        """Lines that were not written since the last one that was."""
        own = f"{path}.{worker}"
        try:
            self._fd = open_appended(own)
            self._begun = Begun(own)
        except OSError as error:
            raise ConfigError("server.ledger", f"cannot open {own}: {error.strerror}") from error
        self._places: dict[Attempt, int] = {}
        book_left_behind(path, own, self._left_line)

    def __del__(self) -> None:
        """Close the file: after a reload, when the last attempt of the generation before is booked."""
        fd = getattr(self, "_fd", -1)
        if fd >= 0:
            os.close(fd)

    def begin(self, attempt: Attempt) -> None:
        """Note an attempt that is about to be sent, for the case that this process does not live to book it."""
        call, root = attempt.call, attempt.call.root
        sent = Sent(
            id=root.named,
            model=root.model,
            endpoint=attempt.link.name,
            tokens_in=call.tokens_in,
            key=root.key,
            booked=root.booked,
        )
        place = self._begun.add(sent)
        if place >= 0:
            self._places[attempt] = place

    def __call__(self, attempt: Attempt, failure: Failure, usage: tuple[int, int, int, int], now_ns: int, *, sent: bool = True) -> None:
        """Note an attempt that is over.

        Args:
            attempt: what was tried; its call may be a branch of another one.
            failure: how it ended.
            usage: input, output, cached and reasoning tokens; zeros are unknown.
            now_ns: on the monotonic clock.
            sent: its request was written.
        """
        call, root, endpoint = attempt.call, attempt.call.root, attempt.link.name
        root.booked += 1
        outcome = _delivered_once(call, book_as(failure, sent=sent, has_content=call.first_ns != 0))
        tokens_in, tokens_out, cached, _ = usage
        estimated = attempt.relay is not None and attempt.relay.is_estimated
        if outcome is Booking.UNKNOWN and not tokens_in:
            tokens_in, estimated = call.tokens_in, True
        cost = _cost((tokens_in, tokens_out, cached), root.audio, self._prices[endpoint])
        entry = Entry(
            time=datetime.now(UTC),
            id=root.named,
            attempt=root.booked,
            model=root.model,
            endpoint=endpoint,
            outcome=outcome,
            failure=failure.name.lower(),
            sent=sent,
            key=root.key,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            tokens_cached=cached,
            audio_in=root.audio[0],
            audio_out=root.audio[1],
            estimated=estimated,
            cost_pico=cost,
            duration_ms=(now_ns - attempt.sent_ns) // 1000 / 1000,
        )
        self._put(entry, self._places.pop(attempt, -1))
        self._count(endpoint, root.model, root.key, BOOKED.index(outcome), cost)

    def _put(self, entry: Entry, place: int) -> None:
        """Write the line of an attempt that took this place among those under way."""
        line = self._encode(entry) + b"\n"
        if place < 0:
            self._write(line)
        else:
            self._begun.book(place, entry.attempt)
            self._write(line)
            self._begun.leave(place)

    def _left_line(self, sent: Sent, number: int) -> bytes:
        """The line of an attempt whose worker died before its end."""
        # A configuration since then may not have its endpoint any more, and so no price.
        price = self._prices.get(sent.endpoint)
        cost = 0 if price is None else cost_pico(Usage(input_tokens=sent.tokens_in), price)
        entry = Entry(
            time=datetime.now(UTC),
            id=sent.id,
            attempt=number,
            model=sent.model,
            endpoint=sent.endpoint,
            outcome=Booking.UNKNOWN,
            failure=Failure.UNKNOWN_EXECUTION.name.lower(),
            key=sent.key,
            tokens_in=sent.tokens_in,
            estimated=True,
            cost_pico=cost,
            killed=True,
        )
        with suppress(KeyError):
            self._count(sent.endpoint, sent.model, sent.key, BOOKED.index(Booking.UNKNOWN), cost)
        return self._encode(entry) + b"\n"

    def _write(self, line: bytes) -> None:
        if self.lost:
            line = self._encode(_Lost(time=datetime.now(UTC), lost=self.lost)) + b"\n" + line
        try:
            append(self._fd, line)
        except OSError:
            # The disk is full, or the file system gone: requests go on, and the gap is told once it can be.
            self.lost += 1
            return
        self.lost = 0


def _delivered_once(call: Call, outcome: Booking) -> Booking:
    """As it is booked, where two branches may both have been whole: one of them is the answer."""
    if outcome is not Booking.DELIVERED:
        return outcome
    payer = call.payer
    was_delivered, payer.is_delivered = payer.is_delivered, True
    return Booking.WASTED if was_delivered else outcome


def _cost(tokens: tuple[int, int, int], audio: tuple[int, int], price: Rates) -> int:
    tokens_in, tokens_out, cached = tokens
    return cost_pico(Usage(input_tokens=tokens_in, output_tokens=tokens_out, cached_tokens=cached), price) + audio_pico(*audio, price)
