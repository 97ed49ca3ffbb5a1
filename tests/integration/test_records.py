"""Every answer has a record, whether its model decides or not: who was asked and why, what that took, and the same choice again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from dispatch import Client
from dispatch.config import build
from dispatch.decisions import RING
from dispatch.why.text import decision_text

from tests.integration.hosted import Hosted, until
from tests.integration.peer import Peer, chat, post
from tests.integration.sidecar import Sidecar
from tests.integration.sidecar import until as told
from tests.integration.upstream import GOOD, Upstream, answer, hang, once

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.peer import Reply

pytestmark = pytest.mark.anyio

STRATEGIES = (
    "least_work",
    "least_connections",
    "round_robin",
    "weighted",
    "weighted_random",
    "random",
    "rendezvous",
    "maglev",
    "ring_hash",
)
BAD = once(answer({"error": {"message": "no"}}, 500))


def echo(names: str = "abc", **model: Any) -> dict[str, Any]:
    endpoints = [{"name": name, "provider": "echo", "price": {"input": 2.0, "output": 4.0}} for name in names]
    return {"endpoints": endpoints, "models": {"m": {"endpoints": [*names], **model}}}


def outside(model: dict[str, Any], **urls: str) -> dict[str, Any]:
    endpoints = [{"name": name, "provider": "openai_compatible", "model": "x", "base_url": url} for name, url in urls.items()]
    return {"endpoints": endpoints, "models": {"m": model}}


async def ask(peer: Peer, name: str) -> Reply:
    return await peer.ask(f"GET /admin/decision?id={name} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())


async def record(peer: Peer, reply: Reply) -> dict[str, Any]:
    found = await ask(peer, reply.headers["x-dispatch-decision"])
    assert found.status == 200, found
    return dict(json.loads(found.body))


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_an_answer_of_the_lane_is_explained_and_chosen_again(strategy: str) -> None:
    async with Hosted(echo(strategy=strategy)) as hosted, Peer(hosted.port) as peer:
        replies = [await peer.ask(chat("m", "a secret prompt", user=f"user-{at % 7}", stream=at % 5 == 4)) for at in range(20)]
        hosted.reload(echo("dabc"))
        for reply in replies:
            found = await record(peer, reply)
            step, tried = found["steps"][0], found["tries"][0]
            endpoint = reply.headers["x-dispatch-endpoint"]
            assert (step["by"], step["chosen"], step["replayed"], found["outcome"]) == (strategy, endpoint, True, "ok")
            assert [one["name"] for one in step["candidates"]] == ["a", "b", "c"]
            assert (tried["endpoint"], tried["failure"], found["endpoint"]) == (endpoint, "none", endpoint)
            assert found["micro_dollars"] == tried["micro_dollars"] == 2 * tried["tokens_in"] + 4 * tried["tokens_out"]
            assert found["request"] == reply.headers["x-request-id"] == f"req-{found['id']}"
            assert "secret" not in json.dumps(found)
            assert "user-" not in json.dumps(found)
            assert "made again: the same" in decision_text(found)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_retry_is_a_second_choice(stream: bool) -> None:
    async with Upstream(BAD) as bad, Upstream(GOOD) as good:
        plan = outside({"endpoints": ["a", "b"], "priority": [["a"], ["b"]]}, a=bad.base_url, b=good.base_url)
        async with Hosted(plan) as hosted, Peer(hosted.port) as peer:
            found = await record(peer, await peer.ask(chat("m", "hi", stream=stream)))
    assert [(step["chosen"], step["replayed"]) for step in found["steps"]] == [("a", True), ("b", True)]
    assert found["steps"][1]["candidates"] == [{"name": "a", "filtered": "tried"}, {"name": "b"}]
    assert [(one["endpoint"], one["failure"]) for one in found["tries"]] == [("a", "server"), ("b", "none")]
    assert found["endpoint"] == "b"


async def test_an_error_has_its_record_too() -> None:
    async with Upstream(BAD) as bad:
        plan = outside({"fallback": [{"endpoints": ["a"]}, {"endpoints": ["b"]}], "retry": {"attempts": 1}}, a=bad.base_url, b=bad.base_url)
        async with Hosted(plan) as hosted, Peer(hosted.port) as peer:
            reply = await peer.ask(chat("m", "hi", "x-request-id: my-own-7"))
            assert reply.status == 500
            found = await record(peer, reply)
    assert [(step["path"], step["chosen"]) for step in found["steps"]] == [("fallback[0]", "a"), ("fallback[1]", "b")]
    assert (found["outcome"], found["error"]) == ("server", "upstream_error")
    assert found["request"] == reply.headers["x-request-id"] == "my-own-7"


async def test_who_is_refused_is_told_by_what() -> None:
    plan = echo() | {"keys": [{"name": "k", "key": "env:K", "limits": {"requests_per_min": 1}}, {"name": "other", "key": "env:L"}]}
    plan["models"]["m"]["queue"] = {"max": 0}
    async with Hosted(plan, {"K": "sk-1", "L": "sk-2"}) as hosted, Peer(hosted.port) as peer:
        replies = [await peer.ask(chat("m", "hi", "authorization: Bearer sk-1")) for _ in range(3)]
        refused = next(reply for reply in replies if reply.status == 429)
        found = await record(peer, refused)
        said = json.dumps({"id": found["id"], "score": 1}).encode()
        assert (await peer.ask(post(said, "authorization: Bearer sk-2", path="/v1/feedback"))).status == 404, "of another key"
        assert (await peer.ask(post(said, "authorization: Bearer sk-1", path="/v1/feedback"))).status == 200
        assert (await record(peer, refused))["feedback"] == [1.0]
    assert (found["key"], found["outcome"], found["error"]) == ("k", "rate_limited", "rate_limit_exceeded")
    assert [(step["kind"], step["by"], step["why"]) for step in found["steps"]] == [("queue", "key", "refused: requests_per_min")]
    assert "sk-1" not in json.dumps(found)


ASKED: dict[str, dict[str, Any]] = {
    "/v1/completions": {"model": "m", "prompt": "hi"},
    "/v1/responses": {"model": "m", "input": "hi"},
    "/v1/embeddings": {"model": "m", "input": "hi"},
    "/v1/messages": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    "/v1beta/models/m:generateContent": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    "/v1beta/models/m:streamGenerateContent": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    "/api/generate": {"model": "m", "prompt": "hi"},
    "/model/m/converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
}


@pytest.mark.parametrize("path", ASKED)
async def test_every_door_has_them(path: str) -> None:
    async with Hosted(echo()) as hosted, Peer(hosted.port) as peer:
        reply = await peer.ask(post(json.dumps(ASKED[path]).encode(), path=path))
        found = await record(peer, reply)
        assert (reply.status, found["outcome"], found["steps"][0]["replayed"]) == (200, "ok", True)
        nobody = await peer.ask(post(b'{"model":"m","query":"x","documents":["a"]}', path="/v1/rerank"))
        found = await record(peer, nobody)
        assert (nobody.status, found["error"], found.get("steps", [])) == (400, "unsupported_parameter", [])
        unread = await peer.ask(post(b"{", path=path))
        assert (unread.status, "x-dispatch-decision" in unread.headers) == (400, False), "no model is known"


async def test_a_wait_for_a_place_is_told() -> None:
    async with Upstream(hang, GOOD) as slow:
        plan = outside({"endpoints": ["a"], "deadline_s": 30}, a=slow.base_url)
        plan["endpoints"][0]["limits"] = {"concurrency": 1}
        async with Hosted(plan) as hosted, Peer(hosted.port) as first, Peer(hosted.port) as second:
            await first.send(chat("m", "hi"))
            await slow.until(lambda: slow.requests)
            await second.send(chat("m", "hi"))
            await until(lambda: len(hosted.dispatcher.watch) == 2)
            first.reset()
            reply = await second.reply()
            found = await record(second, reply)
    wait, choice = found["steps"]
    assert (wait["kind"], wait["details"]["waited_ms"] > 0) == ("queue", True)
    assert (choice["chosen"], choice["replayed"], found["outcome"]) == ("a", True, "ok")


async def test_the_last_ones_are_kept_and_what_is_gone_is_said_to_be() -> None:
    async with Hosted(echo("a")) as hosted, Peer(hosted.port) as peer:
        first = await peer.ask(chat("m", "hi"))
        last = second = await peer.ask(chat("m", "hi"))
        burst = chat("m", "hi") * 64
        for _ in range((RING - 1) // 64):
            await peer.send(burst)
            for _ in range(64):
                last = await peer.reply()
        for _ in range((RING - 1) % 64):
            last = await peer.ask(chat("m", "hi"))
        gone = await ask(peer, first.headers["x-dispatch-decision"])
        assert (gone.status, gone.error["code"]) == (410, "decision_gone")
        for reply in (second, last):
            assert (await record(peer, reply))["steps"][0]["replayed"] is True
        prefix, _, number = last.headers["x-dispatch-decision"].rpartition("-")
        never = await ask(peer, f"{prefix}-{int(number, 16) + 1:x}")
        assert (never.status, never.error["code"]) == (404, "decision_not_found")


async def test_more_than_there_is_room_for_is_told_and_no_proof() -> None:
    names = "abcdefghijklnopqrstuvwxyz0123ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    async with Hosted(echo(names, strategy="least_connections", choices=0)) as hosted, Peer(hosted.port) as peer:
        step = (await record(peer, await peer.ask(chat("m", "hi"))))["steps"][0]
        assert (step["replayed"], len(step["candidates"])) == (None, len(names))
        assert "`decisions: true` keeps more" in step["why"]
    async with Hosted(echo(names, strategy="least_connections", choices=0, decisions=True)) as hosted, Peer(hosted.port) as peer:
        assert (await record(peer, await peer.ask(chat("m", "hi"))))["steps"][0]["replayed"] is True


async def test_an_answer_that_nobody_was_asked_for_says_so() -> None:
    async with Hosted(echo(cache={"ttl_s": 60})) as hosted, Peer(hosted.port) as peer:
        asked, kept = [await peer.ask(chat("m", "hi", temperature=0)) for _ in range(2)]
        assert kept.headers["x-dispatch-cache"] == "hit"
        assert [step["kind"] for step in (await record(peer, asked))["steps"]] == ["pool"]
        assert [step["kind"] for step in (await record(peer, kept))["steps"]] == ["shared"]


async def test_the_lane_names_its_answers_itself(tmp_path: Path) -> None:
    """Nobody reads a log, so the core writes the whole answer."""
    async with Sidecar(tmp_path, echo() | {"server": {"port": 0}}, "--workers", "1", log="off") as sidecar, Peer(sidecar.port) as peer:
        for _ in range(20):
            reply = await peer.ask(chat("m", "hi"))
            found = await record(peer, reply)
            assert found["request"] == reply.headers["x-request-id"] == f"req-{found['id']}"
            assert (found["steps"][0]["replayed"], found["outcome"], found["tries"][0]["failure"]) == (True, "ok", "none")
            by_request = await ask(peer, reply.headers["x-request-id"])
            assert json.loads(by_request.body)["id"] == found["id"]
        found = await record(peer, await peer.ask(chat("m", "hi")))
        command = (sys.executable, "-m", "dispatch", "why", found["id"], "--url", f"http://127.0.0.1:{sidecar.port}")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said = (await process.communicate())[0].decode()
        assert process.returncode == 0
        assert f"pool by least_work -> {found['endpoint']}; made again: the same" in said


async def test_any_worker_answers_and_what_a_dead_one_knew_is_gone(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, echo() | {"server": {"port": 0}}, "--workers", "2") as sidecar:
        root = f"http://127.0.0.1:{sidecar.port}"
        question = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

        async def made() -> dict[str, str]:
            found: dict[str, str] = {}
            for _ in range(200):
                async with aiohttp.ClientSession() as session, session.post(f"{root}/v1/chat/completions", json=question) as reply:
                    name = reply.headers["x-dispatch-decision"]
                found.setdefault(name.partition("-")[0], name)
                if len(found) == 2:
                    break
            return found

        async def status(name: str) -> tuple[int, Any]:
            async with aiohttp.ClientSession() as session, session.get(f"{root}/admin/decision", params={"id": name}) as reply:
                return reply.status, await reply.json()

        names = await made()
        assert len(names) == 2, "both workers have answered"
        for name in names.values():
            for _ in range(8):
                code, found = await status(name)
                assert (code, found["id"], found["steps"][0]["replayed"]) == (200, name, True)
        said = {"id": names["1"], "score": 0.5}
        async with aiohttp.ClientSession() as session, session.post(f"{root}/v1/feedback", json=said) as reply:
            assert reply.status == 200
        assert (await status(names["1"]))[1]["feedback"] == [0.5]

        victim = (await sidecar.workers(2))[1]
        os.kill(victim, signal.SIGKILL)
        await told(lambda: sidecar.worker_pids()[1] != victim, "a successor")
        code, found = await status(names["1"])
        assert (code, found["error"]["code"]) == (410, "decision_gone")
        assert (await status(names["0"]))[0] == 200


async def test_the_library_has_them_as_well() -> None:
    async with Client(build(echo())) as client:
        reply = await client.chat("m", "hi")
        assert reply.decision
        await client.feedback(reply, 0.5)
    async with Client(build(echo(decisions=False))) as client:
        assert not (await client.chat("m", "hi")).decision


async def test_a_hedge_is_noted_beside_the_first_try() -> None:
    async with Upstream(hang) as late, Upstream(GOOD) as good:
        plan = outside({"endpoints": ["a", "b"], "priority": [["a"], ["b"]]}, a=late.base_url, b=good.base_url)
        plan["models"]["m"]["hedge"] = {"after": 0.001, "max_share": 1.0, "max_cost_share": 1.0}
        async with Hosted(plan) as hosted, Peer(hosted.port) as peer:
            found = await record(peer, await peer.ask(chat("m", "hi")))
    assert [(one["endpoint"], one["failure"]) for one in found["tries"]] == [("a", "cancelled"), ("b", "none")]
    assert (found["endpoint"], [step["replayed"] for step in found["steps"]]) == ("b", [True, True])


async def test_what_is_under_way_says_so() -> None:
    async with Upstream(hang) as slow, Hosted(outside({"endpoints": ["a"]}, a=slow.base_url)) as hosted:
        async with Peer(hosted.port) as peer, Peer(hosted.port) as other:
            await peer.send(chat("m", "hi"))
            await slow.until(lambda: slow.requests)
            begun = hosted.dispatcher.decisions.records.begun
            name = hosted.dispatcher.decisions.find(f"{hosted.dispatcher.decisions._prefix}{begun:x}")
            assert name is not None
            found = json.loads((await ask(other, name.id)).body)
            assert (found.get("outcome", "under_way"), found["tries"][0]["failure"]) == ("under_way", "under_way")
        await asyncio.sleep(0)
