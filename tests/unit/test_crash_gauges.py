"""The gauges of the soak outlive the workers that they look at."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest

from tests.crash.gauges import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.fleet import Fleet

pytestmark = pytest.mark.anyio


class Dying:
    """A fleet whose worker was just killed: nobody has waited for it yet, so it has a number and no memory."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.looked = asyncio.Event()

    def worker_pids(self) -> list[int]:
        self.looked.set()
        return [self._pid]

    async def metrics(self) -> dict[str, float]:
        raise OSError("no worker answers")


@pytest.fixture
def dead() -> Iterator[int]:
    """A process that has ended, and stays in the table until it is waited for."""
    pid = os.posix_spawnp("true", ["true"], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield pid
    os.waitpid(pid, 0)


async def test_a_worker_that_was_just_killed_is_left_out(dead: int) -> None:
    fleet = Dying(dead)
    watch = Watch(cast("Fleet", fleet))
    task = asyncio.create_task(watch.run())
    await fleet.looked.wait()
    await asyncio.sleep(0)

    assert not task.done()
    assert watch.samples == []

    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
