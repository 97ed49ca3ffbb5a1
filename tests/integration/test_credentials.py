"""Requests with credentials that are renewed or signed with: who waits, who fails, and what nobody sees."""

from __future__ import annotations

import json
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from dispatch.errors import Failure
from dispatch.transport.credentials.sigv4 import AwsKeys, sign

from tests.integration.hosted import Hosted, until
from tests.integration.issuer import Issuer
from tests.integration.peer import chat
from tests.integration.upstream import GOOD, Upstream, answer, once

if TYPE_CHECKING:
    from pathlib import Path

    from dispatch.transport.credentials.keeper import Keeper

pytestmark = pytest.mark.anyio

TOKEN = "ya29.a-token-that-nobody-may-see-0123456789"
SECRET = "wJalrXUtnFEMI-a-key-that-nobody-may-see"
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
}
GENERATED = {
    "candidates": [{"content": {"parts": [{"text": "hello"}], "role": "model"}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
}


@pytest.fixture(scope="module")
def pem() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def account(folder: Path, issuer: Issuer, pem: str) -> str:
    path = folder / "account.json"
    fields = {"type": "service_account", "client_email": "s@p", "private_key": pem, "token_uri": f"{issuer.url}/token"}
    path.write_text(json.dumps(fields))
    return str(path)


def vertex(upstream: Upstream, file: str, *others: dict[str, Any], **model: Any) -> dict[str, Any]:
    """One endpoint of Vertex named `v`, and others, as model `m`."""
    root = upstream.base_url.removesuffix("/v1")
    one = {"name": "v", "provider": "vertex", "model": "gemini-x", "base_url": root, "options": {"project": "p", "credentials": file}}
    names = ["v", *(other["name"] for other in others)]
    plan = {"endpoints": names, "strategy": "round_robin", "retry": {"base_s": 0.001}, **model}
    return {"endpoints": [one, *others], "models": {"m": plan}}


def issued(seconds: int = 3600, token: str = TOKEN) -> dict[str, Any]:
    return {"access_token": token, "expires_in": seconds}


def keeper(hosted: Hosted) -> Keeper:
    assert hosted.dispatcher.generation is not None
    [one] = hosted.dispatcher.generation.keepers.values()
    return one


async def test_the_first_request_waits_for_the_token_and_the_next_ones_do_not(tmp_path: Path, pem: str) -> None:
    async with Issuer({"POST /token": issued()}) as issuer, Upstream(once(answer(GENERATED))) as upstream:
        issuer.gate.clear()
        async with Hosted(vertex(upstream, account(tmp_path, issuer, pem))) as hosted:
            first = await hosted.peer()
            await first.send(chat())
            await until(lambda: issuer.asked)
            assert not upstream.requests
            issuer.gate.set()
            assert (await first.reply()).status == 200
            issuer.gate.clear()
            assert (await first.ask(chat())).status == 200

            assert len(issuer.asked) == 1
            shown = f"{hosted.dispatcher.generation.origins} {keeper(hosted)!r} {await hosted.metrics()} {hosted.reports}"  # type: ignore[union-attr]
            assert TOKEN not in shown
            for request in upstream.requests:
                assert request.startswith(
                    b"POST /v1/projects/p/locations/global/publishers/google/models/gemini-x:generateContent HTTP/1.1\r\n"
                )
                assert f"authorization: Bearer {TOKEN}\r\n".encode() in request
            issuer.gate.set()


async def test_a_client_that_leaves_while_the_token_is_awaited_is_forgotten(tmp_path: Path, pem: str) -> None:
    async with Issuer({"POST /token": issued()}) as issuer, Upstream(once(answer(GENERATED))) as upstream:
        issuer.gate.clear()
        async with Hosted(vertex(upstream, account(tmp_path, issuer, pem))) as hosted:
            left = await hosted.peer()
            await left.send(chat())
            await until(lambda: issuer.asked)
            left.sock.close()
            await until(lambda: hosted.reports)
            issuer.gate.set()
            await until(lambda: keeper(hosted).value is not None)
            assert (await (await hosted.peer()).ask(chat())).status == 200

            assert len(upstream.requests) == 1
            assert hosted.outcomes() == {Failure.CANCELLED: 1, Failure.NONE: 1}


async def test_without_a_token_another_endpoint_is_asked_and_the_failure_is_of_our_credential(tmp_path: Path, pem: str) -> None:
    denied = (400, {"error": "invalid_grant", "error_description": "the account is gone"})
    async with Issuer({"POST /token": denied}) as issuer, Upstream(GOOD) as upstream:
        other = {"name": "a", "provider": "openai_compatible", "model": "x", "base_url": upstream.base_url}
        async with Hosted(vertex(upstream, account(tmp_path, issuer, pem), other)) as hosted:
            peer = await hosted.peer()
            replies = [await peer.ask(chat()) for _ in range(4)]

            assert [reply.status for reply in replies] == [200] * 4
            assert set(hosted.attempts("v")) == {Failure.CREDENTIAL}
            assert hosted.attempts("a") == {Failure.NONE: 4}
            assert len(issuer.asked) == 1


async def test_where_nobody_has_a_token_the_client_hears_why_and_no_secret(tmp_path: Path, pem: str) -> None:
    denied = (400, {"error": "invalid_grant", "error_description": "the account is gone"})
    async with Issuer({"POST /token": denied}) as issuer, Upstream(GOOD) as upstream:
        file = account(tmp_path, issuer, pem)
        async with Hosted(vertex(upstream, file)) as hosted:
            peer = await hosted.peer()
            replies = [await peer.ask(chat()) for _ in range(2)]

            for reply in replies:
                error = json.loads(reply.body)["error"]
                assert (reply.status, error["code"], reply.headers["x-should-retry"]) == (502, "upstream_error", "false")
                assert error["message"] == (
                    f"v: no credential of Google ({file}): 127.0.0.1: status 400, invalid_grant: the account is gone"
                )
            assert not upstream.requests
            shown = f"{hosted.dispatcher.generation.origins} {hosted.reports} {[error for _, _, error in hosted.reports]}"  # type: ignore[union-attr]
            assert "PRIVATE" not in shown + str(await hosted.metrics())


async def test_a_token_is_renewed_while_requests_go_on_with_the_old_one(tmp_path: Path, pem: str) -> None:
    tokens = iter([issued(10, "too-old"), issued(token="first"), issued(token="second")])
    async with Issuer({"POST /token": lambda _: next(tokens)}) as issuer, Upstream(once(answer(GENERATED))) as upstream:
        async with Hosted(vertex(upstream, account(tmp_path, issuer, pem))) as hosted:
            peer = await hosted.peer()
            # What ends at once is no credential.
            assert b"ended already" in (await peer.ask(chat())).body
            await until(lambda: keeper(hosted).value is not None)
            assert (await peer.ask(chat())).status == 200
            issuer.gate.clear()
            keeper(hosted)._due_s = 0.0
            await until(lambda: len(issuer.asked) == 3)
            assert (await peer.ask(chat())).status == 200
            issuer.gate.set()
            await until(lambda: b"second" in keeper(hosted).value)
            assert (await peer.ask(chat())).status == 200

        assert [request.partition(b"Bearer ")[2].partition(b"\r\n")[0] for request in upstream.requests] == [b"first", b"first", b"second"]


async def test_a_reload_keeps_the_token(tmp_path: Path, pem: str) -> None:
    async with Issuer({"POST /token": issued()}) as issuer, Upstream(once(answer(GENERATED))) as upstream:
        config = vertex(upstream, account(tmp_path, issuer, pem))
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            assert (await peer.ask(chat())).status == 200
            before = keeper(hosted)
            hosted.reload(config)
            assert keeper(hosted) is before
            hosted.reload({**config, "defaults": {"connect_s": 4}})
            assert keeper(hosted) is before
            assert (await peer.ask(chat())).status == 200
            by_key = {**config["endpoints"][0], "api_key": "env:UP_KEY", "options": {"project": "p"}}
            hosted.reload({**config, "endpoints": [by_key]})
            assert before.users == 0

        assert len(issuer.asked) == 1


def bedrock(upstream: Upstream, **endpoint: Any) -> dict[str, Any]:
    root = upstream.base_url.removesuffix("/v1")
    keys = {"region": "eu-west-1", "access_key_id": "env:A_KEY", "secret_access_key": "env:A_SECRET"}
    one = {"name": "b", "provider": "bedrock", "model": "amazon.nova-micro-v1:0", "base_url": root, "options": keys, **endpoint}
    return {"endpoints": [one], "models": {"m": {"endpoints": ["b"], "retry": {"attempts": 1}}}}


async def test_a_request_to_bedrock_carries_a_signature_of_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "AKIDEXAMPLE")
    monkeypatch.setenv("A_SECRET", SECRET)
    async with Upstream(once(answer(CONVERSED))) as upstream, Hosted(bedrock(upstream)) as hosted:
        began_s = int(time())
        reply = await (await hosted.peer()).ask(chat())
        [request] = upstream.requests
        shown = f"{hosted.dispatcher.generation.origins} {keeper(hosted)!r}"  # type: ignore[union-attr]

    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "hello"
    assert request.startswith(b"POST /model/amazon.nova-micro-v1%3A0/converse HTTP/1.1\r\n")
    head, _, body = request.partition(b"\r\n\r\n")
    unsigned, _, more = head.partition(b"\r\nx-amz-date: ")
    plain = unsigned + b"\r\n\r\n" + body
    keys = AwsKeys("AKIDEXAMPLE", SECRET)
    # Whoever checks it signs anew with the date that it says.
    assert request in {sign(plain, keys, "eu-west-1", "bedrock", second) for second in range(began_s, int(time()) + 1)}
    assert more.count(b"authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") == 1
    assert SECRET not in shown
    assert SECRET.encode() not in request


async def test_a_bearer_token_needs_no_signature() -> None:
    async with Upstream(once(answer(CONVERSED))) as upstream:
        config = bedrock(upstream, api_key="env:UP_KEY", options={"region": "eu-west-1"})
        async with Hosted(config) as hosted:
            assert (await (await hosted.peer()).ask(chat())).status == 200
            assert hosted.dispatcher.generation is not None
            assert not hosted.dispatcher.generation.keepers

    assert b"authorization: Bearer sk-upstream-secret-0123456789\r\n" in upstream.requests[0]
    assert b"x-amz-date" not in upstream.requests[0]


async def test_a_refusal_of_the_keys_is_ours_to_mend_and_has_them_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "AKIDEXAMPLE")
    monkeypatch.setenv("A_SECRET", SECRET)
    refused = answer({"message": "The security token included in the request is expired"}, 403)
    async with Upstream(once(refused)) as upstream, Hosted(bedrock(upstream)) as hosted:
        peer = await hosted.peer()
        assert (await peer.ask(chat())).status == 502
        assert hosted.attempts("b") == {Failure.CREDENTIAL: 1}
        one = keeper(hosted)
        one._asked_s -= 60
        monkeypatch.setenv("A_SECRET", "another")
        assert (await peer.ask(chat())).status == 502
        await until(lambda: one.value.secret == "another")


