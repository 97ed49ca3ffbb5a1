"""One queue over several workers: real processes, real sockets, real kills."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.testing import MockProvider

from tests.integration.fleet import MANY, TWO
from tests.integration.kitchen import Kitchen
from tests.integration.sidecar import DEADLINE_S, Connection, Gone, Sidecar, chat

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough: what is tested runs in other processes."""
    return "asyncio", {"use_uvloop": False}


def config(kitchen: Kitchen, **model: Any) -> dict[str, Any]:
    """The kitchen as the model `m`, and an echo that tells which worker answers."""
    made = kitchen.config(**model)
    del made["endpoints"][0]["api_key"]
    made["endpoints"].append({"name": "echo", "provider": "echo"})
    made["models"]["say"] = "echo"
    return made | {"server": {"drain_s": 0}}


async def connections(stack: AsyncExitStack, port: int, each: int) -> dict[int, list[Connection]]:
    """Connections by the worker that serves them, so many of each of two workers."""
    found: dict[int, list[Connection]] = {0: [], 1: []}
    for _ in range(MANY * each):
        connection = await stack.enter_async_context(Connection(port))
        await connection.ask("say")
        found[connection.worker].append(connection)
        if all(len(of) >= each for of in found.values()):
            return found
    raise AssertionError("all connections went to one worker")


async def test_a_place_that_one_worker_gives_back_is_taken_by_who_waits_in_another(tmp_path: Path) -> None:
    async with Kitchen() as kitchen, Sidecar(tmp_path, config(kitchen), *TWO) as sidecar, AsyncExitStack() as stack:
        await sidecar.workers(2)
        here, there = (of[0] for of in (await connections(stack, sidecar.port, 1)).values())
        for turn in range(11):
            here.writer.write(chat("m", f"here {turn}"))
            await kitchen.arrived(2 * turn + 1)
            there.writer.write(chat("m", f"there {turn}"))
            await sidecar.until_metric("dispatch_queue_depth", 1, DEADLINE_S, model="m")
            kitchen.serve()
            await kitchen.arrived(2 * turn + 2)
            kitchen.serve()
            for connection in (here, there):
                assert await connection.read_head() == 200
                await connection.reader.readexactly(int(connection.head["content-length"]))


async def test_those_who_wait_in_a_killed_worker_hold_nobody_up(tmp_path: Path) -> None:
    async with Kitchen() as kitchen, Sidecar(tmp_path, config(kitchen), *TWO) as sidecar, AsyncExitStack() as stack:
        pids = await sidecar.workers(2)
        by_worker = await connections(stack, sidecar.port, 3)
        holder, *others = by_worker[0]
        holder.writer.write(chat("m", "holder"))
        await kitchen.arrived(1)
        for connection in by_worker[1][:3]:
            connection.writer.write(chat("m", "lost"))
        await sidecar.until_metric("dispatch_queue_depth", 3, DEADLINE_S, model="m")
        for connection in others[:2]:
            connection.writer.write(chat("m", "stays"))
        await sidecar.until_metric("dispatch_queue_depth", 5, DEADLINE_S, model="m")
        os.kill(pids[1], signal.SIGKILL)
        await sidecar.event("worker_ended")

        assert await kitchen.serve_in_turn(3) == ["holder", "stays", "stays"]
        for connection in (holder, *others[:2]):
            assert await connection.read_head() == 200
        for connection in by_worker[1][:3]:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError, Gone)):
                await connection.read_head()
        await sidecar.until_metric("dispatch_queue_depth", 0, DEADLINE_S, model="m")


async def test_twice_the_load_that_fits_is_shared_three_to_one_by_weight(tmp_path: Path) -> None:
    secrets = {"big": "sk-big-0123456789", "small": "sk-small-0123456789"}
    async with MockProvider(first_token_s=0.03, output_tokens=20) as mock:
        made = {
            "server": {"drain_s": 0},
            "keys": [
                {"name": name, "key": "sha256:" + hashlib.sha256(secret.encode()).hexdigest(), "weight": 3 if name == "big" else 1}
                for name, secret in secrets.items()
            ],
            "endpoints": [
                {"name": "up", "provider": "openai_compatible", "model": "m", "base_url": mock.base_url, "limits": {"concurrency": 4}}
            ],
            "models": {"m": "up"},
        }
        async with Sidecar(tmp_path, made, *TWO) as sidecar:
            await sidecar.workers(2)
            answers, refused = await shared(sidecar.port, secrets, clients=12, answers=400)

    assert not refused
    assert answers["big"] / answers["small"] == pytest.approx(3, rel=0.15), answers


async def shared(port: int, secrets: dict[str, str], clients: int, answers: int) -> tuple[dict[str, int], list[int]]:
    """So many clients of each key ask again and again until there are so many answers; those of each key, and other statuses."""
    found = dict.fromkeys(secrets, 0)
    refused: list[int] = []

    async def client(name: str, secret: str) -> None:
        request = chat("m", "hello").replace(b"\r\n\r\n", f"\r\nx-dispatch-key: {secret}\r\n\r\n".encode(), 1)
        while sum(found.values()) < answers:
            async with Connection(port) as connection:
                # A worker with more than its share of connections closes some of them.
                while connection.is_open and sum(found.values()) < answers:
                    connection.writer.write(request)
                    status = await connection.read_head()
                    await connection.reader.readexactly(int(connection.head["content-length"]))
                    connection.is_open = connection.head.get("connection") != "close"
                    if status == 200:
                        found[name] += 1
                    else:
                        refused.append(status)

    await asyncio.gather(*(client(name, secret) for name, secret in secrets.items() for _ in range(clients)))
    return found, refused
