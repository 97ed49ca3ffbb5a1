"""Realtime sessions: what they hold, what they cost, how long they may last, and that all of it is settled once, however they end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, until
from tests.integration.issuer import Issuer
from tests.integration.realtime import FLOOD, Provider, endpoint
from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

KEY = "sk-team-0123456789"
CREATE = '{"type":"response.create"}'
COST_PICO = 1_000_000 * (200 * 4 + 500 * 32 + 100 * 16 + 400 * 64) + 300 * 400_000
"""Text, sound, and what was cached of both, by the prices of `endpoint`."""


def config(provider: Provider, folder: Path | None = None, **fields: Any) -> dict[str, Any]:
    limits = fields.pop("key", None)
    server = {"ledger": str(folder / "ledger")} if folder is not None else {}
    found: dict[str, Any] = {
        "endpoints": [endpoint(provider.base_url, fields.pop("endpoint", {}))],
        "models": {"m": {"endpoints": ["e"], **fields.pop("model", {})}},
        "server": server | fields,
    }
    if limits is not None:
        found["keys"] = [{"name": "team", "key": f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}", "limits": limits}]
    return found


def booked(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "ledger.0").read_text().splitlines()]


@asynccontextmanager
async def talking(port: int, **headers: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    fields = {"authorization": f"Bearer {KEY}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with (
        aiohttp.ClientSession(headers=fields) as session,
        session.ws_connect(f"http://127.0.0.1:{port}/v1/realtime?model=m", max_msg_size=0) as socket,
    ):
        yield socket


async def respond(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Have one response made, and wait for its end."""
    await socket.send_str(CREATE)
    for kind in ("response.created", "response.done"):
        assert json.loads((await socket.receive(10)).data)["type"] == kind


