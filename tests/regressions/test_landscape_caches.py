"""Prompt caches that balancing destroyed, and stores that everybody waited for: threads in which users of other gateways told of it."""

from __future__ import annotations

from asyncio import wait_for
from time import monotonic
from typing import Any

import pytest
from dispatch.testing import MockProvider

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import Peer, chat
from tests.integration.redis_double import RedisDouble

pytestmark = pytest.mark.anyio

TURNS, CONVERSATIONS = 8, 13
PRICE = {"input": 2, "output": 8, "cached_input": 0.2}


async def hit_rate(model: dict[str, Any]) -> float:
    """The share of later turns that go where the turn before was, and so find its prompt in the cache there; conversations by turns."""
    endpoints = [{"name": name, "provider": "echo", "price": PRICE} for name in "abcd"]
    config = {"endpoints": endpoints, "models": {"m": {"endpoints": [*"abcd"], **model}}}
    homes: dict[int, str] = {}
    hits = 0
    async with Hosted(config) as hosted, Peer(hosted.port) as peer:
        for turn in range(TURNS):
            for conversation in range(CONVERSATIONS):
                text = f"conversation {conversation}: " + "and then " * 1_000 * (turn + 1)
                reply = await peer.ask(chat("m", text, f"x-dispatch-session: {conversation}"))
                home = reply.headers["x-dispatch-endpoint"]
                hits += homes.get(conversation) == home
                homes[conversation] = home
    assert len(set(homes.values())) > 1
    return hits / ((TURNS - 1) * CONVERSATIONS)


@pytest.mark.parametrize(
    "model",
    [{"strategy": "cache_aware"}, {"strategy": "ring_hash", "bounded_load": 1.25}, {"affinity": True}, {"sticky": True}],
    ids=["cache_aware", "bounded hash", "affinity", "sticky"],
)
async def test_litellm_38078_agentgateway_2572_turns_find_the_prompt_cache_of_the_turn_before(model: dict[str, Any]) -> None:
    """There each request was balanced by itself, and the provider's cache went from 95 % of hits to none."""
    # On a busy machine a home may be seen slow for a moment, and a turn that goes elsewhere is right: a few of ninety.
    assert await hit_rate(model) >= 0.8


async def test_litellm_38078_requests_that_are_balanced_by_themselves_lose_it() -> None:
    """That the figure above can fail: round robin is what was reported."""
    assert await hit_rate({"strategy": "round_robin"}) < 0.5


async def test_litellm_18708_26886_no_store_is_waited_for() -> None:
    """There a slow database made every request slow. Here a store that hangs is asked once, for a moment, and then left alone."""
    async with RedisDouble(hangs=True) as redis, MockProvider() as mock:
        config = pool(mock.base_url, cache={"redis": "env:REDIS_URL"})
        async with Hosted(config, {"REDIS_URL": redis.url}) as hosted:
            peer = await hosted.peer()
            began = monotonic()
            statuses = {(await peer.ask(chat("m", f"question {number}"))).status for number in range(50)}
            took_s = monotonic() - began
            generation = hosted.dispatcher.generation
            assert generation is not None
            for stores in generation.caches.values():
                assert stores.redis is not None
                await wait_for(stores.redis.wait_closed(), 10)

    assert statuses == {200}
    # Fifty waits would be far longer, whatever the machine does.
    assert took_s < 25
    assert redis.reads <= 1
