"""Lines that are appended to a file stand there whole or not at all, however the disk or the writer fails."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest
from dispatch.telemetry.appended import append, open_alone, open_appended

if TYPE_CHECKING:
    from pathlib import Path

HALF = b'{"id":"a"}\n{"id":"b","mod'


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (HALF, b'{"id":"a"}\n'),
        (b'{"id":"a', b""),
        (b'{"id":"a"}\n', b'{"id":"a"}\n'),
        (b"", b""),
        (b"{}\n" + b"x" * 200_000, b"{}\n"),
    ],
    ids=["half a line", "nothing but half a line", "whole", "empty", "a long half"],
)
def test_what_a_killed_writer_left_of_a_line_is_cut_off_when_the_file_is_opened(tmp_path: Path, left: bytes, kept: bytes) -> None:
    file = tmp_path / "lines"
    file.write_bytes(left)
    fd = open_appended(str(file))
    append(fd, b'{"id":"c"}\n')
    os.close(fd)
    assert file.read_bytes() == kept + b'{"id":"c"}\n'


def test_nothing_is_cut_off_under_a_writer_who_lives(tmp_path: Path) -> None:
    """What looks like half a line may be one that is being written."""
    file = tmp_path / "lines"
    first = open_appended(str(file))
    os.write(first, HALF)
    second = open_appended(str(file))
    os.write(first, b'el":"m"}\n')
    for fd in (first, second):
        os.close(fd)
    assert file.read_bytes() == HALF + b'el":"m"}\n'


def test_who_wants_to_write_alone_does_not_beside_one_who_lives(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(HALF)
    alone = open_alone(str(file))
    append(alone, b'{"id":"c"}\n')
    with pytest.raises(BlockingIOError):
        open_alone(str(file))
    os.close(alone)
    shared = open_appended(str(file))
    with pytest.raises(BlockingIOError):
        open_alone(str(file))
    os.close(shared)
    assert file.read_bytes() == b'{"id":"a"}\n{"id":"c"}\n'


def test_of_a_line_that_the_disk_takes_in_part_nothing_stays(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    pid = os.fork()
    if not pid:
        # The limit on a file's size takes a part of a write, as a full disk does, and the rest fails.
        fd = open_appended(str(file))
        resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))
        append(fd, b'{"id":"a"}\n')
        failures = 0
        for _ in range(2):
            try:
                append(fd, b'{"id":"b","of":"more than the rest"}\n')
            except OSError:
                failures += 1
        append(fd, b'{"id":"c"}\n')
        os._exit(failures)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    assert file.read_bytes() == b'{"id":"a"}\n{"id":"c"}\n'
