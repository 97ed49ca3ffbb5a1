"""How a running sidecar is reloaded, drained and looked at: real processes, real sockets, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.testing import MockProvider

from tests.integration.fleet import ECHO, MANY, TWO, behind
from tests.integration.sidecar import DEADLINE_S, Connection, Gone, Load, Sidecar, chat, is_alive, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough: what is tested runs in other processes."""
    return "asyncio", {"use_uvloop": False}


# Reload.


async def test_a_reload_under_load_fails_no_request_and_shows_the_new_model(tmp_path: Path) -> None:
    async with MockProvider(first_token_s=0.01) as mock, Sidecar(tmp_path, behind(mock), *TWO) as sidecar:
        pids = await sidecar.workers(2)
        async with Load(sidecar.port, "say", MANY) as load:
            for number in range(3):
                mark = len(sidecar.log)
                config = behind(mock)
                config["models"][f"new{number}"] = "up"
                sidecar.write(config)
                sidecar.signal(signal.SIGHUP)
                await sidecar.event("reloaded", after=mark)
                await load.more(MANY)
                async with Connection(sidecar.port) as connection:
                    assert (await connection.ask(f"new{number}"))[0] == 200

        assert load.broken == []
        assert load.refused == []
        assert sidecar.worker_pids() == pids


async def test_a_changed_file_is_noticed_without_a_signal(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO, *TWO) as sidecar:
        sidecar.write(ECHO | {"models": {"say": "e", "sing": "e"}})
        await sidecar.event("reloaded")

        async with Connection(sidecar.port) as connection:
            assert (await connection.ask("sing"))[0] == 200


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("{not json", "not valid JSON"),
        ({"endpoints": [], "models": {"say": "gone"}}, "models.say"),
        ({"endpoints": [{"name": f"e{n}", "provider": "echo"} for n in range(80)], "models": {"say": "e0"}}, "needs a restart"),
        (ECHO | {"endpoints": [{"name": "e", "provider": "echo", "api_key": "env:NOT_THERE"}]}, "endpoints[0].api_key"),
    ],
    ids=["syntax", "name", "size", "secret"],
)
async def test_a_file_that_is_refused_changes_nothing_and_says_why(tmp_path: Path, config: Any, reason: str) -> None:
    async with Sidecar(tmp_path, ECHO, "--workers", "1") as sidecar:
        sidecar.write(config)
        sidecar.signal(signal.SIGHUP)
        line = await sidecar.event("reload_refused")

        async with Connection(sidecar.port) as connection:
            assert (await connection.ask("say"))[0] == 200
        assert reason in line["reason"]


async def test_what_only_a_worker_can_see_is_refused_by_all(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO, *TWO) as sidecar:
        tls = {"cert": str(tmp_path / "missing.pem"), "key": str(tmp_path / "missing.pem")}
        bad = {"name": "o", "provider": "openai_compatible", "model": "m", "base_url": "https://127.0.0.1:9/v1", "client_cert": tls}
        sidecar.write({"endpoints": [*ECHO["endpoints"], bad], "models": {"say": "e", "secure": "o"}})
        sidecar.signal(signal.SIGHUP)
        line = await sidecar.event("reload_refused")

        assert "missing.pem" in line["reason"]
        async with Connection(sidecar.port) as connection:
            assert (await connection.ask("say"))[0] == 200
            assert (await connection.ask("secure"))[0] == 404


async def test_another_number_of_workers_needs_a_restart_and_says_so(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO | {"server": {"workers": 1}}) as sidecar:
        sidecar.write(ECHO | {"server": {"workers": 2}})
        sidecar.signal(signal.SIGHUP)
        line = await sidecar.event("needs_restart")
        await sidecar.event("reloaded")

    assert line["keys"] == ["server.workers"]


# The end.


async def test_a_running_stream_is_finished_before_the_end(tmp_path: Path) -> None:
    async with MockProvider(gap_s=0.05, output_tokens=20) as mock, Sidecar(tmp_path, behind(mock), *TWO) as sidecar:
        await sidecar.workers(2)
        async with Connection(sidecar.port) as connection:
            connection.writer.write(chat("say", stream=True))
            await connection.read_head()
            sidecar.signal(signal.SIGTERM)
            await sidecar.event("draining")
            stream = await connection.reader.read(-1)
        status = await sidecar.exit_status()

    assert status == 0
    assert b"[DONE]" in stream
    assert stream.endswith(b"0\r\n\r\n")


async def test_while_draining_requests_are_served_and_told_to_close(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO | {"server": {"drain_s": 2.0}}, *TWO) as sidecar:
        await sidecar.workers(2)
        sidecar.signal(signal.SIGTERM)
        await sidecar.event("draining")
        async with Connection(sidecar.port) as connection:
            served = await connection.ask("say")
            told = connection.head.get("connection")
        async with Connection(sidecar.port) as connection:
            is_ready = await connection.get("/readyz")
        status = await sidecar.exit_status()

    assert (served[0], told) == (200, "close")
    assert is_ready[0] == 503
    assert status == 0


