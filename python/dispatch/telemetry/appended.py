"""Files of lines that several processes append to: a line stands there whole, or not at all.

One call writes a line, but the kernel may take a part of it: the disk or a quota is full, or its process is killed between two pages of the
file (Linux looks for fatal signals there). The first is undone by the writer, the second by who opens the file next. A lock tells
whether anybody who lives writes to it, shared among the writers and exclusive while an end is cut off. A writer who dies
in a line while another one lives leaves a half that the other goes on behind: so a file has one process that writes for itself, and others
write only while they are alone with it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress

__all__ = ["append", "open_alone", "open_appended"]

_MODE = 0o640
_STEP = 1 << 16


def open_appended(path: str) -> int:
    """Open a file in append mode, made if it is not there; what a killed writer left of a line is cut off.

    Returns:
        A descriptor, which holds the shared lock until it is closed.

    Raises:
        OSError: the file cannot be opened.
    """
    fd = _open(path)
    try:
        with suppress(BlockingIOError):
            # Who came first has mended it.
            _mend(fd)
        fcntl.flock(fd, fcntl.LOCK_SH)
    except OSError:
        os.close(fd)
        raise
    return fd


def open_alone(path: str) -> int:
    """Open a file in append mode, as `open_appended`, to which nobody else who lives writes, nor will while it is open.

    Raises:
        BlockingIOError: somebody does.
        OSError: the file cannot be opened.
    """
    fd = _open(path)
    try:
        _mend(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def append(fd: int, lines: bytes) -> None:
    """Write whole lines.

    Raises:
        OSError: none of it stands in the file.
    """
    written = os.write(fd, lines)
    if written < len(lines):
        end = os.lseek(fd, 0, os.SEEK_CUR)
        if os.fstat(fd).st_size == end:
            os.ftruncate(fd, end - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)


def _mend(fd: int) -> None:
    """Cut off what stands behind the last line, unless somebody who lives writes there. Takes the exclusive lock."""
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    size = os.fstat(fd).st_size
    whole = _end_of_last_line(fd, size)
    if whole < size:
        os.ftruncate(fd, whole)


def _end_of_last_line(fd: int, size: int) -> int:
    end = size
    while end:
        start = max(0, end - _STEP)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
