"""A mirror's streamed answer beside the client's own: compared when both are over, and never waited for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.plans.said import MOST, Kept, said_in_stream
from dispatch.replies import framed
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.hosted import Hosted, until
from tests.integration.models import Model, config
from tests.integration.peer import Peer, chat, post
from tests.integration.test_cascades import text_of
from tests.integration.test_splits import record
from tests.integration.upstream import Line, Upstream, chunk, delta, stream_head

if TYPE_CHECKING:
    from tests.integration.peer import Reply

SHADOW = {"shadow": {"plan": "a", "mirror": "b"}}
STREAMS = Path(__file__).parents[1] / "fixtures" / "streams"


async def compared(hosted: Hosted, reply: Reply) -> dict[str, Any]:
    """What the record says once both answers are read."""
    for call, *_ in hosted.reports:
        call.attempts += 1  # the mirror's own try is on the board, and in no client's report
    async with Peer(hosted.port) as peer:
        while True:
            details = (await record(peer, reply.headers["x-dispatch-decision"]))["steps"][0]["details"]
            if "same" in details:
                return dict(details)
            await asyncio.sleep(0.01)


async def ask(one: Model, two: Model, **fields: Any) -> tuple[Reply, dict[str, Any]]:
    async with Hosted(config(SHADOW, one, two)) as hosted:
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(chat("m", "hi", **fields))
        return reply, await compared(hosted, reply)


@pytest.mark.anyio
async def test_two_streams_that_say_the_same_are_told_as_such() -> None:
    async with Model("hello") as one, Model("hello") as two:
        reply, found = await ask(one, two, stream=True)

        assert text_of(reply) == "hello"
        assert found["same"] is True
        assert [found[who]["stream"] for who in ("plan", "mirror")] == [True, True]
        assert [found[who]["endpoint"] for who in ("plan", "mirror")] == ["a", "b"]
        assert found["plan"]["bytes"] == found["mirror"]["bytes"] == len("hello")
        assert 0 < found["mirror"]["first_ms"] <= found["mirror"]["duration_ms"]


@pytest.mark.anyio
async def test_two_streams_that_differ_are_told_as_such() -> None:
    async with Model("hello") as one, Model("hello!") as two:
        reply, found = await ask(one, two, stream=True)

        assert text_of(reply) == "hello"
        assert found["same"] is False


@pytest.mark.anyio
async def test_a_mirror_that_breaks_is_no_equal() -> None:
    async with Model("hello") as one, Model(500) as two:
        reply, found = await ask(one, two, stream=True)

        assert text_of(reply) == "hello"
        assert (found["same"], found["mirror"]["outcome"]) == (False, "upstream_error")


@pytest.mark.anyio
async def test_the_stream_of_a_client_is_over_while_its_mirror_still_thinks() -> None:
    thought = asyncio.Event()

    async def slowly(_: dict[str, Any]) -> str:
        await thought.wait()
        return "hello"

    async with Model("hello") as one, Model(slowly) as two, Hosted(config(SHADOW, one, two)) as hosted:
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(chat("m", "hi", stream=True))
        assert text_of(reply) == "hello"
        thought.set()
        assert (await compared(hosted, reply))["same"] is True


@pytest.mark.anyio
async def test_of_a_stream_that_is_too_long_nothing_is_kept() -> None:
    long = "word" * (MOST // 4)
    async with Model(long) as one, Model(long) as two:
        reply, found = await ask(one, two, stream=True)

        assert text_of(reply) == long
        assert (found["same"], found["plan"]["outcome"], found["mirror"]["outcome"]) == (False, "too_long", "too_long")


@pytest.mark.anyio
async def test_a_client_that_leaves_leaves_nothing_behind() -> None:
    """Its call ends without a word to its sink; the mirror's goes on to its own end."""
    async with Upstream(begin) as one, Model(None) as two, Hosted(config(SHADOW, one, two, deadline_s=1)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat("m", "hi", stream=True))
        await peer.until(b"begun")
        peer.reset()
        await until(lambda: hosted.reports and not hosted.dispatcher.watch)
        for call, *_ in hosted.reports:
            call.attempts += 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]}),
        ("/v1beta/models/m:streamGenerateContent?alt=sse", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
        ("/api/chat", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
    ],
)
async def test_streams_are_compared_at_every_door(path: str, body: dict[str, Any]) -> None:
    async with Model("hellothere") as one, Model("hellothere") as two, Hosted(config(SHADOW, one, two)) as hosted:
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(post(json.dumps(body).encode(), path=path))
        assert reply.status == 200, reply
        found = await compared(hosted, reply)
        assert (found["same"], found["plan"]["bytes"]) == (True, len("hellothere")), found


async def begin(line: Line) -> None:
    """A stream that begins, and does not end."""
    await line.request()
    await line.send(stream_head() + chunk(delta("begun")))
    await line.gone()


@given(st.data(), st.sampled_from([("chat.sse", "chat"), ("anthropic.sse", "messages"), ("responses.sse", "responses")]))
def test_how_a_stream_was_cut_and_framed_does_not_matter(data: st.DataObject, case: tuple[str, str]) -> None:
    stream = (STREAMS / case[0]).read_bytes()
    kept = Kept()
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream)))
        kept.keep(framed(stream[at : at + size], True))
        at += size
    kept.keep(b"0\r\n\r\n")

    plain = said_in_stream(stream, case[1], is_chunked=False)
    assert plain
    assert said_in_stream(kept.release(), case[1], is_chunked=True) == plain
