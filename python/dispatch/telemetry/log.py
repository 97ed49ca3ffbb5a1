"""Structured log lines, one per event and one per request: JSON for programs, a short form for people.

A line names who asked for what, where it went, how it ended and what it took. It never holds content, headers or secrets.

Requests come by the ten thousand per second, so their lines are gathered and written together: whole lines, at most `PIPE_BUF` bytes
per write, because that is what the kernel keeps in one piece when several workers write to one pipe (POSIX, write(2)). A log reader
that has stopped reading must not stop the requests: past `KEPT_BYTES` lines are dropped, and the next line that leaves says how many.
"""

from __future__ import annotations

import os
import select
import sys
from collections import deque
from datetime import UTC, datetime
from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from dispatch.errors import Failure, UpstreamError
from dispatch.providers.classify import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.errors import DispatchError
    from dispatch.exchange import Call

__all__ = ["FLUSH_S", "FORMS", "Log", "RequestLine", "form_for"]

FORMS = ("json", "human", "off")

FLUSH_S = 0.25
"""Longest time that a request's line is held back; whoever owns the loop calls `flush` this long after `wake`."""

KEPT_BYTES = 1024 * 1024
"""Lines kept for a reader that does not read."""

_CHUNK_BYTES = select.PIPE_BUF
_OUTCOMES = ("ok", *(failure.name.lower() for failure in Failure if failure))


class RequestLine(Struct, omit_defaults=True):
    """One request. Fields without meaning for it are left out."""

    time: datetime
    event: str
    worker: int
    id: str
    model: str
    endpoint: str
    api: str
    outcome: str
    status: int
    attempts: int
    duration_ms: float
    overhead_ms: float
    first_token_ms: float | None = None
    stream: bool = False
    key: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    estimated: bool = False
    error: str = ""


def form_for(wanted: str | None) -> str:
    """Return the form of log lines: as wanted, else `human` on a terminal and `json` elsewhere."""
    return wanted or ("human" if sys.stderr.isatty() else "json")


class Log:
    """Where this process writes its lines.

    Args:
        form: one of `FORMS`.
        worker: number in each line; None for the supervisor.
        fd: written to; standard error, because standard output belongs to the command's own answer.
    """

    def __init__(self, form: str, worker: int | None = None, fd: int = 2) -> None:
        self.form = form
        self.wake: Callable[[], None] | None = None
        """Called when a first line waits; to call `flush` soon. None: each request's line is written at once."""
        self.dropped = 0
        self._worker = worker
        self._fd = fd
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        self._chunks: deque[bytearray] = deque()
        self._kept_bytes = 0

    @property
    def is_behind(self) -> bool:
        """Whether lines wait to be written; then `flush` is due."""
        return bool(self._chunks)

    def event(self, name: str, text: str = "", **fields: object) -> None:
        """Write a line about this process, at once. `text` is what a person reads; `fields` are its parts."""
        if self.form == "off":
            return
        if self.form == "human":
            who = "" if self._worker is None else f"worker {self._worker}: "
            self._keep(f"{_clock_time()} {who}{printable(text or name)}\n".encode())
        else:
            line: dict[str, object] = {"time": datetime.now(UTC), "event": name}
            if self._worker is not None:
                line["worker"] = self._worker
            if text:
                line["text"] = text
            self._keep(self._encode(line | fields) + b"\n")
        self.flush()

    def request(self, call: Call, outcome: Failure, error: DispatchError | None) -> None:
        """Take the line of a finished request; it leaves with the next `flush`."""
        line = self._line(call, outcome, error)
        is_first = not self._chunks
        self._keep(_for_people(line) if self.form == "human" else self._encode(line) + b"\n")
        if self.wake is None:
            self.flush()
        elif is_first:
            self.wake()

    def flush(self) -> None:
        """Write what is kept, as far as the reader takes it without waiting."""
        if self.dropped and self._kept_bytes < KEPT_BYTES // 2:
            count, self.dropped = self.dropped, 0
            self.event("log_lines_dropped", f"{count} log lines were dropped: nobody read them", count=count)
        while self._chunks and self._is_writable():
            chunk = self._chunks[0]
            try:
                written = os.write(self._fd, chunk)
            except BlockingIOError:
                return
            except OSError:
                # The reader is gone; there is nowhere left to say so.
                self._chunks.clear()
                self._kept_bytes = 0
                return
            self._kept_bytes -= written
            del chunk[:written]
            if not chunk:
                self._chunks.popleft()

    def _line(self, call: Call, outcome: Failure, error: DispatchError | None) -> RequestLine:
        usage = call.usage
        first_ns = call.first_ns
        return RequestLine(
            time=datetime.now(UTC),
            event="request",
            worker=self._worker or 0,
            id=call.named,
            model=call.model,
            endpoint=call.endpoint,
            api=call.door,
            outcome=_OUTCOMES[outcome],
            status=_status(call, outcome, error),
            attempts=call.attempts,
            duration_ms=(monotonic_ns() - call.received_ns) // 1000 / 1000,
            overhead_ms=call.overhead_ns // 1000 / 1000,
            first_token_ms=(first_ns - call.received_ns) // 1000 / 1000 if first_ns else None,
            stream=call.stream,
            key=call.key,
            tokens_in=usage[0],
            tokens_out=usage[1],
            tokens_cached=usage[2],
            estimated=call.is_estimated,
            error=error.code if error is not None else "",
        )

    def _keep(self, line: bytes) -> None:
        if self._kept_bytes + len(line) > KEPT_BYTES:
            self.dropped += 1
            return
        self._kept_bytes += len(line)
        if not self._chunks or len(self._chunks[-1]) + len(line) > _CHUNK_BYTES:
            self._chunks.append(bytearray())
        self._chunks[-1] += line

    def _is_writable(self) -> bool:
        """Whether a write of `PIPE_BUF` bytes would not wait: that is what poll(2) promises for a pipe."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(0))


def _status(call: Call, outcome: Failure, error: DispatchError | None) -> int:
    """Return the status that the client got; 499, as nginx writes it, for a client that left first."""
    if isinstance(error, UpstreamError) and error.answer is not None and error.passes_on and describe(error.answer.body).message:
        # The provider's own words go out under its own status.
        return error.answer.status
    if error is not None:
        return error.status
    if outcome is Failure.CANCELLED:
        return 499
    return call.answer.status if call.answer is not None else 200


def _for_people(line: RequestLine) -> bytes:
    parts = [_clock_time(), str(line.status), f"{line.duration_ms:.1f} ms", printable(line.model)]
    if line.endpoint and line.endpoint != line.model:
        parts.append(f"-> {line.endpoint}")
    if line.first_token_ms is not None:
        parts.append(f"first token {line.first_token_ms:.1f} ms")
    if line.tokens_in or line.tokens_out:
        parts.append(f"{line.tokens_in}+{line.tokens_out} tokens")
    if line.attempts > 1:
        parts.append(f"{line.attempts} attempts")
    if line.key:
        parts.append(f"key {line.key}")
    if line.outcome != "ok":
        parts.append(f"{line.outcome} {line.error}".rstrip())
    return (" ".join(parts) + f" [{printable(line.id)}]\n").encode()


def _clock_time() -> str:
    return datetime.now().astimezone().isoformat(" ", "milliseconds")[11:23]


def printable(text: str) -> str:
    """Return `text` on one line and without what a terminal would obey; much of it comes from clients."""
    return text if text.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
