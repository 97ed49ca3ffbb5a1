"""Held and recovered streams beside everything else that stands between a pool and its client: hedges, translation, limits, reloads."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from dispatch import Client
from dispatch.config import build
from dispatch.errors import Draining, Failure

from tests.integration.hosted import ENVIRON, Hosted, until
from tests.integration.peer import chat, events_of, post
from tests.integration.recovering import DONE, END, TEXT, asked, assert_one_answer, broken, recovering, stream, words
from tests.integration.test_stream_failures import text_of
from tests.integration.upstream import Line, Upstream, chunk, hang, once, part, stream_head

pytestmark = pytest.mark.anyio


async def test_a_hedge_that_wins_and_breaks_is_taken_over() -> None:
    async with (
        Upstream(hang) as slow,
        Upstream(once(broken(), then="fin")) as second,
        Upstream(once(stream("b"))) as third,
        Hosted(
            recovering(slow.base_url, second.base_url, third.base_url, hedge={"after": 0.02, "max_share": 1, "max_cost_share": 1})
        ) as hosted,
    ):
        reply = await (await hosted.peer()).ask(chat(stream=True))

        assert_one_answer(reply)
        await slow.until(lambda: slow.left == 1)
        assert hosted.outcomes() == {Failure.NONE: 1}
        # The hedge, the late one, and who took over.
        assert hosted.reports[0][0].attempts == 3


async def test_hedged_streams_can_be_held_whole() -> None:
    async with (
        Upstream(hang) as slow,
        Upstream(once(stream("a"))) as second,
        Hosted(
            recovering(
                slow.base_url, second.base_url, recover=(), commit="whole", hedge={"after": 0.02, "max_share": 1, "max_cost_share": 1}
            )
        ) as hosted,
    ):
        assert_one_answer(await (await hosted.peer()).ask(chat(stream=True)))


def message_event(kind: str, **fields: Any) -> bytes:
    return chunk(f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode())


def claude(text: str) -> bytes:
    start = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    parts = [text[at : at + 7] for at in range(0, len(text), 7)]
    return b"".join(
        [
            stream_head(),
            message_event("message_start", message=start),
            message_event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            *(message_event("content_block_delta", index=0, delta={"type": "text_delta", "text": part}) for part in parts),
            message_event("content_block_stop", index=0),
            message_event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 9}),
            message_event("message_stop"),
            END,
        ]
    )


@pytest.mark.parametrize("way", ["restart", "continue"])
@pytest.mark.parametrize("events", [2, 5, 9])
async def test_an_endpoint_of_another_dialect_takes_a_stream_over(way: str, events: int) -> None:
    told = TEXT[: (events - 1) * 5].rstrip()

    async def script(line: Line) -> None:
        body = await asked(line)
        last = body["messages"][-1]
        assert last["role"] == ("assistant" if way == "continue" else "user")
        if way == "continue":
            assert last["content"] in (told, [{"type": "text", "text": told}])
        await line.send(claude(TEXT[len(told) :] if way == "continue" else TEXT))
        await line.gone()

    async with Upstream(once(broken("a", events), then="fin")) as first, Upstream(script) as second:
        config = recovering(first.base_url, second.base_url, recover=(way,))
        config["endpoints"][1] |= {
            "provider": "anthropic",
            "base_url": second.base_url.removesuffix("/v1"),
            "capabilities": {"prefill": "assistant"},
        }
        async with Hosted(config) as hosted:
            reply = await (await hosted.peer()).ask(chat(stream=True))

            assert_one_answer(reply)


async def test_anthropics_door_holds_streams_too() -> None:
    half = stream_head() + claude(TEXT).partition(b"\r\n\r\n")[2][:700]
    async with Upstream(once(half, then="fin")) as first, Upstream(once(claude(TEXT))) as second:
        config = recovering(first.base_url, second.base_url, recover=(), commit="whole")
        for endpoint, upstream in zip(config["endpoints"], (first, second), strict=True):
            endpoint |= {"provider": "anthropic", "base_url": upstream.base_url.removesuffix("/v1")}
        async with Hosted(config) as hosted:
            body = {"model": "m", "max_tokens": 50, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            reply = await (await hosted.peer()).ask(post(json.dumps(body).encode(), path="/v1/messages"))

            deltas = [one["delta"]["text"] for one in events_of(reply.body) if one["type"] == "content_block_delta"]
            assert "".join(deltas) == TEXT
            assert reply.is_whole


async def test_a_reload_amid_a_takeover_changes_nothing_for_it() -> None:
    async def slow(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + b"".join(words("b", TEXT)[:2]))
        await until(lambda: reloaded)
        await line.send(b"".join(words("b", TEXT)[2:]) + DONE + END)
        await line.gone()

    reloaded: list[bool] = []
    async with Upstream(once(broken(), then="fin")) as first, Upstream(slow) as second:
        config = recovering(first.base_url, second.base_url)
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            await peer.send(chat(stream=True))
            await second.until(lambda: second.requests)
            hosted.reload({**config, "models": {"m": {"endpoints": ["a"]}}})
            reloaded.append(True)

            assert_one_answer(await peer.reply())


async def test_the_built_in_model_streams_through_it_as_well() -> None:
    config: dict[str, Any] = {
        "endpoints": [{"name": "e", "provider": "echo"}],
        "models": {"m": {"endpoints": ["e"], "commit": "whole", "recover": ["restart"]}},
    }
    async with Hosted(config) as hosted:
        reply = await (await hosted.peer()).ask(chat("m", "say this", stream=True))

        assert "say this" in text_of(reply)
        assert reply.is_whole


async def test_all_that_follow_one_stream_get_it_taken_over() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url, coalesce=True)) as hosted,
    ):
        peers = [await hosted.peer() for _ in range(3)]
        for reply in await asyncio.gather(*(peer.ask(chat(stream=True, temperature=0)) for peer in peers)):
            assert_one_answer(reply)


async def test_a_client_of_the_library_that_closes_ends_a_takeover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", ENVIRON["UP_KEY"])
    async with Upstream(once(broken(), then="fin")) as first, Upstream(part(b"")) as second:
        async with Client(build(recovering(first.base_url, second.base_url), ENVIRON)) as client:
            deltas = client.stream("m", "hi")
            await anext(deltas)
            await second.until(lambda: second.requests)
        with pytest.raises(Draining):
            _ = [delta async for delta in deltas]
        await second.until(lambda: second.left == 1)