async def test_a_drain_under_load_loses_no_request(tmp_path: Path) -> None:
    async with MockProvider(first_token_s=0.01) as mock, Sidecar(tmp_path, behind(mock, drain_s=0.5), *TWO) as sidecar:
        await sidecar.workers(2)
        outcomes: list[str] = []

        async def client() -> None:
            while True:
                try:
                    connection = await Connection(sidecar.port).__aenter__()
                except (ConnectionRefusedError, ConnectionResetError):
                    # Nobody has accepted it: the socket was closed before it was there, or in that moment.
                    return
                try:
                    status, _ = await connection.ask("say")
                    outcomes.append(str(status))
                except Gone:
                    outcomes.append("gone")
                finally:
                    await connection.__aexit__()

        clients = [asyncio.create_task(client()) for _ in range(8)]
        await until(lambda: len(outcomes) > 20)
        sidecar.signal(signal.SIGTERM)
        status = await sidecar.exit_status()
        await asyncio.gather(*clients)

    assert status == 0
    assert set(outcomes) == {"200"}


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with MockProvider(first_token_s=30) as mock, Sidecar(tmp_path, behind(mock), *TWO) as sidecar:
        pids = await sidecar.workers(2)
        async with Connection(sidecar.port) as connection:
            connection.writer.write(chat("say"))
            await mock.until(lambda journal: len(journal) == 1)
            sidecar.signal(signal.SIGINT)
            await sidecar.event("draining")
            sidecar.signal(signal.SIGINT)
            status = await sidecar.exit_status()

    assert status == 128 + signal.SIGINT
    assert not any(is_alive(pid) for pid in pids)


# Reports.


async def test_connections_even_out_over_workers(tmp_path: Path) -> None:
    async with MockProvider(first_token_s=0.01) as mock, Sidecar(tmp_path, behind(mock), *TWO) as sidecar:
        pids = await sidecar.workers(2)
        # The kernel deals new connections out evenly. Those for the worker that stands still are not answered, and given up.
        os.kill(pids[1], signal.SIGSTOP)
        connections: list[Connection] = []
        while len(connections) < 16:
            connection = await Connection(sidecar.port).__aenter__()
            try:
                await asyncio.wait_for(connection.get("/healthz"), 0.3)
                connections.append(connection)
            except TimeoutError:
                await connection.__aexit__()
        os.kill(pids[1], signal.SIGCONT)
        counts = {0: 0, 1: 0}
        end = monotonic() + DEADLINE_S

        async def client(connection: Connection) -> None:
            while monotonic() < end and not (counts[0] and counts[1]):
                if not connection.is_open:
                    await connection.__aexit__()
                    connection = await Connection(sidecar.port).__aenter__()
                status, _ = await connection.ask("say")
                assert status == 200
                counts[connection.worker] += 1
            await connection.__aexit__()

        await asyncio.gather(*(client(connection) for connection in connections))

    assert counts[0] > 0
    assert counts[1] > 0


async def test_metrics_are_exact_over_two_workers(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO, *TWO) as sidecar:
        await sidecar.workers(2)
        served_by = set()
        for _ in range(MANY):
            async with Connection(sidecar.port) as connection:
                await connection.ask("say")
                served_by.add(connection.worker)
        texts = {await sidecar.metric("dispatch_requests_total", model="say", outcome="ok") for _ in range(4)}

        assert served_by == {0, 1}
        assert texts == {MANY}
        assert await sidecar.metric("dispatch_attempts_total", endpoint="e", failure="none") == MANY
        assert await sidecar.metric("dispatch_overhead_seconds_count") == MANY


async def test_each_request_has_one_line(tmp_path: Path) -> None:
    async with MockProvider(output_tokens=3) as mock, Sidecar(tmp_path, behind(mock), *TWO) as sidecar:
        async with Connection(sidecar.port) as connection:
            await connection.ask("say")
            first = connection.head["x-request-id"]
            await connection.ask("nobody")
        await until(lambda: sum(line["event"] == "request" for line in sidecar.log) >= 1)
        line = await sidecar.event("request")

    assert line["id"] == first
    assert {"model": "say", "endpoint": "up", "api": "chat", "outcome": "ok", "status": 200, "attempts": 1}.items() <= line.items()
    assert line["tokens_out"] == 3
    assert 0 < line["overhead_ms"] < line["duration_ms"] + 1
    assert "time" in line


async def test_no_line_is_written_when_the_log_is_off(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO | {"server": {"drain_s": 0}}, "--workers", "1", log="off") as sidecar:
        async with Connection(sidecar.port) as connection:
            await connection.ask("say")
        sidecar.signal(signal.SIGTERM)
        status = await sidecar.exit_status()

    assert status == 0
    assert sidecar.log == []
    assert sidecar.noise == []