def abort(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Drop the connection, as a client does that is killed."""
    connection = socket._response.connection
    assert connection is not None
    assert connection.transport is not None
    connection.transport.abort()


async def ended(hosted: Hosted) -> Failure:
    await until(lambda: hosted.reports)
    [(_, outcome, _)] = hosted.reports
    return outcome


async def test_a_session_is_one_entry_of_the_ledger_that_its_key_pays(tmp_path: Path) -> None:
    async with Provider() as provider, Hosted(config(provider, tmp_path, key={})) as hosted:
        async with talking(hosted.port) as socket:
            await respond(socket)
            await respond(socket)
        await ended(hosted)
        snapshot = hosted.snapshot()
    [entry] = booked(tmp_path)

    assert (entry["outcome"], entry["failure"], entry["endpoint"], entry["key"]) == ("delivered", "none", "e", "team")
    assert (entry["tokens_in"], entry["tokens_out"], entry["tokens_cached"]) == (2_000, 1_000, 600)
    assert (entry["audio_in"], entry["audio_out"], entry["cost_pico"]) == (1_000, 800, 2 * COST_PICO)
    assert snapshot.endpoints["e"].tokens == snapshot.keys["team"].tokens == [2_000, 1_000, 600]
    assert (snapshot.keys["team"].requests, snapshot.keys["team"].cost) == (1, 2 * COST_PICO)


async def test_tokens_are_charged_as_responses_end_and_not_when_the_session_does() -> None:
    async with Provider() as provider, Hosted(config(provider, key={}, endpoint={"limits": {"tokens_per_min": 600_000}})) as hosted:
        async with talking(hosted.port) as socket:
            before = hosted.snapshot().gauges["e"].remaining[0][1]
            await respond(socket)
            left = hosted.snapshot().gauges["e"].remaining[0][1]
            assert hosted.snapshot().keys["team"].tokens == [1_000, 500, 300]
            # The bucket fills by ten tokens a millisecond.
            assert before - 1_500 <= left < before
            assert hosted.snapshot().endpoints["e"].in_flight == 1
            # How long people talk is no time to first token.
            assert hosted.snapshot().pairs["m", "e"].first_token.counts[-1] == 0
        await ended(hosted)


async def test_a_client_whose_tokens_are_spent_is_not_read_until_it_has_some_again() -> None:
    # 1,500 tokens of 1,000 at once: half a second.
    async with Provider() as provider, Hosted(config(provider, key={"tokens_per_min": 60_000})) as hosted:
        async with talking(hosted.port) as socket:
            await respond(socket)
            spent_s = monotonic()
            await respond(socket)
            waited_s = monotonic() - spent_s
        assert await ended(hosted) is Failure.NONE

    assert 0.4 < waited_s < 20


async def test_a_session_whose_limit_is_spent_for_long_is_ended_and_told_why(tmp_path: Path) -> None:
    async with Provider() as provider, Hosted(config(provider, tmp_path, key={"tokens_per_min": 60})) as hosted:
        async with talking(hosted.port) as socket:
            await respond(socket)
            told = json.loads((await socket.receive(10)).data)["error"]
            assert (await socket.receive(10)).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1013
        assert await ended(hosted) is Failure.RATE_LIMITED
        await until(lambda: provider.closed)
        attempts = hosted.attempts("e")

    assert (told["type"], told["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "key 'team' is at its limit: tokens_per_min" in told["message"]
    # It is not the endpoint's fault, and what was delivered is paid.
    assert attempts == {Failure.NONE: 1}
    assert [(entry["outcome"], entry["tokens_in"]) for entry in booked(tmp_path)] == [("delivered", 1_000)]


async def test_users_of_a_key_have_places_of_their_own() -> None:
    async with Provider() as provider, Hosted(config(provider, key={"per_user": {"concurrency": 1}})) as hosted:
        async with talking(hosted.port, x_dispatch_user="ann"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with talking(hosted.port, x_dispatch_user="ann"):
                    pass
            async with talking(hosted.port, x_dispatch_user="ben") as socket:
                await respond(socket)
        await until(lambda: len(hosted.reports) == 3)

    assert refused.value.status == 429


async def test_a_provider_that_drops_a_session_is_told_and_counted(tmp_path: Path) -> None:
    async with Provider() as provider, Hosted(config(provider, tmp_path)) as hosted:
        async with talking(hosted.port) as socket:
            await respond(socket)
            provider.drops = True
            await socket.send_str(CREATE)
            await socket.receive(10)
            assert (await socket.receive(10)).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1011
        assert await ended(hosted) is Failure.BROKEN
        assert hosted.attempts("e") == {Failure.BROKEN: 1}

    # The response that was delivered is paid.
    assert [(entry["outcome"], entry["tokens_out"]) for entry in booked(tmp_path)] == [("delivered", 500)]


@pytest.mark.parametrize("responses", [0, 1])
async def test_a_client_that_is_killed_ends_the_session_at_once(responses: int, tmp_path: Path) -> None:
    async with Provider() as provider, Hosted(config(provider, tmp_path)) as hosted:
        async with talking(hosted.port) as socket:
            for _ in range(responses):
                await respond(socket)
            provider.gate.clear()
            await socket.send_str(CREATE)
            await socket.receive(10)
            abort(socket)
            assert await ended(hosted) is Failure.CANCELLED
            provider.gate.set()
        await until(lambda: provider.closed)
        assert hosted.attempts("e") == {Failure.CANCELLED: 1}

    # Whether the response that was under way is billed, nobody has said.
    assert [entry["outcome"] for entry in booked(tmp_path)] == [("unknown", "delivered")[responses]]


@pytest.mark.parametrize("status", [401, 500])
async def test_handshakes_that_are_refused_are_booked_as_wasted(status: int, tmp_path: Path) -> None:
    async with Provider() as provider, Hosted(config(provider, tmp_path, model={"retry": {"attempts": 1}})) as hosted:
        provider.status = status
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with talking(hosted.port):
                pass

    assert [(entry["outcome"], entry.get("sent", True)) for entry in booked(tmp_path)] == [("wasted", True)]


async def test_a_worker_that_stops_lets_the_response_end_first() -> None:
    async with Provider() as provider, Hosted(config(provider)) as hosted:
        async with talking(hosted.port) as socket:
            provider.gate.clear()
            await socket.send_str(CREATE)
            await socket.receive(10)
            hosted.dispatcher.draining = True
            hosted.front.end_after_answers()
            assert hosted.front.sessions
            provider.gate.set()
            assert json.loads((await socket.receive(10)).data)["type"] == "response.done"
            assert (await socket.receive(10)).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1001
        assert await ended(hosted) is Failure.NONE


async def test_a_worker_whose_time_to_stop_is_over_settles_what_is_open(tmp_path: Path) -> None:
    async with Provider() as provider, Hosted(config(provider, tmp_path)) as hosted, talking(hosted.port) as socket:
        provider.gate.clear()
        await socket.send_str(CREATE)
        await socket.receive(10)
        hosted.dispatcher.close()
        assert await ended(hosted) is Failure.CANCELLED
        assert hosted.snapshot().endpoints["e"].in_flight == 0
        provider.gate.set()
    assert [entry["outcome"] for entry in booked(tmp_path)] == ["unknown"]


@pytest.mark.parametrize("lost", ["key", "right", "model", "endpoint"])
async def test_a_reload_ends_sessions_of_what_it_takes_away_and_no_others(lost: str) -> None:
    async with Provider() as provider, Hosted(config(provider, key={})) as hosted:
        async with talking(hosted.port) as socket:
            await respond(socket)
            hosted.reload(config(provider, key={"concurrency": 9}))
            await respond(socket)
            other = config(provider, key={})
            if lost == "key":
                other["keys"][0]["name"] = "another"
            elif lost == "model":
                other["models"] = {"x": "e"}
            elif lost == "endpoint":
                other["endpoints"][0]["name"] = "f"
                other["models"]["m"]["endpoints"] = ["f"]
            else:
                other["models"]["x"] = "e"
                other["keys"][0]["models"] = ["x"]
            hosted.reload(other)
            assert (await socket.receive(10)).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1001
        assert await ended(hosted) is Failure.NONE
        # For the count at the end: what the session was counted at was kept for it.
        hosted.reload(config(provider, key={}))
        assert hosted.snapshot().endpoints["e"].in_flight == 0


async def test_a_reload_that_takes_the_model_away_lets_the_response_end_first() -> None:
    async with Provider() as provider, Hosted(config(provider)) as hosted:
        async with talking(hosted.port) as socket:
            provider.gate.clear()
            await socket.send_str(CREATE)
            await socket.receive(10)
            hosted.reload(config(provider) | {"models": {"x": "e"}})
            assert hosted.front.sessions
            provider.gate.set()
            assert json.loads((await socket.receive(10)).data)["type"] == "response.done"
            assert (await socket.receive(10)).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1001
        assert await ended(hosted) is Failure.NONE
        hosted.reload(config(provider))


@pytest.mark.parametrize(("setting", "says"), [("session_s", "has lasted 0.2 s"), ("session_idle_s", "nobody has said anything for 0.2 s")])
async def test_a_session_has_its_time(setting: str, says: str) -> None:
    settings: dict[str, Any] = {setting: 0.2}
    async with Provider() as provider, Hosted(config(provider, **settings)) as hosted:
        async with talking(hosted.port) as socket:
            told = json.loads((await socket.receive(10)).data)["error"]
            assert (await socket.receive(10)).type is aiohttp.WSMsgType.CLOSE
            assert (told["code"], socket.close_code) == ("session_expired", 1001)
            assert says in told["message"]
        assert await ended(hosted) is Failure.NONE


async def test_a_client_that_takes_nothing_is_dropped() -> None:
    async with Provider() as provider, Hosted(config(provider, write_timeout_s=0.3)) as hosted, talking(hosted.port) as socket:
        connection: Any = socket._response.connection
        connection.transport.pause_reading()
        # Only the provider talks, so that only the client can be who is waited for.
        await socket.send_str(FLOOD)
        assert await ended(hosted) is Failure.CANCELLED
        abort(socket)
        await until(lambda: provider.closed)


async def test_the_handshake_carries_a_credential_that_is_had_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "a-secret")
    async with Issuer({"POST /t/oauth2/v2.0/token": {"access_token": "ey.x", "expires_in": 3600}}) as issuer, Provider() as provider:
        options = {"auth": "entra", "tenant": "t", "client_id": "c", "client_secret": "env:A_SECRET", "authority": issuer.url}
        one = {"provider": "azure", "base_url": provider.base_url.replace("/v1", "/openai/v1"), "api_key": "", "options": options}
        async with Hosted(config(provider, endpoint=one)) as hosted:
            async with talking(hosted.port) as socket:
                await respond(socket)
            await ended(hosted)

    assert provider.requests[0].headers["authorization"] == "Bearer ey.x"


async def test_a_handshake_without_its_credential_fails_as_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_SECRET", "a-secret")
    async with Issuer({"POST /": (400, {"error": "invalid_client"})}) as issuer, Provider() as provider:
        options = {"auth": "entra", "tenant": "t", "client_id": "c", "client_secret": "env:A_SECRET", "authority": issuer.url}
        one = {"provider": "azure", "base_url": provider.base_url.replace("/v1", "/openai/v1"), "api_key": "", "options": options}
        async with Hosted(config(provider, tmp_path, endpoint=one, model={"retry": {"attempts": 1}})) as hosted:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with talking(hosted.port):
                    pass
            assert hosted.attempts("e") == {Failure.CREDENTIAL: 1}

    assert (refused.value.status, provider.requests) == (502, [])
    assert [(entry["outcome"], entry["sent"]) for entry in booked(tmp_path)] == [("wasted", False)]


async def test_a_worker_that_is_killed_leaves_no_place_taken(tmp_path: Path) -> None:
    async with Provider() as provider:
        found = config(provider, tmp_path, endpoint={"limits": {"concurrency": 1}})
        async with Sidecar(tmp_path, found, "--workers", "1", environ={"UP_KEY": "sk-x"}) as sidecar:
            [pid] = await sidecar.workers(1)
            async with talking(sidecar.port) as socket:
                await respond(socket)
                os.kill(pid, signal.SIGKILL)
                assert (await socket.receive(10)).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
            await until(lambda: provider.closed)
            await until(lambda: sidecar.worker_pids() != [pid])
            async with talking(sidecar.port) as socket:
                await respond(socket)
            metrics = await sidecar.metrics()

    # The next worker has booked what this one could not; what was charged before the kill is charged still.
    assert [(entry["outcome"], entry["killed"]) for entry in booked(tmp_path)[:1]] == [("unknown", True)]
    assert metrics["dispatch_tokens_total", frozenset({("endpoint", "e"), ("kind", "output")})] == 1_000
