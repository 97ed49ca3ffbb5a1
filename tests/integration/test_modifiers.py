"""Pools with tiers, sessions, prices: whom a request reaches, through the whole sidecar."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.config import build, load
from dispatch.config.plans import Pool
from dispatch.errors import ConfigError
from dispatch.routing import Routing, Sizes

from tests.integration.hosted import Hosted
from tests.integration.peer import Peer, chat
from tests.integration.sidecar import Sidecar
from tests.integration.upstream import GOOD, Upstream, hang

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def config(*, prices: dict[str, Any] | None = None, server: dict[str, Any] | None = None, **pool: Any) -> dict[str, Any]:
    endpoints = [{"name": name, "provider": "echo"} for name in "abc"]
    for endpoint in endpoints:
        if prices is not None and endpoint["name"] in prices:
            endpoint["price"] = prices[endpoint["name"]]
    return {"server": server or {}, "endpoints": endpoints, "models": {"m": {"endpoints": ["a", "b", "c"], **pool}}}


async def went(peer: Peer, *lines: str, prompt: str = "hi", **fields: Any) -> str:
    reply = await peer.ask(chat("m", prompt, *lines, **fields))
    assert reply.status == 200, reply
    return reply.headers["x-dispatch-endpoint"]


async def test_a_later_tier_serves_while_the_earlier_one_is_full() -> None:
    async with Upstream(hang) as near, Upstream(GOOD) as far:
        plan = config(priority=[["a"], ["b", "c"]])
        plan["endpoints"] = [
            {"name": "a", "provider": "openai_compatible", "model": "x", "base_url": near.base_url, "limits": {"concurrency": 1}},
            *({"name": name, "provider": "openai_compatible", "model": "x", "base_url": far.base_url} for name in "bc"),
        ]
        async with Hosted(plan) as hosted, Peer(hosted.port) as waits, Peer(hosted.port) as peer:
            await waits.send(chat("m", "hi"))
            await near.until(lambda: near.requests)
            assert {await went(peer) for _ in range(20)} <= {"b", "c"}
            assert len(near.requests) == 1


async def test_a_session_stays_where_it_was_over_a_reload_and_over_workers() -> None:
    async with Hosted(config(sticky=True)) as hosted, Peer(hosted.port) as peer:
        homes = {name: await went(peer, f"x-dispatch-session: {name}") for name in map(str, range(30))}
        assert len(set(homes.values())) > 1
        hosted.reload(config(sticky=True, strategy="random"))
        for name, home in homes.items():
            assert {await went(peer, f"x-dispatch-session: {name}") for _ in range(3)} == {home}


async def test_a_session_stays_through_whichever_worker_it_comes(tmp_path: Path) -> None:
    plan = config(sticky=True, strategy="random", server={"port": 0})
    async with Sidecar(tmp_path, plan, "--workers", "2") as sidecar:
        seen = set()
        for _ in range(12):
            async with Peer(sidecar.port) as peer:
                seen.add(await went(peer, prompt_cache_key="one"))
        assert len(seen) == 1


async def test_the_cheapest_serves_and_a_warm_prompt_stays_dear() -> None:
    prices = {"a": {"input": 2, "output": 2, "cached_input": 0.2}, "b": {"input": 1.9, "output": 2}, "c": {"input": 9, "output": 9}}
    cheap = config(prices=prices, strategy="lowest_cost")
    warm = config(prices=prices, lowest_cost=True, affinity={"wait_price": 0})
    only_a = config(prices=prices, affinity={"wait_price": 0}, priority=[["a"], ["b", "c"]])
    prompt = "word " * 4000
    async with Hosted(cheap) as hosted, Peer(hosted.port) as peer:
        assert {await went(peer, prompt=prompt) for _ in range(10)} == {"b"}
        hosted.reload(config(prices=prices, strategy="lowest_cost", priority=[["c"], ["a", "b"]]))
        assert await went(peer) == "c"
    async with Hosted(only_a) as hosted, Peer(hosted.port) as peer:
        assert await went(peer, prompt=prompt, prompt_cache_key="one") == "a"
        hosted.reload(warm)
        assert await went(peer, prompt=prompt, prompt_cache_key="one") == "a", "cached at a tenth of the price"
        assert await went(peer, prompt=prompt, prompt_cache_key="two") == "b", "cold"


@pytest.mark.parametrize(
    ("pool", "path", "reason"),
    [
        ({"priority": [["a"], ["b"]]}, "models.m.priority", "'c' has no tier"),
        ({"priority": [["a", "b"], ["b", "c"]]}, "models.m.priority[1][0]", "'b' has a tier already"),
        ({"priority": [["a", "b", "c", "d"]]}, "models.m.priority[0][3]", "'d' is not in this pool"),
        ({"sticky": True, "affinity": True}, "models.m.affinity", "one of the two"),
        ({"lowest_latency": -1}, "models.m.lowest_latency", "-1"),
        ({"sticky": {"idle_s": 0}}, "models.m.sticky.idle_s", "0"),
        ({"strategy": "lowest_price"}, "models.m.strategy", "lowest_cost"),
        ({"hash_on": ["session", "prompt_cache_key", "user", "key"]}, "models.m.hash_on", "does not use it"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_path(pool: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build(config(**pool))
    assert refused.value.path == path
    assert reason in str(refused.value).replace('"', "'")


def test_a_price_that_is_not_known_is_no_lowest_cost() -> None:
    with pytest.raises(ConfigError, match=r"models\.m.*'c' has none"):
        Routing.alone(build(config(prices={"a": {}, "b": {}}, lowest_cost=0.1)))


def test_room_for_sessions_is_made_where_they_are_kept_only() -> None:
    assert Sizes.of(build(config())).sessions == 0
    assert Sizes.of(build(config(affinity=True, server={"sessions_max": 1000}))).sessions == 125


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:

    path = tmp_path / "dispatch.json"
    path.write_text(json.dumps(config(priority=[["a"], ["b", "c"]], lowest_latency=0.2, sticky={"idle_s": 60})))
    plan = load(path, {}).models["m"].plan
    assert isinstance(plan, Pool)
    assert (plan.priority, plan.lowest_latency) == ((("a",), ("b", "c")), 0.2)
