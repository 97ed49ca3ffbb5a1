"""A slot without a worker: what the kernel gives to its socket is taken by the others, until a successor accepts."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.integration.fleet import ECHO, TWO
from tests.integration.sidecar import DEADLINE_S, Connection, Sidecar

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DEATHS = 6
"""In a row: the next start is then more than three seconds away."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough: what is tested runs in other processes."""
    return "asyncio", {"use_uvloop": False}


async def die_again_and_again(sidecar: Sidecar) -> None:
    """Kill the worker of slot 0 and each successor; returns when the last one's death is known."""
    for count in range(DEATHS):
        ready = [line for line in sidecar.log if line["event"] == "worker_ready" and line["index"] == 0]
        os.kill(ready[-1]["pid"], signal.SIGKILL)
        seen = len(sidecar.log)
        await sidecar.event("worker_ended", seen)
        if count < DEATHS - 1:
            await sidecar.event("worker_ready", seen)


async def served_by(sidecar: Sidecar) -> int:
    async with Connection(sidecar.port) as connection:
        assert (await connection.ask("say"))[0] == 200
        return connection.worker


async def test_no_connection_waits_for_a_worker_that_is_not_there(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO, *TWO) as sidecar:
        await sidecar.workers(2)
        await die_again_and_again(sidecar)
        seen = len(sidecar.log)
        # The kernel gives each to either socket: all to the living one's is as good as impossible.
        assert {await served_by(sidecar) for _ in range(40)} == {1}
        assert not [line for line in sidecar.log[seen:] if line["event"] == "worker_ready"]

        await sidecar.event("worker_ready", seen)
        async with asyncio.timeout(DEADLINE_S):
            while await served_by(sidecar) != 0:
                pass


async def test_a_sidecar_with_a_dead_worker_drains_whole(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO | {"server": {"drain_s": 0.5}}, *TWO) as sidecar:
        await sidecar.workers(2)
        await die_again_and_again(sidecar)
        await served_by(sidecar)
        seen = len(sidecar.log)
        sidecar.signal(signal.SIGTERM)
        await sidecar.event("draining", seen)
        assert {await served_by(sidecar) for _ in range(10)} == {1}

        assert await sidecar.exit_status() == 0
    assert not [line for line in sidecar.log if line["event"] == "requests_cut"]
