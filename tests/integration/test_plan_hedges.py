"""Hedges inside plans over several models: whatever asks a pool, the second endpoint answers where the first is late."""

from __future__ import annotations

from typing import Any

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted
from tests.integration.models import Model, config
from tests.integration.peer import chat
from tests.integration.test_cascades import text_of

pytestmark = pytest.mark.anyio

POOL = {"endpoints": ["a", "b"], "strategy": "round_robin"}
SOON = {"after": 0.02, "max_share": 1, "max_cost_share": 1}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "plan",
    [
        {"cascade": {"steps": [POOL, "c"]}},
        {"cascade": {"steps": ["c", POOL], "escalate_if": {"verify": {"regex": "nothing like it"}}}},
        {"ensemble": {"of": [POOL, "b"], "by": "fuse", "model": "b"}},
        {"chain": {"steps": [{"plan": POOL}, {"plan": "b"}]}},
        {"fanout": {"work": POOL, "split": "list"}},
        {"fallback": [POOL, "c"]},
    ],
    ids=lambda plan: next(iter(plan)),
)
async def test_a_late_endpoint_of_a_part_is_hedged(plan: Any, stream: bool) -> None:
    async with (
        Model(None) as late,
        Model("from b") as prompt,
        Model("from c") as other,
        Hosted(config(plan, late, prompt, other, hedge=SOON)) as hosted,
    ):
        peer = await hosted.peer()
        replies = [await peer.ask(chat(text="Do.\n\none", stream=stream)) for _ in range(2)]

        assert [text_of(reply).replace(" ", "") for reply in replies] == ["fromb", "fromb"]
        assert all(reply.is_whole for reply in replies)
        # In two rounds the late one is asked at least once, and let go.
        await late.until(lambda: late.left == len(late.requests) > 0)
        assert hosted.attempts("a") == {Failure.CANCELLED: len(late.requests)}
        assert hosted.outcomes() == {Failure.NONE: 2}
