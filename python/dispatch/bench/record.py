"""What a run has measured so far."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from dispatch.bench.histogram import Histogram

if TYPE_CHECKING:
    from dispatch.bench.sample import Sample

__all__ = ["Record", "Second"]


class Second:
    """One second of the run, by the time of the end of answers.

    Attributes:
        latencies_s: of whole answers.
        errors: by kind.
    """

    __slots__ = ("errors", "latencies_s", "sent", "tokens")

    def __init__(self) -> None:
        self.latencies_s = array("f")
        self.errors: dict[str, int] = {}
        self.sent = 0
        self.tokens = 0


class Record:
    """Sums of all measured samples.

    Attributes:
        latency: of whole answers, from the intended send time to the end.
        first_token: to the first output of a stream, from the intended send time.
        gap: between two output events; events that come in one piece have no time between them.
        lag: of the generator itself: released minus intended.
        errors: by kind.
        seconds: since the start of the measurement.
    """

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        self.latency = Histogram()
        self.first_token = Histogram()
        self.gap = Histogram()
        self.lag = Histogram()
        self.errors: dict[str, int] = {}
        self.sent = 0
        self.tokens_out = 0
        self.seconds: list[Second] = []

    def release(self, sample: Sample) -> None:
        """Note that the generator got to a request."""
        if sample.is_measured:
            self.sent += 1
            self.lag.record(sample.released_s - sample.intended_s)
            self._second(sample.released_s).sent += 1

    def end(self, sample: Sample) -> None:
        """Note the end of a request."""
        if not sample.is_measured:
            return
        second = self._second(sample.end_s)
        if sample.error:
            self.errors[sample.error] = self.errors.get(sample.error, 0) + 1
            second.errors[sample.error] = second.errors.get(sample.error, 0) + 1
            return
        latency_s = sample.end_s - sample.intended_s
        self.latency.record(latency_s)
        second.latencies_s.append(latency_s)
        second.tokens += sample.tokens_out
        self.tokens_out += sample.tokens_out
        if sample.first_token_s:
            self.first_token.record(sample.first_token_s - sample.intended_s)

    @property
    def whole(self) -> int:
        """Whole answers."""
        return self.latency.count

    @property
    def failed(self) -> int:
        """Requests without a whole answer."""
        return sum(self.errors.values())

    def _second(self, at_s: float) -> Second:
        index = max(0, int(at_s - self.start_s))
        while len(self.seconds) <= index:
            self.seconds.append(Second())
        return self.seconds[index]
