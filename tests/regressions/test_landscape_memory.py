"""Latency and memory under load: what users of other gateways reported (`LiteLLM #13546`: the project and its thread)."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest
from dispatch.testing import MockProvider

from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import Peer, chat, events_of

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough for a thousand connections."""
    return "asyncio", {"use_uvloop": True}


class Forgetful(Hosted):
    """Keeps no reports, which would hold every request."""

    async def check_rest(self) -> None:
        await until(lambda: not self.dispatcher.under_way and not self.dispatcher.watch)


async def test_production_stack_448_and_litellm_13546_a_thousand_streams_at_once_are_all_whole() -> None:
    """Others died at 1,000 concurrent requests, or took 10 s for each beyond 15 a second."""
    async with MockProvider(output_tokens=4, first_token_s=0.5) as mock, Hosted(pool(mock.base_url)) as hosted:

        async def stream(number: int) -> bool:
            async with Peer(hosted.port) as peer:
                reply = await peer.ask(chat("m", f"number {number}", stream=True))
            return reply.status == 200 and reply.is_whole and events_of(reply.body)[-1] == "[DONE]"

        assert all(await asyncio.gather(*(stream(number) for number in range(1000))))


async def test_production_stack_765_no_library_caps_connections_at_a_hundred() -> None:
    """All requests are at the provider at the same time; with a cap the last would wait for the first."""
    async with MockProvider(first_token_s=2.0) as mock, Hosted(pool(mock.base_url)) as hosted:
        peers = [await hosted.peer() for _ in range(300)]
        for peer in peers:
            await peer.send(chat())
        await mock.until(lambda journal: sum(entry.outcome == "open" for entry in journal) == 300, timeout_s=20)
        assert mock.connections == 300
        replies = await asyncio.gather(*(peer.reply() for peer in peers))

    assert {reply.status for reply in replies} == {200}


async def test_litellm_12685_27954_38193_requests_leave_nothing_behind() -> None:
    """Whole answers, streams, errors and clients that leave: after each round the process holds as many objects as before."""
    scenario = {"defaults": {"echo": True, "faults": {"server_error": 0.1, "cut_rst": 0.1, "no_done": 0.1}}}
    async with MockProvider(scenario=scenario) as mock, Forgetful(pool(mock.base_url, retry={"base_s": 0.001})) as hosted:
        hosted.dispatcher.report = None

        async def round_of(count: int) -> Counter[str]:
            for number in range(count):
                async with Peer(hosted.port) as peer:
                    await peer.send(chat("m", f"number {number}", stream=number % 2 == 0))
                    if number % 5:
                        await peer.reply()
            mock.journal.clear()
            gc.collect()
            return Counter(type(one).__name__ for one in gc.get_objects())

        before = await round_of(200)
        after = await round_of(400)
        grown = {name: count - before[name] for name, count in after.items() if count - before[name] > 100}

    assert grown == {}
