"""Attempts under way, where the death of their worker does not reach them: what a killed process had sent is booked by who comes after it.

A hidden file beside the ledger, `.NAME.N.PID-K.open`, mapped and shared: the kernel keeps its pages when a process is killed (not when the
machine loses its power). An attempt takes a place there before its request is written and leaves it after its line stands in the
ledger, so each attempt that a provider may have executed is in one of the two. Its process holds a lock on the file while it lives; whoever
opens a ledger books what is left in the files of those that do not, as `unknown`.

Between the line and the leaving lies an instant in which a death would book twice: the place says beforehand which line it will be,
and that one is looked for at the end of the ledger.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from dispatch.telemetry.appended import append, open_alone, open_appended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Begun", "Sent", "book_left_behind"]

PLACE_BYTES = 1024
"""Of one attempt. Its names and id are cut so that they fit."""

PLACES = 256
"""Of a new file; it doubles when they are taken. Reserved on the disk, so that a full one refuses a place instead of killing the worker."""

TAIL_BYTES = 1 << 20
"""Of a ledger, in which the lines of attempts that were under way a moment ago are looked for."""

_HEAD = struct.Struct("<BxHH")
"""State, length of what follows, number of the line in the ledger."""
_FREE, _SENT, _BOOKING = 0, 1, 2
_MODE = 0o640
_SHORT = 50
"""Characters of a name that surely fit."""
_SUFFIX = ".open"
_numbers = count()


class Sent(Struct, omit_defaults=True):
    """An attempt that was sent, as far as it is known before its end."""

    id: str
    model: str
    endpoint: str
    tokens_in: int
    """By estimate."""
    key: str = ""
    booked: int = 0
    """Lines that its request had by then."""


class Begun:
    """The attempts under way of one worker under one ledger.

    Args:
        path: of the ledger, with the worker's number.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: str) -> None:
        ledger = Path(path)
        self._path = ledger.with_name(f".{ledger.name}.{os.getpid()}-{next(_numbers)}{_SUFFIX}")
        fresh = self._path.with_suffix(".new")
        self._fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        # Under its name it is locked already: no other process takes it for one that was left behind.
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.posix_fallocate(self._fd, 0, PLACES * PLACE_BYTES)
        self._map = mmap.mmap(self._fd, PLACES * PLACE_BYTES)
        fresh.rename(self._path)
        self._encode = msgspec.json.Encoder().encode
        self._free = [*reversed(range(PLACES))]

    def __del__(self) -> None:
        """Nothing is under way any more: every attempt holds its ledger, and that holds this."""
        fd = getattr(self, "_fd", -1)
        if fd >= 0:
            with suppress(OSError):
                self._path.unlink()
            os.close(fd)

    def add(self, sent: Sent) -> int:
        """Note an attempt that is about to be sent. Returns its place; -1 where there is no room."""
        if not self._free and not self._grow():
            return -1
        record = self._encode(sent)
        if len(record) > PLACE_BYTES - _HEAD.size:
            record = self._encode(_shortened(sent))
        place = self._free.pop()
        at = place * PLACE_BYTES
        self._map[at + 1 : at + _HEAD.size + len(record)] = _HEAD.pack(_SENT, len(record), 0)[1:] + record
        # Last: before it, a death finds nothing here.
        self._map[at] = _SENT
        return place

    def book(self, place: int, line: int) -> None:
        """The attempt is about to be booked, as this line of its request."""
        at = place * PLACE_BYTES
        self._map[at + 4 : at + 6] = line.to_bytes(2, "little")
        self._map[at] = _BOOKING

    def leave(self, place: int) -> None:
        """Its line stands in the ledger."""
        self._map[place * PLACE_BYTES] = _FREE
        self._free.append(place)

    def _grow(self) -> bool:
        """Make room for as many again. False: the disk has none."""
        size = len(self._map)
        try:
            os.posix_fallocate(self._fd, 0, size * 2)
            self._map = mmap.mmap(self._fd, size * 2)
        except OSError:
            return False
        self._free = [*reversed(range(size // PLACE_BYTES, size * 2 // PLACE_BYTES))]
        return True


def book_left_behind(path: str, own: str, line: Callable[[Sent, int], bytes]) -> None:
    """Book what processes that are gone had under way.

    Args:
        path: of the ledger, without a worker's number.
        own: with the number of who asks, who has it open.
        line: makes the line of an attempt, given its number among those of its request.
    """
    ledger = Path(path)
    prefix = f".{ledger.name}."
    for left in [one for one in ledger.parent.iterdir() if one.name.startswith(prefix) and one.suffix == _SUFFIX]:
        # Somebody else's, of a living process, or taken care of by another worker in this moment; a full disk is tried again next time.
        with suppress(OSError):
            _book_file(left, own, line)


def _book_file(left: Path, own: str, line: Callable[[Sent, int], bytes]) -> None:
    # `.NAME.N.PID-K.open` belongs to `NAME.N`. A successor who has that one open already has seen to it, or dies in it himself.
    ledger = left.with_name(left.name[1:].rsplit(".", 2)[0])
    to = open_appended(own) if ledger == Path(own) else open_alone(str(ledger))
    try:
        fd = os.open(left, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                _append(ledger, to, fd, line)
                left.unlink()
        finally:
            os.close(fd)
    finally:
        os.close(to)


def _append(ledger: Path, to: int, fd: int, line: Callable[[Sent, int], bytes]) -> None:
    """Write the lines of one file that was left behind, all at once."""
    booked = _last_lines(ledger)
    out = b""
    for at, (state, length, announced), sent in _places(fd):
        known = booked.setdefault(sent.id, set())
        if state == _BOOKING and announced in known:
            continue
        number = announced if state == _BOOKING else max(known | {sent.booked}) + 1
        # Should this process die as well, the next one finds the line that it wrote.
        os.pwrite(fd, _HEAD.pack(_BOOKING, length, number), at)
        known.add(number)
        out += line(sent, number)
    if out:
        append(to, out)


def _places(fd: int) -> Iterator[tuple[int, tuple[int, int, int], Sent]]:
    decode = msgspec.json.Decoder(Sent).decode
    for at in range(0, os.fstat(fd).st_size, PLACE_BYTES):
        place = os.pread(fd, PLACE_BYTES, at)
        state, length, number = _HEAD.unpack_from(place)
        if state != _FREE:
            with suppress(msgspec.MsgspecError):
                yield at, (state, length, number), decode(place[_HEAD.size : _HEAD.size + length])


def _last_lines(ledger: Path) -> dict[str, set[int]]:
    """The numbers of the last lines of a ledger, by request."""
    booked: dict[str, set[int]] = {}
    with suppress(FileNotFoundError), ledger.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        for text in file.read().splitlines():
            with suppress(msgspec.MsgspecError):
                entry = msgspec.json.decode(text, type=_Numbered)
                booked.setdefault(entry.id, set()).add(entry.attempt)
    return booked


def _shortened(sent: Sent) -> Sent:
    short = {name: getattr(sent, name)[:_SHORT] for name in ("id", "model", "endpoint", "key")}
    return msgspec.structs.replace(sent, **short)


class _Numbered(Struct):
    id: str
    attempt: int
