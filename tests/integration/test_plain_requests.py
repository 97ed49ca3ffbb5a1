"""Plain requests take the core's express lane; nobody can tell by the answer, the counts or the limits."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import chat
from tests.integration.upstream import GOOD, Upstream

if TYPE_CHECKING:
    from tests.integration.peer import Reply

pytestmark = pytest.mark.anyio

# A request id of the client's own is a hint, and a request with a hint goes the ordinary way.
ORDINARY = "x-request-id: mine"


def told(reply: Reply) -> tuple[int, bytes, dict[str, str]]:
    """What must be equal on both ways."""
    varies = ("x-request-id", "x-dispatch-decision", "x-dispatch-overhead-us", "x-dispatch-endpoint")
    return reply.status, reply.body, {name: value for name, value in reply.headers.items() if name not in varies}


async def test_both_ways_give_the_same_answer_and_book_the_same() -> None:
    async with Upstream(GOOD) as upstream, Hosted(pool(upstream.base_url, upstream.base_url)) as hosted:
        peer = await hosted.peer()
        ordinary = [told(await peer.ask(chat("m", "hi", ORDINARY))) for _ in range(4)]
        by_hand = {name: hosted.snapshot().endpoints[name].tokens for name in "ab"}
        hosted.dispatcher.report = None  # with a report, an answer on the lane is delivered the ordinary way
        plain = [told(await peer.ask(chat())) for _ in range(4)]
        by_lane = {name: hosted.snapshot().endpoints[name].tokens for name in "ab"}

        assert plain == ordinary
        assert [list(row) for row in by_lane.values()] == [[2 * count for count in row] for row in by_hand.values()]
        assert hosted.outcomes() == {Failure.NONE: 8}
        assert hosted.dispatcher.under_way == 0
        assert not hosted.dispatcher.watch
        assert hosted._held() == {}
        await _forget(hosted)


async def test_an_answer_that_is_delivered_leaves_the_next_one_its_connection() -> None:
    async with Upstream(GOOD) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peers = [await hosted.peer() for _ in range(40)]
        for _ in range(5):
            replies = await asyncio.gather(*(peer.ask(chat()) for peer in peers))

            assert [reply.status for reply in replies] == [200] * 40
        assert len(hosted.reports) == 200


async def test_a_plain_request_at_the_limit_of_its_endpoint_is_told_when_to_come_back() -> None:
    async with Upstream(GOOD) as upstream:
        config = pool(upstream.base_url)
        config["endpoints"][0]["limits"] = {"requests_per_min": 1}
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            assert (await peer.ask(chat())).status == 200
            refused = await peer.ask(chat())

            assert refused.code == (429, "rate_limit_exceeded")
            assert int(refused.headers["retry-after"]) >= 1
            assert len(upstream.requests) == 1


async def test_a_keys_requests_stay_together_where_they_bring_nothing_to_hash() -> None:
    async with Upstream(GOOD) as upstream:
        config = pool(*[upstream.base_url] * 8, strategy="ring_hash")
        config["keys"] = [{"name": f"team-{n}", "key": "sha256:" + sha256(f"k{n}".encode()).hexdigest()} for n in range(12)]
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            homes = []
            for n in range(12):
                key = f"authorization: Bearer k{n}"
                replies = [await peer.ask(chat("m", "hi", key)) for _ in range(4)] + [await peer.ask(chat("m", "hi", key, ORDINARY))]
                homes.append({reply.headers["x-dispatch-endpoint"] for reply in replies})

            assert [len(home) for home in homes] == [1] * 12
            assert len(set.union(*homes)) > 1


async def _forget(hosted: Hosted) -> None:
    """The books of reports are compared with the board at the end: drop what went by without a report."""
    await until(lambda: not hosted.dispatcher.under_way)
    hosted.check_rest = _nothing  # type: ignore[method-assign]  # it was checked above, by other means


async def _nothing() -> None:
    return
