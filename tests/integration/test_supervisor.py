"""How workers start and die, as their users see it: real processes, real sockets, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import stat
from pathlib import Path
from time import monotonic

import pytest
import trustme
from dispatch.testing import MockProvider

from tests.integration.fleet import BUSY, ECHO, MANY, TWO, behind
from tests.integration.sidecar import DEADLINE_S, Connection, Load, Sidecar, chat, is_alive, until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough: what is tested runs in other processes."""
    return "asyncio", {"use_uvloop": False}


# Start.


async def test_nothing_configured_ends_in_a_first_answer(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, None, *TWO) as sidecar, Connection(sidecar.port) as connection:
        status, body = await connection.ask("echo", "first")

        assert (status, b"first" in body) == (200, True)
        assert sidecar.out[0].endswith("2 workers, models: echo")
        assert (await connection.get("/readyz"))[0] == 200


async def test_a_unix_socket_is_shared_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "dispatch.sock"
    async with Sidecar(tmp_path, ECHO | {"server": {"drain_s": 0}}, *TWO, "--unix", str(path)) as sidecar:
        async with Connection(unix=str(path)) as connection:
            status, _ = await connection.ask("say")
        sidecar.signal(signal.SIGTERM)
        left = await sidecar.exit_status()

    assert (status, left) == (200, 0)
    assert not path.exists()


async def test_a_unix_socket_that_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "dispatch.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async with Sidecar(tmp_path, ECHO, "--workers", "1", "--unix", str(path)), Connection(unix=str(path)) as connection:
        assert (await connection.ask("say"))[0] == 200


async def refusal(sidecar: Sidecar) -> tuple[int, str]:
    await sidecar.launch()
    status = await sidecar.exit_status()
    return status, "\n".join(sidecar.noise)


async def test_a_port_in_use_is_refused_also_by_a_second_sidecar(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO, "--workers", "1") as first:
        status, text = await refusal(Sidecar(tmp_path, None, "--port", str(first.port)))

    assert status == 2
    assert f"server.port: 127.0.0.1:{first.port} is in use" in text


async def test_a_unix_socket_in_use_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "dispatch.sock")
    async with Sidecar(tmp_path, ECHO, "--workers", "1", "--unix", path):
        status, text = await refusal(Sidecar(tmp_path, None, "--unix", path))

    assert status == 2
    assert "is in use" in text
    assert stat.S_ISSOCK((tmp_path / "dispatch.sock").stat().st_mode)


async def test_a_public_address_without_keys_is_refused(tmp_path: Path) -> None:
    status, text = await refusal(Sidecar(tmp_path, ECHO, "--host", "0.0.0.0"))

    assert status == 2
    assert "server.host" in text
    assert "keys" in text


async def test_a_missing_secret_is_named_by_the_path_of_its_key(tmp_path: Path) -> None:
    config = {"endpoints": [{"name": "o", "provider": "openai", "model": "m", "api_key": "env:NOT_THERE"}], "models": {"say": "o"}}

    status, text = await refusal(Sidecar(tmp_path, config))

    assert status == 2
    assert "endpoints[0].api_key" in text
    assert "NOT_THERE" in text


async def test_secrets_are_in_no_argument_and_no_log_line(tmp_path: Path) -> None:
    config = {
        "endpoints": [{"name": "e", "provider": "echo", "api_key": f"file:{tmp_path / 'secret'}"}],
        "models": {"say": "e"},
        "keys": [{"name": "team", "key": f"file:{tmp_path / 'key'}"}],
    }
    (tmp_path / "secret").write_text("sk-upstream-4711")
    (tmp_path / "key").write_text("sk-client-4712")
    async with Sidecar(tmp_path, config, "--workers", "1") as sidecar, Connection(sidecar.port) as connection:
        (pid,) = await sidecar.workers(1)
        seen = b"".join((Path("/proc") / str(pid) / name).read_bytes() for name in ("cmdline", "environ"))
        request = chat("say", "content-4713").replace(b"host:", b"authorization: Bearer sk-client-4712\r\nhost:", 1)
        status, _ = await connection._exchange(request)
        line = await sidecar.event("request")

    written = str(sidecar.log) + str(sidecar.noise) + str(sidecar.out)
    assert (status, line["key"]) == (200, "team")
    assert b"471" not in seen
    assert "471" not in written


async def test_a_certificate_makes_it_serve_https(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "leaf.pem")
    config = ECHO | {"server": {"tls": {"cert": str(tmp_path / "leaf.pem"), "key": str(tmp_path / "leaf.pem")}}}
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with Sidecar(tmp_path, config, "--workers", "1") as sidecar:
        connection = Connection()
        connection.reader, connection.writer = await asyncio.open_connection("127.0.0.1", sidecar.port, ssl=context)
        async with asyncio.timeout(DEADLINE_S):
            status, _ = await connection.ask("say")
        await connection.__aexit__()

    assert status == 200
    assert "https://127.0.0.1:" in sidecar.out[0]


async def test_a_worker_imports_no_more_than_the_path_needs(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO, "--workers", "1") as sidecar:
        (pid,) = await sidecar.workers(1)
        mapped = (Path("/proc") / str(pid) / "maps").read_text()
        names = ("aiohttp", "yaml", "multidict", "httptools")

        assert [name for name in names if f"/site-packages/{name}/" in mapped] == []


