"""A stream that changes its dialect on the way: the core reads the endpoint's events, the translator writes the client's.

Nothing waits: what an upstream event becomes leaves in the same callback. What the core withholds until the first delta, it withholds
here too, so that commit, errors and ends mean the same as in a stream that is passed through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.relay import Relay
from dispatch.replies import framed
from dispatch.translation import STREAM
from dispatch.wire import sse

if TYPE_CHECKING:
    from dispatch.attempt import Attempts
    from dispatch.exchange import Answer
    from dispatch.translation import Translation
    from dispatch.transport.connection import UpstreamConnection

__all__ = ["Translating"]


class Translating(Relay):
    """See the module."""

    __slots__ = ("_count", "_lost", "_translator")

    def __init__(self, attempts: Attempts, connection: UpstreamConnection, answer: Answer, translation: Translation) -> None:
        super().__init__(attempts, connection, answer)
        self._call.answer = translation.head(self._call, answer)
        self._translator = translation.stream(self._call)
        self._count = translation.count
        self._lost = 0

    def begin(self) -> None:
        """Take the connection over: events come without the framing that the client's message will have."""
        connection = self.connection
        assert connection is not None
        link = self._attempts.link
        connection.receiver = self
        self._call.endpoint = link.name
        self.on_bytes(connection.start_stream(False, False, link.dialect(self._call.door)))

    def on_bytes(self, data: bytes) -> None:
        """Hot: once per network chunk."""
        if data and (data := self._translator.feed(data)):
            data = framed(data, self._call.chunked)
        super().on_bytes(data)

    def _tail(self) -> bytes:
        rest = self.reader.finish()
        body = framed((self._translator.feed(rest) if rest else b"") + self._translator.end(), self._call.chunked)
        return body + sse.LAST_CHUNK if self._call.chunked else body

    def _count_dropped(self) -> None:
        super()._count_dropped()
        lost, self._lost = self._translator.lost - self._lost, self._translator.lost
        if lost:
            self._count(STREAM, lost)
