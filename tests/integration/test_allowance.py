"""What the retry budget holds back, and what not: few retries are in vain, those of use are as many as there are clients in need."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.testing import MockProvider

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import chat

if TYPE_CHECKING:
    from tests.integration.peer import Reply

pytestmark = pytest.mark.anyio

CROWD = 120
DEADLINE_S = 4
BLIND = {"min_requests": 2000}
"""No breaker opens: every client finds out for itself."""
ECHO: dict[str, Any] = {"echo": True, "first_token_s": 0.001, "gap_s": 0.001}
DYING: dict[str, Any] = {**ECHO, "first_token_s": 0.5, "faults": {"cut_fin": 1}}
"""Late enough that it has its half of the crowd by then."""


async def ask(hosted: Hosted, number: int, *, stream: bool) -> Reply:
    async with await hosted.peer() as peer:
        text = f"one two three four five {number}"
        return await peer.ask(chat("m", text, f"x-dispatch-deadline-ms: {DEADLINE_S * 1000}", stream=stream))


async def crowd(hosted: Hosted, *, stream: bool) -> list[Reply]:
    return await asyncio.gather(*(ask(hosted, number, stream=stream) for number in range(CROWD)))


async def test_a_crowd_whose_endpoint_has_died_goes_over_to_one_that_lives() -> None:
    """Sixty retries at once; the budget alone gives ten, and ten a second."""
    async with (
        MockProvider(**DYING) as dead,
        MockProvider(**ECHO) as alive,
        Hosted(pool(dead.base_url, alive.base_url, health=BLIND)) as hosted,
    ):
        replies = await crowd(hosted, stream=False)

        assert [reply.status for reply in replies] == [200] * CROWD
        # A request is asked of the endpoint that lives once, whatever has become of it elsewhere.
        assert len(alive.journal) == CROWD
        assert hosted.snapshot().endpoints["b"].retries == len(dead.journal) == CROWD // 2


@pytest.mark.parametrize("settings", [{"recover": ["restart"]}, {"commit": "whole"}], ids=["recover", "commit"])
async def test_so_does_a_crowd_of_broken_streams(settings: dict[str, Any]) -> None:
    async with (
        MockProvider(**DYING) as dead,
        MockProvider(**ECHO) as alive,
        Hosted(pool(dead.base_url, alive.base_url, health=BLIND, **settings)) as hosted,
    ):
        replies = await crowd(hosted, stream=True)

        assert all(reply.is_whole for reply in replies)
        assert len(alive.journal) == CROWD


@pytest.mark.parametrize("settings", [{"recover": ["restart"]}, {"commit": "whole"}], ids=["recover", "commit"])
async def test_takeovers_in_vain_stay_within_the_budget(settings: dict[str, Any]) -> None:
    """An outage after the first token must not double the load."""
    async with (
        MockProvider(**DYING) as one,
        MockProvider(**DYING) as other,
        Hosted(pool(one.base_url, other.base_url, health=BLIND, **settings)) as hosted,
    ):
        before = monotonic()
        replies = await crowd(hosted, stream=True)
        seconds = monotonic() - before

        assert not any(reply.is_whole for reply in replies if reply.status == 200)
        assert len(one.journal) + len(other.journal) <= 1.2 * CROWD + 10 * (seconds + 1) + 1


async def test_who_waits_for_the_budget_may_leave() -> None:
    async with (
        MockProvider(**DYING) as dead,
        MockProvider(**ECHO, faults={"hang_before_head": 1}) as silent,
        Hosted(pool(dead.base_url, silent.base_url, health=BLIND, recover=["restart"])) as hosted,
    ):
        waiting = [asyncio.create_task(ask(hosted, number, stream=True)) for number in range(CROWD)]
        # Ten are sent to the silent one; the others wait for the budget.
        await dead.journal.until(lambda journal: sum(entry.outcome == "cut_fin" for entry in journal) >= CROWD // 2)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    # On leaving, `Hosted` looks that nothing is left of any of them.
