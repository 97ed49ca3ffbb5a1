"""One request of the load: when it was meant to go, when it went, what came back when."""

from __future__ import annotations

__all__ = ["Sample"]


class Sample:
    """Times are seconds of `time.monotonic()`; 0 means that it did not happen.

    Attributes:
        intended_s: when the schedule wanted it sent; latencies count from here, so that a stalled server cannot hide
            the requests that would have come meanwhile (no coordinated omission).
        released_s: when the generator got to it; the difference is the generator's own lag.
        sent_s: when it was written: later than released if a connection had to be made or waited for.
        is_measured: false for the warm-up.
    """

    __slots__ = ("end_s", "error", "first_token_s", "intended_s", "is_measured", "last_s", "released_s", "sent_s", "status", "tokens_out")

    def __init__(self, intended_s: float, released_s: float, *, is_measured: bool) -> None:
        self.intended_s = intended_s
        self.released_s = released_s
        self.sent_s = 0.0
        self.first_token_s = 0.0
        self.last_s = 0.0
        """The last output seen, for the gap to the next."""
        self.end_s = 0.0
        self.status = 0
        self.tokens_out = 0
        self.error = ""
        """Kind of failure; empty for a whole answer."""
        self.is_measured = is_measured