def has_asked(issuer: Issuer, hosted: Hosted, times: int) -> bool:
    return len(issuer.asked) == times and keeper(hosted)._task is None


async def test_renewals_that_fail_are_told_once_and_counted_and_so_is_the_mending(tmp_path: Path, pem: str) -> None:
    denied = (400, {"error": "invalid_grant", "error_description": f"the token {TOKEN} is gone"})
    answers = iter([denied, denied, issued()])
    said: list[tuple[str, str, dict[str, object]]] = []
    async with Issuer({"POST /token": lambda _: next(answers)}) as issuer, Upstream(once(answer(GENERATED))) as upstream:
        file = account(tmp_path, issuer, pem)
        other = {**vertex(upstream, file)["endpoints"][0], "name": "w"}
        config = vertex(upstream, file, other, retry={"attempts": 1})
        hosted = Hosted(config)
        hosted.dispatcher.say = lambda name, text="", **fields: said.append((name, text, fields))
        async with hosted:
            peer = await hosted.peer()
            assert (await peer.ask(chat())).status == 502
            for asked in (2, 3):
                keeper(hosted)._due_s = 0.0
                await until(partial(has_asked, issuer, hosted, asked))
            assert (await peer.ask(chat())).status == 200
            metrics = await hosted.metrics()

    assert [name for name, _, _ in said] == ["credential_failed", "credential_renewed"]
    assert said[0][1].startswith(f"no new credential of Google ({file}) for v, w: 127.0.0.1: status 400, invalid_grant: the token ")
    assert TOKEN not in str(said)
    assert "PRIVATE" not in str(said)
    counted = {tuple(sorted(dict(labels).values())): count for (name, labels), count in metrics.items() if "renewals" in name}
    assert counted == {("issued", "v"): 1, ("failed", "v"): 2, ("issued", "w"): 1, ("failed", "w"): 2}


