"""What a worker's requests free serves the next ones: the kernel is not asked for the same pages again and again."""

from __future__ import annotations

import platform
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
from dispatch.testing import MockProvider

from tests.integration.fleet import behind
from tests.integration.sidecar import Connection, Sidecar

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator"),
]

CLIENTS, TURNS = 32, 12
PROMPT = "word " * 6500
"""32 KiB: eight pages."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough: what is tested runs in another process."""
    return "asyncio", {"use_uvloop": True}


def faults(pids: list[int]) -> int:
    """Pages that the kernel had to give or to map: proc_pid_stat(5), field 10."""
    return sum(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7]) for pid in pids)


async def turns(client: Connection) -> None:
    for _ in range(TURNS):
        assert (await client.ask("say", PROMPT))[0] == 200


async def test_bodies_of_many_kilobytes_do_not_cost_their_pages_anew(tmp_path: Path) -> None:
    async with MockProvider() as mock, Sidecar(tmp_path, behind(mock), "--workers", "2") as sidecar, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Connection(sidecar.port)) for _ in range(CLIENTS)]
        pids = await sidecar.workers(2)
        taken = []
        for _ in range(2):
            before = faults(pids)
            async with anyio.create_task_group() as asking:
                for client in clients:
                    asking.start_soon(turns, client)
            taken.append((faults(pids) - before) / (CLIENTS * TURNS))

    # The first round takes the memory that the second one finds: less than one page a request, where without it it takes seven to thirteen.
    assert taken[1] < 3, taken
