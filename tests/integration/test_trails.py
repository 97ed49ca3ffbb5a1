"""Models without a route whose decisions are recorded: why this endpoint, and the same choice again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.routing import LearnedRouter
from dispatch.why.text import step_text

from tests.integration.hosted import Hosted, until
from tests.integration.peer import Peer, chat, post
from tests.integration.upstream import GOOD, Upstream, answer, hang, once

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def config(plan: dict[str, Any], **settings: Any) -> dict[str, Any]:
    endpoints = [{"name": name, "provider": "echo"} for name in "abc"]
    return {"endpoints": endpoints, "models": {"m": {**plan, "decisions": True, **settings}}}


def outside(**urls: str) -> list[dict[str, Any]]:
    return [{"name": name, "provider": "openai_compatible", "model": "x", "base_url": url} for name, url in urls.items()]


async def shown(peer: Peer, name: str) -> dict[str, Any]:
    reply = await peer.ask(f"GET /admin/decision?id={name} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
    assert reply.status == 200, reply
    return dict(json.loads(reply.body))


@pytest.mark.parametrize("strategy", ["least_work", "round_robin", "weighted_random", "rendezvous", "cache_aware", "peak_ewma"])
async def test_a_pools_choice_comes_out_the_same_long_after(strategy: str) -> None:
    names = []
    async with Hosted(config({"endpoints": ["a", "b", "c"], "strategy": strategy})) as hosted, Peer(hosted.port) as peer:
        for at in range(30):
            reply = await peer.ask(chat("m", "hi", user=f"user-{at % 7}"))
            names.append((reply.headers["x-dispatch-decision"], reply.headers["x-dispatch-endpoint"]))
        hosted.reload(config({"endpoints": ["a"]}))
        for name, endpoint in names:
            found = await shown(peer, name)
            step = found["steps"][0]
            assert (step["kind"], step["by"], step["chosen"], step["replayed"]) == ("pool", strategy, endpoint, True)
            assert [one["name"] for one in step["candidates"]] == ["a", "b", "c"]
            assert step["trail"][-1]["chosen"] == endpoint == found["endpoint"]
            assert found["tries"][0]["endpoint"] == endpoint


async def test_who_was_held_back_is_told_with_the_reason() -> None:
    async with Upstream(hang) as full, Upstream(GOOD) as good:
        plan = config({"endpoints": ["a", "b"], "priority": [["a"], ["b"]]})
        plan["endpoints"] = outside(a=full.base_url, b=good.base_url)
        plan["endpoints"][0]["limits"] = {"concurrency": 1}
        async with Hosted(plan) as hosted, Peer(hosted.port) as waits, Peer(hosted.port) as peer:
            await waits.send(chat("m", "hi"))
            await full.until(lambda: full.requests)
            reply = await peer.ask(chat("m", "hi"))
            step = (await shown(peer, reply.headers["x-dispatch-decision"]))["steps"][0]
            assert step["candidates"] == [{"name": "a", "filtered": "concurrency"}, {"name": "b"}]
            assert [(pick["chosen"], pick["taken"]) for pick in step["trail"]] == [("a", False), ("b", True)]
            told = step_text(step)
            assert "candidate a  left out: concurrency" in told
            assert ": a, which had no room" in told


async def test_each_try_has_a_step_and_so_has_a_refusal() -> None:
    async with Upstream(once(answer({"error": {"message": "no"}}, 500))) as bad, Upstream(GOOD) as good:
        plan = config({"fallback": [{"endpoints": ["a"]}, {"endpoints": ["b"]}]}, retry={"attempts": 1})
        plan["endpoints"] = outside(a=bad.base_url, b=good.base_url)
        async with Hosted(plan) as hosted, Peer(hosted.port) as peer:
            reply = await peer.ask(chat("m", "hi"))
            found = await shown(peer, reply.headers["x-dispatch-decision"])
    assert [(step["path"], step["chosen"]) for step in found["steps"]] == [("fallback[0]", "a"), ("fallback[1]", "b")]
    assert [one["endpoint"] for one in found["tries"]] == ["a", "b"]


async def test_what_is_switched_off_has_no_header_and_a_plan_that_decides_has_its_record_all_the_same() -> None:
    plain = config({"endpoints": ["a", "b"]}, decisions=False)
    async with Hosted(plain) as hosted, Peer(hosted.port) as peer:
        for stream in (False, True):
            reply = await peer.ask(chat("m", "hi", stream=stream))
            assert "x-dispatch-decision" not in reply.headers
            assert reply.headers["x-request-id"].startswith("req-0-")
            record = await peer.ask(
                f"GET /admin/decision?id={reply.headers['x-request-id'][4:]} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()
            )
            assert record.status == 410
    routed = config({"split": {"arms": {"x": {"endpoints": ["a", "b"]}}, "shares": {"x": 1}}}, decisions=False)
    async with Hosted(routed) as hosted, Peer(hosted.port) as peer:
        reply = await peer.ask(chat("m", "hi"))
        assert [step["kind"] for step in (await shown(peer, reply.headers["x-dispatch-decision"]))["steps"]] == ["split", "pool"]


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        ({"split": {"arms": {"x": "a", "y": "b"}, "shares": {"x": 1, "y": 1}}}, "split"),
        ({"schedule": {"periods": [{"days": ["mon", "sun"], "start": "00:00", "end": "23:59", "plan": "a"}], "default": "b"}}, "schedule"),
        ({"shadow": {"plan": "a", "mirror": "b", "share": 1.0}}, "shadow"),
    ],
)
async def test_plans_by_share_and_by_time_are_made_again(plan: dict[str, Any], kind: str) -> None:
    async with Hosted(config(plan, decisions=False)) as hosted, Peer(hosted.port) as peer:
        names = [(await peer.ask(chat("m", "hi"))).headers["x-dispatch-decision"] for _ in range(8)]
        await until(lambda: not hosted.dispatcher.watch)
        for name in names:
            step = (await shown(peer, name))["steps"][0]
            assert (step["kind"], step["replayed"]) == (kind, True)
        hosted.reload(config(plan, decisions=False))
        assert (await shown(peer, names[0]))["steps"][0]["replayed"] is None, "another plan, as far as one knows"
        if kind == "shadow":
            for call, *_ in hosted.reports:
                call.attempts += 1  # the mirror's own try is on the board, and in no client's report


async def test_what_feedback_taught_outlives_a_reload_a_restart_and_a_torn_file(tmp_path: Path) -> None:
    router = tmp_path / "router.bin"
    router.write_bytes(LearnedRouter.train(["weak", "strong"], ["one", "two"] * 50, [[1.0, 1.0], [0.5, 1.0]] * 50, []).encode())
    plan = {"route": {"by": "learned", "router": str(router), "among": {"weak": "a", "strong": "b"}, "costs": {"weak": 1, "strong": 2}}}
    form = config(plan, decisions=False) | {"server": {"ledger": str(tmp_path / "ledger")}}

    async def drift(hosted: Hosted) -> dict[str, float]:
        metrics = await hosted.metrics()
        return {dict(labels)["candidate"]: value for (name, labels), value in metrics.items() if name == "dispatch_route_drift"}

    async with Hosted(form) as hosted, Peer(hosted.port) as peer:
        assert await drift(hosted) == {}
        for _ in range(5):
            reply = await peer.ask(chat("m", "one"))
            said = json.dumps({"id": reply.headers["x-dispatch-decision"], "score": 0.0}).encode()
            assert (await peer.ask(post(said, path="/v1/feedback"))).status == 200
        taught = await drift(hosted)
        assert min(taught.values()) < -0.01
        hosted.reload(form)
        assert await drift(hosted) == taught
    async with Hosted(form) as hosted:
        assert await drift(hosted) == taught
    file = tmp_path / "ledger.learned.0"
    assert not file.with_name("ledger.learned.0.new").exists()
    file.write_bytes(file.read_bytes()[:-7])
    async with Hosted(form) as hosted:
        assert await drift(hosted) == {}


async def test_a_hedged_model_is_recorded_as_well() -> None:
    plan = config({"endpoints": ["a", "b"]}, hedge={"after": 0.001, "max_share": 1.0, "max_cost_share": 1.0})
    async with Upstream(hang) as late, Upstream(GOOD) as good:
        plan["endpoints"] = outside(a=late.base_url, b=good.base_url)
        plan["models"]["m"]["priority"] = [["a"], ["b"]]
        async with Hosted(plan) as hosted, Peer(hosted.port) as peer:
            reply = await peer.ask(chat("m", "hi", stream=False))
            found = await shown(peer, reply.headers["x-dispatch-decision"])
    assert reply.headers["x-dispatch-endpoint"] == "b"
    assert (found["steps"][0]["kind"], found["steps"][0]["chosen"], found["steps"][0]["replayed"]) == ("pool", "a", True)
