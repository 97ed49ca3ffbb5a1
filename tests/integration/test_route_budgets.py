"""The budget of a learned route is one for all workers of a sidecar: real processes, real sockets."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.routing import LearnedRouter

from tests.integration.fleet import MANY, TWO
from tests.integration.sidecar import Connection, Sidecar

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

REQUESTS = 1200
SHARE = 0.25


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough: what is tested runs in other processes."""
    return "asyncio", {"use_uvloop": False}


def config(folder: Path) -> dict[str, Any]:
    """A strong and a weak model, and a router that knows that only the strong one can prove."""
    prompts = [f"{kind} number {at}" for at in range(20) for kind in ("add", "prove")]
    (folder / "router.bin").write_bytes(LearnedRouter.train(["weak", "strong"], prompts, [[1.0, 1.0], [0.0, 1.0]] * 20, []).encode())
    learned = {"by": "learned", "router": "router.bin", "among": ["weak", "strong"], "costs": {"weak": 1, "strong": 10}}
    return {
        "server": {"drain_s": 0},
        "endpoints": [{"name": name, "provider": "echo"} for name in ("weak", "strong")],
        "models": {"auto": {"route": {**learned, "budget": {"strong_share": SHARE}}}, "say": "weak"},
    }


async def one_of_each(stack: AsyncExitStack, port: int) -> list[Connection]:
    """A connection to each of two workers."""
    found: dict[int, Connection] = {}
    for _ in range(MANY):
        connection = await stack.enter_async_context(Connection(port))
        await connection.ask("say")
        if found.setdefault(connection.worker, connection) is not connection:
            await connection.__aexit__()
        if len(found) == 2:
            return [found[worker] for worker in sorted(found)]
    raise AssertionError("all connections went to one worker")


async def test_two_workers_hold_one_share_of_strong_calls_together(tmp_path: Path) -> None:
    """One gets all that the strong model is for: by itself it would be held to the share, beside the other it may spend all of both.

    Requests follow each other, and a share is counted in calls, so that no clock has a part in it.
    """
    async with Sidecar(tmp_path, config(tmp_path), *TWO) as sidecar, AsyncExitStack() as stack:
        await sidecar.workers(2)
        hard, easy = await one_of_each(stack, sidecar.port)
        strong = {hard.worker: 0, easy.worker: 0}
        for number in range(REQUESTS):
            connection, text = (hard, "prove number 7") if number % 2 else (easy, "add number 7")
            status, _ = await connection.ask("auto", text)
            assert status == 200
            strong[connection.worker] += connection.head["x-dispatch-endpoint"] == "strong"

    assert sum(strong.values()) / REQUESTS == pytest.approx(SHARE, abs=0.03)
    assert strong[hard.worker] / (REQUESTS / 2) > 1.5 * SHARE
