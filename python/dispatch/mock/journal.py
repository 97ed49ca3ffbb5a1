"""What the mock received and what became of it, entry by entry, so that double sends and early leavers can be counted.

Kept in memory (a ring) and, if asked, written as one JSON object per line when an exchange is over. Keys are stored as
they came: a mock is never given real ones.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Entry", "Journal"]

_FLUSH_BYTES: Final = 64 * 1024


class Entry(Struct, kw_only=True):
    """One request."""

    number: int
    """Counts from 0 since the start or the last clear."""
    at_s: float
    """Unix time of the whole request's arrival."""
    method: str
    path: str
    key: str
    """The credential, without `Bearer`; empty if none came."""
    model: str = ""
    request_id: str = ""
    """The client's `x-request-id`, else the one given by the mock."""
    stream: bool = False
    status: int = 0
    """0 while no head was sent."""
    outcome: str = "open"
    """`open`, `ok`, `left`, `limited`, `refused` (the mock's 4xx), `http_NNN` (asked for), or the name of a fault."""
    left: bool = False
    """The client went away before its answer was whole."""
    whole: bool = False
    """All of the answer was written, its finish reason included; whether it was received is another question."""
    sent_bytes: int = 0
    """Of the answer, its head included."""
    digest: str = ""
    """Names the prompt: the first 16 hex digits of the SHA-256 of the last user text. Two entries with one digest are a double send."""
    tokens_in: int = 0
    tokens_out: int = 0
    """Tokens written to the client so far."""
    duration_s: float = 0.0
    headers: dict[str, str] = {}
    """With names in lower case; only if the provider keeps requests."""
    body: bytes = b""


class Journal:
    """The entries, oldest first."""

    def __init__(self, *, size: int = 100_000, file: Path | None = None) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        self._next = 0
        self._file = file.open("ab", buffering=_FLUSH_BYTES) if file else None
        self._watchers: list[tuple[Callable[[Journal], bool], asyncio.Future[None]]] = []

    def add(self, entry: Entry) -> None:
        """Note an arrival; gives the entry its number."""
        entry.number = self._next
        self._next += 1
        self._entries.append(entry)
        self._tell()

    def close_entry(self, entry: Entry, outcome: str, *, left: bool = False) -> None:
        """Note the end of an exchange."""
        entry.outcome = outcome
        entry.left = left
        entry.duration_s = max(1e-6, round(time.time() - entry.at_s, 6))
        if self._file:
            self._file.write(msgspec.json.encode(entry) + b"\n")
        self._tell()

    def note(self) -> None:
        """Wake watchers after a change of an open entry."""
        self._tell()

    def clear(self) -> None:
        """Forget all entries and count from 0 again."""
        self._entries.clear()
        self._next = 0

    def flush(self) -> None:
        """Write out what the file's buffer holds."""
        if self._file:
            self._file.flush()

    def close(self) -> None:
        """Close the file; what is still open is written as it stands."""
        if self._file:
            for entry in self._entries:
                if not entry.duration_s:
                    self._file.write(msgspec.json.encode(entry) + b"\n")
            self._file.close()
            self._file = None

    async def until(self, condition: Callable[[Journal], bool], timeout_s: float = 5.0) -> None:
        """Wait until `condition(journal)` is true; it is asked again after each change.

        Raises:
            TimeoutError: it did not become true in `timeout_s`.
        """
        if condition(self):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.append((condition, future))
        try:
            await asyncio.wait_for(future, timeout_s)
        finally:
            self._watchers = [watcher for watcher in self._watchers if watcher[1] is not future]

    def _tell(self) -> None:
        for condition, future in self._watchers:
            if not future.done() and condition(self):
                future.set_result(None)

    @property
    def total(self) -> int:
        """Requests received since the start or the last clear, also those that the ring has dropped."""
        return self._next

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries))

    def __getitem__(self, index: int) -> Entry:
        return self._entries[index]

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for entry in self._entries:
            counts[entry.outcome] = counts.get(entry.outcome, 0) + 1
        return f"<Journal: {', '.join(f'{count} {outcome}' for outcome, count in sorted(counts.items())) or 'empty'}>"
