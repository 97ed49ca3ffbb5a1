"""One keep-alive connection of the load generator (llhttp through httptools), one request at a time."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Final, Protocol

import httptools

from dispatch.bench.events import EventReader

if TYPE_CHECKING:
    from dispatch.bench.sample import Sample

__all__ = ["Connection", "Owner"]

_OUTPUT: Final = re.compile(rb'"(?:completion_tokens|output_tokens)"\s*:\s*(\d+)')
_KEPT_BYTES: Final = 2048
"""Of a whole answer only the end is kept: usage stands there, and so does the last brace."""


class Owner(Protocol):
    """Who uses connections."""

    def gap(self, sample: Sample, gap_s: float, events: int) -> None:
        """Output came after a pause, in several events at once."""

    def over(self, connection: Connection, sample: Sample) -> None:
        """The answer is over, well or not; `connection.is_open` tells whether it can be used again."""

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """A connection that asks and measures.

    Attributes:
        sample: the request in progress.
        is_open: may be written to.
    """

    __slots__ = ("_end", "_events", "_is_framed", "_is_whole_json", "_now_s", "_owner", "_parser", "_transport", "is_open", "sample")

    _transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.sample: Sample | None = None
        self.is_open = False
        self._now_s = 0.0
        self._events: EventReader | None = None
        self._end = b""
        self._is_framed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport  # type: ignore[assignment]  # create_connection gives a Transport
        self._parser = httptools.HttpResponseParser(self)
        self.is_open = True

    def ask(self, sample: Sample, request: bytes) -> None:
        """Send a request; the connection must be open and idle."""
        self.sample = sample
        self._events = None
        self._end = b""
        self._is_framed = False
        sample.sent_s = time.monotonic()
        self._transport.write(request)

    def abort(self, error: str) -> None:
        """Give up on the request in progress."""
        self.is_open = False
        self._finish(error)
        self._transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        self.is_open = False
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse what came, all of it at this moment."""
        self._now_s = time.monotonic()
        if self.sample is None:  # an answer that nobody asked for
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort("bad_http")

    def connection_lost(self, _error: Exception | None) -> None:
        """End the request in progress by what was missing."""
        self.is_open = False
        self._now_s = time.monotonic()
        if self.sample is not None:
            if not self.sample.status:
                self._finish("closed_before_answer")
            elif self._is_framed:
                self._finish("cut")
            else:
                self._finish(self._verdict())  # the end of the connection is the end of the answer
        self._owner.lost(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Look for the framing and for a stream."""
        name = name.lower()
        if name == b"content-type":
            if value.startswith(b"text/event-stream"):
                self._events = EventReader()
        elif name in (b"content-length", b"transfer-encoding"):
            self._is_framed = True

    def on_headers_complete(self) -> None:
        """Note the status."""
        if self.sample is not None:
            self.sample.status = self._parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        """Measure output events, or keep the end of a whole answer."""
        sample = self.sample
        if sample is None:
            return
        if self._events is None:
            self._end = (self._end + part)[-_KEPT_BYTES:]
            return
        deltas = self._events.feed(part)
        if deltas:
            if sample.last_s:
                self._owner.gap(sample, self._now_s - sample.last_s, deltas)
            else:
                sample.first_token_s = self._now_s
                if deltas > 1:
                    self._owner.gap(sample, 0.0, deltas - 1)
            sample.last_s = self._now_s

    def on_message_complete(self) -> None:
        """Judge the answer."""
        sample = self.sample
        if sample is None or 100 <= sample.status < 200:
            return
        if not self._parser.should_keep_alive():
            self.close()
        self._finish(self._verdict())

    def _verdict(self) -> str:
        sample, events = self.sample, self._events
        if sample is None:
            return ""
        if sample.status != 200:
            return f"http_{sample.status}"
        if events is not None:
            sample.tokens_out = events.tokens_out or events.deltas
            if events.failed:
                return "error_event"
            return "" if events.finished else "incomplete"
        if not self._end.rstrip().endswith((b"}", b"]")):
            return "malformed"
        found = _OUTPUT.search(self._end)
        sample.tokens_out = int(found[1]) if found else 0
        return ""

    def _finish(self, error: str) -> None:
        sample, self.sample = self.sample, None
        if sample is not None:
            sample.error = error
            sample.end_s = self._now_s if self._now_s > sample.sent_s else time.monotonic()
            self._owner.over(self, sample)
