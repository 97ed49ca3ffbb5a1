"""Tokens are guessed from the length of a text, and the guess learns from the usage that answers report."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import Peer, chat
from tests.integration.test_left_out import post
from tests.integration.upstream import ANSWER, Upstream, answer, once

pytestmark = pytest.mark.anyio

TEXT = "lorem ipsum " * 200
GUESS = len(TEXT) // 4 + 8


def told(tokens_in: int, tokens_out: int) -> dict[str, Any]:
    used = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    return {**ANSWER, "usage": used}


async def count(peer: Peer) -> tuple[int, str]:
    reply = await peer.ask(post("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": TEXT}]}))
    tokens: int = json.loads(reply.body)["input_tokens"]
    return tokens, reply.headers.get("x-dispatch-estimated", "")


@pytest.mark.parametrize("is_plain", [True, False], ids=["lane", "ordinary"])
async def test_a_count_before_sending_learns_from_reported_usage(*, is_plain: bool) -> None:
    double = GUESS * 2
    async with Upstream(once(answer(told(double, 40)))) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        async with Peer(hosted.port) as peer:
            assert await count(peer) == (GUESS, "true")
            for number in range(40):
                # A request that says its deadline is not plain, and goes the ordinary way.
                more = [] if is_plain else ["x-dispatch-deadline-ms: 20000"]
                assert (await peer.ask(chat("m", f"{TEXT}{number % 10}", *more))).status == 200
            tokens, mark = await count(peer)

        assert mark == "true"
        assert double * 0.97 <= tokens <= double * 1.03


async def test_what_one_model_learns_says_nothing_of_another() -> None:
    async with Upstream(once(answer(told(GUESS * 2, 40)))) as upstream:
        config = pool(upstream.base_url)
        config["models"]["other"] = {"endpoints": ["a"]}
        async with Hosted(config) as hosted, Peer(hosted.port) as peer:
            for _ in range(20):
                assert (await peer.ask(chat("other", TEXT))).status == 200
            tokens, _ = await count(peer)

    assert tokens == GUESS


async def test_an_answer_is_expected_to_be_as_long_as_those_before_and_no_longer_than_asked_for() -> None:
    async with Upstream(once(answer(told(GUESS, 10)))) as upstream:
        config = pool(upstream.base_url)
        async with Hosted(config) as hosted, Peer(hosted.port) as peer:
            for _ in range(20):
                assert (await peer.ask(chat("m", TEXT))).status == 200
            generation = hosted.dispatcher.generation
            assert generation is not None
            model = generation.models["m"]
            expected = generation.expect(model, len(TEXT), 0, 1), generation.expect(model, len(TEXT), 4, 2)

    assert expected == ((GUESS, 10), (GUESS, 8))
