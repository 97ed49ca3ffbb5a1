"""Active checks: an endpoint that is gone is left alone before a request finds out, and comes back when it is there again."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import pytest
from dispatch import Client
from dispatch.config import build
from dispatch.errors import ConfigError

from tests.integration.sidecar import Connection, Sidecar, until
from tests.integration.upstream import answer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

EVERY_S = 0.1
LONG_S = 20.0
FAST = {"interval_s": EVERY_S, "timeout_s": 1, "unhealthy": 2}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough: what is tested runs in other processes."""
    return "asyncio", {"use_uvloop": False}


class Host:
    """A host that answers GET and POST alike, and can be away.

    Attributes:
        asked: request lines, in order of arrival.
        heads: the whole heads.
        status: of its answers to GET; None says nothing.
        answer_status: of its answers to POST.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.status: int | None = 200
        self.answer_status = 200
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.come()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def come(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def leave(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.transport.abort()

    def count(self, start: str) -> int:
        return sum(line.startswith(start) for line in self.asked)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(EOFError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line = head.partition("\r\n")[0]
                lengths = [one for one in head.lower().split("\r\n") if one.startswith("content-length:")]
                await reader.readexactly(int(lengths[0].partition(":")[2]) if lengths else 0)
                self.asked.append(line)
                self.heads.append(head)
                if line.startswith("GET") and self.status is None:
                    continue
                location = ("location: /elsewhere",) if self.status == 302 else ()
                writer.write(answer(b"{}", self.status or 0, *location) if line.startswith("GET") else answer(status=self.answer_status))
                await writer.drain()
        self._open.discard(writer)
        writer.close()


def configuration(*hosts: Host, check: Any = FAST, **fields: Any) -> dict[str, Any]:
    """Return a pool `m` of one endpoint a host: `e0`, `e1`, ..."""
    endpoints = [
        {
            "name": f"e{at}",
            "provider": "openai_compatible",
            "model": "m",
            "base_url": f"http://127.0.0.1:{host.port}/v1",
            "check": check,
            "api_key": "env:UP",
            **fields,
        }
        for at, host in enumerate(hosts)
    ]
    return {
        "server": {"drain_s": 0},
        # Without traffic nothing but a check opens or tries a breaker; what checks hold they must renew themselves.
        "defaults": {"health": {"slow_start_s": 0, "panic_threshold": 0}, "retry": {"attempts": 1}, "queue": {"max": 0}},
        "endpoints": endpoints,
        "models": {"m": {"strategy": "round_robin", "endpoints": [one["name"] for one in endpoints]}},
    }


def sidecar(folder: Path, config: dict[str, Any], workers: int = 1) -> Sidecar:
    return Sidecar(folder, config, "--workers", str(workers), environ={"UP": "sk-up-1234567890"})


async def test_a_dead_endpoint_is_found_and_comes_back_without_a_request_of_a_client(tmp_path: Path) -> None:
    async with Host() as dead, Host() as well, sidecar(tmp_path, configuration(dead, well)) as running:
        await until(lambda: dead.count("GET") >= 2 and well.count("GET") >= 2, "checks")
        await dead.leave()
        await running.event("endpoint_lost")
        await running.until_metric("dispatch_breaker_state", 2, LONG_S, endpoint="e0")
        async with Connection(running.port) as client:
            statuses = [(await client.ask("m"))[0] for _ in range(6)]
        served = well.count("POST")
        await dead.come()
        await running.event("endpoint_found")
        async with Connection(running.port) as client:
            after = [(await client.ask("m"))[0] for _ in range(6)]
        checked = await running.metric("dispatch_checks_total", endpoint="e0", outcome="failed")
        trips = await running.metric("dispatch_breaker_trips_total", endpoint="e0")

    assert statuses == after == [200] * 6
    assert served == 6
    assert dead.count("POST") >= 1
    assert checked >= 2
    assert trips == 1


async def test_checks_are_gets_of_the_list_of_models_with_the_endpoints_credential(tmp_path: Path) -> None:
    async with Host() as host, sidecar(tmp_path, configuration(host)):
        await until(lambda: len(host.asked) >= 3, "checks")

    assert set(host.asked) == {"GET /v1/models HTTP/1.1"}
    assert "authorization: bearer sk-up-1234567890" in host.heads[0].lower()


@pytest.mark.parametrize(("status", "state"), [(500, 2), (503, 2), (401, 2), (403, 2), (None, 2), (404, 0), (429, 0), (302, 0)], ids=str)
async def test_what_counts_as_a_failed_check(tmp_path: Path, status: int | None, state: int) -> None:
    async with Host() as host:
        host.status = status
        check = {"path": "/health", "interval_s": EVERY_S, "timeout_s": 0.2, "unhealthy": 2}
        async with sidecar(tmp_path, configuration(host, check=check)) as running:
            await until(lambda: len(host.asked) >= 4, "checks")
            await running.until_metric("dispatch_breaker_state", state, LONG_S, endpoint="e0")

    # A redirect is not followed: it leads to whom nobody has named.
    assert set(host.asked) == {"GET /health HTTP/1.1"}


async def test_a_check_that_shows_no_credential_of_ours_may_be_refused_one(tmp_path: Path) -> None:
    async with Host() as host:
        host.status = 401
        async with sidecar(tmp_path, configuration(host, api_key="from_client")) as running:
            await until(lambda: len(host.asked) >= 4, "checks")
            state = await running.metric("dispatch_breaker_state", endpoint="e0")

    assert state == 0


async def test_so_many_checks_in_a_row_pass_before_an_endpoint_is_found_again(tmp_path: Path) -> None:
    async with Host() as host:
        host.status = 500
        async with sidecar(tmp_path, configuration(host, check={**FAST, "healthy": 4})) as running:
            await running.event("endpoint_lost")
            failed, host.status = host.count("GET"), 200
            await running.event("endpoint_found")
            passed = host.count("GET") - failed

    assert passed >= 4


async def test_litellm_13668_13782_workers_and_endpoints_of_a_host_have_one_prober_that_outlives_a_killed_worker(tmp_path: Path) -> None:
    """There each replica checked by itself, by billed calls. Here one does, by GETs that cost nothing."""
    async with Host() as host, sidecar(tmp_path, configuration(host, host, host), workers=3) as running:
        pids = await running.workers(3)
        await until(lambda: len(host.asked) >= 3, "checks")
        loop = asyncio.get_running_loop()
        began, before = loop.time(), len(host.asked)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(host.asked) >= before + 15, "more checks")
        took_s = loop.time() - began
        # All of one look: between two of them there are further checks.
        metrics = await running.metrics()
    passed = [metrics["dispatch_checks_total", frozenset({"endpoint": f"e{at}", "outcome": "passed"}.items())] for at in range(3)]

    # Less the tenth that is drawn, and two of them that were due; three or nine times as many would come from other probers.
    assert took_s >= 13 * EVERY_S * 0.9
    assert host.count("POST") == 0
    assert max(passed) - min(passed) <= 1


async def test_a_reload_begins_and_ends_checks(tmp_path: Path) -> None:
    async with Host() as first, Host() as second:
        config = configuration(first)
        async with sidecar(tmp_path, config | {"endpoints": [{**config["endpoints"][0], "check": False}]}) as running:
            running.write(configuration(first, second))
            running.signal(signal.SIGHUP)
            await until(lambda: first.asked and second.asked, "checks")
            running.write(configuration(second))
            running.signal(signal.SIGHUP)
            await running.event("reloaded", after=next(at for at, line in enumerate(running.log) if line["event"] == "reloaded") + 1)
            before, others = len(first.asked), len(second.asked)
            await until(lambda: len(second.asked) >= others + 5, "checks of the second host")

    # One may have been under way.
    assert len(first.asked) <= before + 1


async def test_a_host_that_only_requests_find_broken_keeps_the_breaker_of_requests(tmp_path: Path) -> None:
    """A list of models says nothing about answers: a check that passes all the time never opens the door."""
    async with Host() as host:
        config = configuration(host)
        config["defaults"]["health"] |= {"consecutive": 1, "open_s": 300, "open_max_s": 300}
        async with sidecar(tmp_path, config) as running, Connection(running.port) as client:
            await until(lambda: host.asked, "a check")
            host.answer_status = 500
            await client.ask("m")
            await until(lambda: len(host.asked) >= 8, "more checks")
            state = await running.metric("dispatch_breaker_state", endpoint="e0")

    assert state == 2


async def test_the_library_checks_while_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP", "sk-up-1234567890")
    async with Host() as host:
        async with Client(build(configuration(host))) as client:
            await until(lambda: len(host.asked) >= 3, "checks")
            assert (await client.chat("m", "hi")).text == "hello"
        asked = len(host.asked)
        async with Client(build(configuration(host, check=False))) as client:
            assert (await client.chat("m", "hi")).text == "hello"

    assert host.asked[asked:] == ["POST /v1/chat/completions HTTP/1.1"]


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ({"provider": "echo", "check": True}, "endpoints[0].check"),
        ({"provider": "function", "base_url": "http://127.0.0.1:1/run", "model": "", "check": {"path": "/health"}}, "endpoints[0].check"),
        ({"check": {"path": "health"}}, "endpoints[0].check.path"),
        ({"check": {"interval_s": 0}}, "endpoints[0].check"),
        ({"check": {"every": 3}}, "endpoints[0].check"),
    ],
)
def test_a_check_that_cannot_be_asked_stops_the_start(endpoint: dict[str, Any], path: str) -> None:
    plain = {"name": "e", "provider": "openai_compatible", "model": "m", "base_url": "http://127.0.0.1:1/v1"}

    with pytest.raises(ConfigError) as caught:
        build({"endpoints": [plain | endpoint], "models": {"m": "e"}})
    assert caught.value.path.startswith(path)