async def test_a_full_worker_stops_accepting_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    limit, reserve = 200, 64
    sidecar = Sidecar(tmp_path, ECHO, "--workers", "1")
    sidecar.prefix = ["prlimit", f"--nofile={limit}:{limit}"]
    async with sidecar:
        (pid,) = await sidecar.workers(1)
        folder = Path("/proc") / str(pid) / "fd"
        held = [await Connection(sidecar.port).__aenter__() for _ in range(limit)]
        asked = [asyncio.create_task(connection.get("/healthz")) for connection in held]
        # One after the other is accepted, so the last has no answer while the first half has.
        await asyncio.wait(asked[: limit // 2], timeout=DEADLINE_S)
        await until(lambda: len([*folder.iterdir()]) >= limit - reserve)
        most, waiting = len([*folder.iterdir()]), asked[-1]
        was_waiting = not waiting.done()
        for connection in held[: limit // 2]:
            connection.writer.close()
        answers = await asyncio.wait_for(asyncio.gather(*asked), DEADLINE_S)

        assert "room for 68 streams" in sidecar.out[1]
        assert limit - reserve <= most <= limit - reserve + 2
        assert was_waiting
        assert {status for status, _ in answers} == {200}
        for connection in held:
            await connection.__aexit__()


# Workers die.


async def test_killing_a_worker_under_load_breaks_only_its_own_requests(tmp_path: Path) -> None:
    async with MockProvider(first_token_s=0.02) as mock, Sidecar(tmp_path, behind(mock), *TWO) as sidecar:
        pids = await sidecar.workers(2)
        async with Load(sidecar.port, "say", MANY) as load:
            mark = len(sidecar.log)
            os.kill(pids[0], signal.SIGKILL)
            await sidecar.event("worker_ready", after=mark)
            await load.more(4 * MANY)
        await sidecar.until_metric("dispatch_in_flight", 0, BUSY * 1.0, endpoint="up")

        assert sidecar.worker_pids()[1] == pids[1]
        assert set(load.broken) <= {0, -1}
        assert 0 < len(load.broken) < MANY
        assert load.refused == []


async def test_counts_are_exact_within_a_second_of_a_kill(tmp_path: Path) -> None:
    async with MockProvider(first_token_s=30) as mock, Sidecar(tmp_path, behind(mock), *TWO) as sidecar:
        pids = await sidecar.workers(2)
        connections = [await Connection(sidecar.port).__aenter__() for _ in range(MANY)]
        for connection in connections:
            await connection.get("/healthz")
            connection.writer.write(chat("say"))
        await sidecar.until_metric("dispatch_in_flight", MANY, DEADLINE_S, endpoint="up")
        started = monotonic()
        os.kill(pids[1], signal.SIGKILL)
        await until(lambda: not is_alive(pids[1]))
        ended = await asyncio.gather(
            *(asyncio.wait_for(connection.reader.read(1), 2) for connection in connections), return_exceptions=True
        )
        left = sum(isinstance(end, TimeoutError) for end in ended)
        await sidecar.until_metric("dispatch_in_flight", left, 2 + BUSY * 1.0 - (monotonic() - started), endpoint="up")

        assert 0 < left < MANY
        for connection in connections:
            await connection.__aexit__()


async def test_connections_to_a_dead_worker_wait_for_its_successor(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO, "--workers", "1") as sidecar:
        (pid,) = await sidecar.workers(1)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not is_alive(pid))
        async with Connection(sidecar.port) as connection:
            status, _ = await connection.ask("say")

    assert status == 200


async def test_a_worker_that_keeps_dying_is_started_ever_later(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO, "--workers", "1") as sidecar:
        for count in range(4):
            await until(lambda: sum(line["event"] == "worker_ready" for line in sidecar.log) > count)  # noqa: B023  # awaited at once
            os.kill(sidecar.worker_pids()[0], signal.SIGKILL)
        await until(lambda: sum(line["event"] == "worker_ended" for line in sidecar.log) == 4)
        waits = [line["restart_after_s"] for line in sidecar.log if line["event"] == "worker_ended"]

    # What is left of each wait when the line is written, on a machine that may have other things to do.
    for wait, whole_s in zip(waits, [0.1, 0.2, 0.4, 0.8], strict=True):
        assert whole_s / 2 < wait <= whole_s


async def test_workers_that_never_get_ready_end_the_sidecar_with_their_reason(tmp_path: Path) -> None:
    # A certificate is read where it is used, in the worker.
    tls = {"cert": str(tmp_path / "missing.pem"), "key": str(tmp_path / "missing.pem")}
    config = {
        "endpoints": [
            {"name": "o", "provider": "openai_compatible", "model": "m", "base_url": "https://127.0.0.1:9/v1", "client_cert": tls}
        ],
        "models": {"say": "o"},
    }

    status, text = await refusal(Sidecar(tmp_path, config, *TWO))

    assert status == 1
    assert "no worker could start" in text
    assert "missing.pem" in text


async def test_a_supervisor_that_is_killed_takes_its_workers_along(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, ECHO, *TWO) as sidecar:
        pids = await sidecar.workers(2)
        sidecar.signal(signal.SIGKILL)

        await until(lambda: not any(is_alive(pid) for pid in pids), "workers gone")