async def nothing() -> None:
    return


async def test_azure_with_tokens_of_entra_is_passed_through_on_the_express_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", SECRET)
    async with Issuer({"POST /t/oauth2/v2.0/token": issued()}) as issuer, Upstream(GOOD) as upstream:
        options = {"auth": "entra", "tenant": "t", "client_id": "c", "client_secret": "env:A_SECRET", "authority": issuer.url}
        one = {"name": "z", "provider": "azure", "model": "gpt", "base_url": upstream.base_url, "options": options}
        async with Hosted({"endpoints": [one], "models": {"m": "z"}}) as hosted:
            hosted.dispatcher.report = None
            peer = await hosted.peer()
            replies = [await peer.ask(chat()) for _ in range(2)]
            assert hosted.outcomes() == {Failure.NONE: 2}
            assert not hosted.dispatcher.under_way
            # On the lane nobody reports, so that reports and counts differ.
            hosted.check_rest = nothing  # type: ignore[method-assign]  # the same was checked above

    assert [reply.status for reply in replies] == [200, 200]
    assert all(f"authorization: Bearer {TOKEN}\r\n".encode() in request for request in upstream.requests)
    assert issuer.asked[0].form["client_secret"] == SECRET
    assert len(issuer.asked) == 1


async def test_a_token_endpoint_that_hangs_is_told_as_such_and_not_as_no_connection(tmp_path: Path, pem: str) -> None:
    async with Issuer({"POST /token": issued()}) as issuer, Upstream(GOOD) as upstream:
        issuer.gate.clear()
        config = vertex(upstream, account(tmp_path, issuer, pem)) | {"defaults": {"connect_s": 0.3}}
        async with Hosted(config) as hosted:
            reply = await (await hosted.peer()).ask(chat())
            assert hosted.attempts("v") == {Failure.CREDENTIAL: 1}

    assert b"no answer within 0.24 s" in reply.body or b"none within 0.24 s" in reply.body
