"""Who may ask: keys, and without keys only this machine under its own names, never a web page."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from dispatch.testing import MockProvider

from tests.integration.hosted import ENVIRON, Hosted, pool
from tests.integration.peer import Reply, body_of, chat, post
from tests.integration.upstream import Upstream, answer, once

pytestmark = pytest.mark.anyio

ALICE, BOB, ROOT = "sk-alice-0123456789", "sk-bob-0123456789", "sk-root-0123456789"
KEYS: list[dict[str, Any]] = [
    {"name": "alice", "key": "env:ALICE"},
    {"name": "bob", "key": "sha256:" + hashlib.sha256(BOB.encode()).hexdigest(), "models": ["other"]},
    {"name": "root", "key": "env:ROOT", "admin": True},
]
KEY_ENVIRON = {"ALICE": ALICE, "ROOT": ROOT}
MODELS = b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n"
PAGE = "http://page.example"


def echo(keys: list[Any] | None = None, **server: Any) -> dict[str, Any]:
    return {
        "server": server,
        "keys": keys or [],
        "endpoints": [{"name": "echo", "provider": "echo"}],
        "models": {"m": "echo", "other": "echo"},
    }


async def ask(hosted: Hosted, *lines: str, model: str = "m", path: str = "/v1/chat/completions", host: str = "127.0.0.1") -> Reply:
    peer = await hosted.peer()
    return await peer.ask(post(body_of(model), *lines, path=path).replace(b"host: 127.0.0.1", f"host: {host}".encode()))


@pytest.mark.parametrize(
    "line",
    [f"authorization: Bearer {ALICE}", f"x-api-key: {ALICE}", f"api-key: {ALICE}", f"x-goog-api-key: {ALICE}", f"x-dispatch-key: {ALICE}"],
)
async def test_a_key_is_taken_from_each_of_its_places(line: str) -> None:
    async with Hosted(echo(KEYS), KEY_ENVIRON) as hosted:
        assert (await ask(hosted, line)).status == 200
        assert (await ask(hosted, path=f"/v1/chat/completions?key={ALICE}")).status == 200


@pytest.mark.parametrize(
    "line",
    [
        "x-none: 1",
        "authorization: Bearer sk-nobody",
        "authorization: Basic YTpi",
        f"authorization: {ALICE}x",
        "authorization: Bearer",
        "x-api-key:",
    ],
)
async def test_a_request_without_a_known_key_is_401_and_costs_nothing(line: str) -> None:
    async with MockProvider() as mock, Hosted(pool(mock.base_url, keys=KEYS[:1]), KEY_ENVIRON) as hosted:
        reply = await ask(hosted, line)

        assert reply.code == (401, "invalid_api_key")
        assert b"sk-" not in reply.body
        assert len(mock.journal) == 0
        assert hosted.snapshot().keys["alice"].requests == 0


async def test_a_body_is_not_awaited_without_a_known_key() -> None:
    async with Hosted(echo(KEYS), KEY_ENVIRON) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(post(b"", length=1000))

        assert reply.code == (401, "invalid_api_key")
        assert await peer.to_end() == b""


async def test_a_key_is_held_to_its_models() -> None:
    async with Hosted(echo(KEYS), KEY_ENVIRON) as hosted:
        bearer = f"authorization: Bearer {BOB}"

        assert (await ask(hosted, bearer, model="other")).status == 200
        assert (await ask(hosted, bearer)).code == (403, "model_not_allowed")
        peer = await hosted.peer()
        listed = json.loads((await peer.ask(MODELS + bearer.encode() + b"\r\n\r\n")).body)
        assert [model["id"] for model in listed["data"]] == ["other"]


async def test_a_repeated_model_cannot_slip_past_a_keys_models() -> None:
    async with Hosted(echo(KEYS), KEY_ENVIRON) as hosted:
        peer = await hosted.peer()
        body = rb'{"model":"other","mod\u0065l":"m","messages":[]}'

        assert (await peer.ask(post(body, f"authorization: Bearer {BOB}"))).code == (400, "duplicate_parameter")


async def test_the_limits_of_a_key_refuse_before_anything_is_sent() -> None:
    keys = [KEYS[0] | {"limits": {"concurrency": 1}}]
    async with MockProvider(faults={"hang_before_head": 1}) as mock, Hosted(pool(mock.base_url, keys=keys), KEY_ENVIRON) as hosted:
        first = await hosted.peer()
        await first.send(chat("m", "hi", f"authorization: Bearer {ALICE}"))
        await mock.until(lambda journal: len(journal) == 1)
        reply = await ask(hosted, f"authorization: Bearer {ALICE}")

        assert reply.status in {429, 503}
        assert reply.error["code"] in {"rate_limit_exceeded", "no_endpoint_available"}
        assert len(mock.journal) == 1


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "169.254.169.254", "", "localhost.", "::1"]
)
async def test_without_keys_a_foreign_host_is_refused(host: str) -> None:
    async with Hosted(echo()) as hosted:
        assert (await ask(hosted, host=host)).code == (403, "host_not_allowed")
        peer = await hosted.peer()
        for path in ("/v1/models", "/metrics"):
            reply = await peer.ask(f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            assert reply.code == (403, "host_not_allowed")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost", "LocalHost:1", "[::1]", "[::1]:8080", "box.lan", "box.lan:80"]
)
async def test_without_keys_loopback_and_listed_hosts_are_served(host: str) -> None:
    async with Hosted(echo(hosts=["Box.lan"])) as hosted:
        assert (await ask(hosted, host=host)).status == 200


async def test_with_keys_any_host_is_served() -> None:
    async with Hosted(echo(KEYS), KEY_ENVIRON) as hosted:
        assert (await ask(hosted, f"x-api-key: {ALICE}", host="dispatch.example")).status == 200


@pytest.mark.parametrize("origin", [PAGE, "null", "http://localhost:3000", "http://127.0.0.1"])
async def test_without_keys_a_web_page_may_not_spend_money(origin: str) -> None:
    async with Hosted(echo()) as hosted:
        reply = await ask(hosted, f"origin: {origin}")
        peer = await hosted.peer()
        preflight = await peer.ask(f"OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\norigin: {origin}\r\n\r\n".encode())

        assert reply.code == (403, "origin_not_allowed")
        assert preflight.status == 403
        assert "access-control-allow-origin" not in reply.headers | preflight.headers


async def test_a_listed_page_may_ask_and_may_read_answers_streams_and_errors() -> None:
    async with Hosted(echo(cors_origins=[PAGE])) as hosted:
        peer = await hosted.peer()
        origin = f"origin: {PAGE}"
        wanted = ("access-control-request-method: POST", "access-control-request-headers: content-type, x-stainless-os")
        options = ["OPTIONS /v1/chat/completions HTTP/1.1", "host: 127.0.0.1", origin, *wanted, "", ""]
        requests = [
            "\r\n".join(options).encode(),
            chat("m", "hi", origin),
            chat("m", "hi", origin, stream=True),
            chat("none", "hi", origin),
            MODELS + origin.encode() + b"\r\n\r\n",
        ]
        replies = [await peer.ask(request) for request in requests]
        preflight = replies[0]
        plain = await peer.ask(chat())

    assert [reply.status for reply in replies] == [204, 200, 200, 404, 200]
    assert {reply.headers.get("access-control-allow-origin") for reply in replies} == {PAGE}
    assert {reply.headers.get("vary") for reply in replies} == {"origin"}
    assert preflight.headers["access-control-allow-headers"] == "content-type, x-stainless-os"
    assert "access-control-allow-origin" not in plain.headers


async def test_with_keys_a_foreign_origin_is_served_but_its_page_may_not_read() -> None:
    """The key is what protects then; desktop programs send origins of their own."""
    async with Hosted(echo(KEYS), KEY_ENVIRON) as hosted:
        reply = await ask(hosted, f"x-api-key: {ALICE}", "origin: app://notes")

        assert reply.status == 200
        assert "access-control-allow-origin" not in reply.headers


async def test_from_another_machine_metrics_need_an_admin_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from dispatch.server import admin

    monkeypatch.setattr(admin, "is_loopback", lambda client: False)
    async with Hosted(echo(KEYS), KEY_ENVIRON) as hosted:
        peer = await hosted.peer()
        request = "GET /metrics HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n"

        assert (await peer.ask(request.format("none").encode())).code == (401, "invalid_api_key")
        assert (await peer.ask(request.format(ALICE).encode())).code == (403, "admin_required")
        assert (await peer.ask(request.format(ROOT).encode())).status == 200
        assert (await peer.ask(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")).status == 200
        monkeypatch.undo()


@pytest.mark.parametrize("value", ["0", "-5", "1.5", "soon", "", "9" * 30])
async def test_a_deadline_that_is_no_number_is_refused(value: str) -> None:
    async with Hosted(echo()) as hosted:
        reply = await ask(hosted, f"x-dispatch-deadline-ms: {value}")

        assert reply.status == 400
        assert reply.error["param"] == "x-dispatch-deadline-ms"


async def test_the_clients_own_credentials_and_cookies_stay_here() -> None:
    secrets = [f"authorization: Bearer {ALICE}", "x-api-key: sk-mine-123456", "api-key: sk-mine-123456", "x-goog-api-key: sk-mine-123456"]
    lines = [
        *secrets,
        f"x-dispatch-key: {ALICE}",
        "cookie: session=1",
        "x-forwarded-for: 10.0.0.1",
        "x-dispatch-session: s",
        "openai-organization: org-1",
    ]
    async with Upstream(once(answer())) as upstream, Hosted(pool(upstream.base_url, keys=KEYS[:1]), KEY_ENVIRON) as hosted:
        reply = await ask(hosted, *lines, "openai-beta: x=1", path="/v1/chat/completions?key=sk-mine-123456")

        assert reply.status == 200
        request = upstream.requests[0].lower()
        assert b"alice" not in request
        assert b"sk-mine" not in request
        assert all(name not in request for name in (b"cookie", b"forwarded", b"x-dispatch", b"organization"))
        assert b"openai-beta: x=1" in request
        assert f"authorization: bearer {ENVIRON['UP_KEY']}".encode() in request


async def test_the_clients_own_key_goes_where_an_endpoint_says_so_and_its_refusal_comes_back() -> None:
    refusal = {
        "error": {"message": "Incorrect API key provided", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
    }
    async with Upstream(once(answer(refusal, 401))) as upstream:
        config = pool(upstream.base_url)
        config["endpoints"][0]["api_key"] = "from_client"
        async with Hosted(config) as hosted:
            reply = await ask(hosted, "authorization: Bearer sk-their-own-0123456789")

            assert b"authorization: bearer sk-their-own-0123456789" in upstream.requests[0].lower()
            assert reply.code == (401, "invalid_api_key")
            assert (await ask(hosted)).code == (401, "invalid_api_key")
            assert len(upstream.requests) == 1


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_refusal_of_our_own_credential_is_502_with_endpoint_and_code(status: int) -> None:
    refusal = {
        "error": {"message": f"Incorrect API key provided: {ENVIRON['UP_KEY']}", "type": "invalid_request_error", "code": "invalid_api_key"}
    }
    async with Upstream(once(answer(refusal, status))) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        reply = await ask(hosted)

        assert reply.code == (502, "upstream_error")
        assert reply.headers["x-dispatch-endpoint"] == "a"
        assert b"sk-upstream" not in reply.body
        assert "[masked]" in reply.error["message"]
