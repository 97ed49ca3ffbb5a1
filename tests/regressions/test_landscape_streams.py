"""What users of other gateways reported about streams and their ends. Each test is named after its thread."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import chat, events_of
from tests.integration.test_stream_failures import text_of
from tests.integration.upstream import ERROR, Line, Upstream, answer, chunk, delta, hang, head, once, part, stream_head

if TYPE_CHECKING:
    from tests.integration.upstream import Script

pytestmark = pytest.mark.anyio

DONE = chunk(b"data: [DONE]\n\n")
END = b"0\r\n\r\n"
GOOD = once(stream_head() + delta(None) + delta("good") + delta("", "stop") + DONE + END)
BREAKS: dict[str, Script] = {
    "429": once(answer(ERROR, 429)),
    "500": once(answer(ERROR, 500)),
    "401": once(answer(ERROR, 401)),
    "cut before content": once(stream_head() + delta(None), then="rst"),
    "error event before content": once(stream_head() + delta(None) + chunk(b'data: {"error":{"message":"x","code":500}}\n\n') + END),
    "silent before content": part(stream_head() + delta(None)),
    "no stream but HTML": once(answer(b"<html></html>", content_type="text/html")),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_litellm_28216_25843_fallbacks_are_kept_when_streaming(name: str) -> None:
    async with Upstream(BREAKS[name]) as first, Upstream(GOOD) as second:
        config = pool(first.base_url, second.base_url)
        config["models"]["m"] = {"fallback": ["a", "b"], "retry": {"attempts": 1}, "first_token_s": 0.2}
        async with Hosted(config) as hosted:
            reply = await (await hosted.peer()).ask(chat(stream=True))

            assert text_of(reply) == "good"
            assert (reply.is_whole, reply.headers["x-dispatch-endpoint"]) == (True, "b")


BAD_LINES = [
    b"data: {\n\n",
    b'data: {"choices":[{"index":0,"delta":{"content":"x\n\n',
    b"data: not JSON\n\n",
    b"data:\n\n",
    b'data: {"choices":[]} trailing\n\n',
    b'data: {"a":"\xff\xfe"}\n\n',
]


@pytest.mark.parametrize("line", BAD_LINES)
async def test_litellm_40404_one_bad_line_does_not_kill_a_healthy_stream(line: bytes) -> None:
    data = stream_head() + delta("al") + chunk(line) + delta("l") + delta("", "stop") + DONE + END
    async with Upstream(once(data)) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        reply = await (await hosted.peer()).ask(chat(stream=True))

        assert (text_of(reply), reply.is_whole) == ("all", True)
        assert line.strip() not in reply.body.split(b"\n")
        metrics = await hosted.metrics()
        assert metrics["dispatch_stream_events_dropped_total", frozenset({("endpoint", "a")})] == 1


CUTS = {
    "in chunks, FIN": (stream_head() + delta("half"), "fin"),
    "in chunks, RST": (stream_head() + delta("half"), "rst"),
    "last chunk without finish": (stream_head() + delta("half") + END, "keep"),
    "without framing": (head(content_type="text/event-stream") + delta("half")[4:-2], "fin"),
    "by length": (head(200, "content-length: 4000", content_type="text/event-stream") + delta("half")[4:-2], "fin"),
}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("name", CUTS)
async def test_portkey_1797_a_cut_stream_does_not_look_complete(name: str, version: str) -> None:
    data, then = CUTS[name]
    async with Upstream(once(data, then=then)) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(chat(stream=True, version=version))

        assert b"[DONE]" not in reply.body
        assert "error" in events_of(reply.body)[-1]
        assert (reply.is_whole, peer.end) == (False, "fin" if version == "1.1" else "rst")
        assert hosted.outcomes() == {Failure.BROKEN: 1}


@pytest.mark.parametrize("stream", [True, False])
async def test_litellm_13774_37140_when_the_client_leaves_its_provider_stops(stream: bool) -> None:
    script = part(stream_head() + delta("half")) if stream else hang
    async with Upstream(script) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=stream))
        if stream:
            await peer.until(b"half")
        await upstream.until(lambda: upstream.requests)
        peer.sock.close()

        await upstream.until(lambda: upstream.left == 1)
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})


async def test_bifrost_2786_tool_arguments_are_passed_on_as_they_come() -> None:
    """Each piece is sent only after the client has the one before it."""
    texts = ['{"city"', ': "Par', 'is"}']
    seen = asyncio.Semaphore(0)

    def event(finish: str | None, **fields: Any) -> bytes:
        choice = {"index": 0, "delta": {"tool_calls": [{"index": 0, **fields}]} if fields else {}, "finish_reason": finish}
        return chunk(b"data: " + json.dumps({"id": "c1", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n")

    async def script(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + event(None, id="call_1", type="function", function={"name": "f", "arguments": ""}))
        for text in texts:
            await seen.acquire()
            await line.send(event(None, function={"arguments": text}))
        await seen.acquire()
        await line.send(event("tool_calls") + DONE + END)
        await line.gone()

    async with Upstream(script) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await peer.until(b"call_1")
        for text in texts:
            seen.release()
            assert json.dumps(text).encode() in await peer.until(json.dumps(text).encode())
        seen.release()
        reply = await peer.reply()

        # Bifrost 3638, 6123: agents stop where this is told as "stop".
        assert events_of(reply.body)[-2]["choices"][0]["finish_reason"] == "tool_calls"
        assert reply.is_whole


@pytest.mark.parametrize("stream", [True, False])
async def test_bifrost_4679_a_truncated_answer_says_so(stream: bool) -> None:
    whole: dict[str, Any] = {"id": "c1", "object": "chat.completion", "model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    whole["choices"] = [{"index": 0, "message": {"role": "assistant", "content": "hel"}, "finish_reason": "length"}]
    script = once(stream_head() + delta("hel") + delta(None, "length") + DONE + END if stream else answer(whole))
    async with Upstream(script) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        reply = await (await hosted.peer()).ask(chat(stream=stream))
        last = events_of(reply.body)[-2] if stream else json.loads(reply.body)

        assert last["choices"][0]["finish_reason"] == "length"
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_bifrost_5111_a_stream_that_thinks_for_long_gives_signs_of_life() -> None:
    release = asyncio.Event()

    async def thinking(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + delta(None))
        await release.wait()
        await line.send(delta("good") + delta("", "stop") + DONE + END)
        await line.gone()

    async with Upstream(thinking) as upstream, Hosted(pool(upstream.base_url, server={"keepalive_s": 0.2})) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await peer.until(b": waiting\n\n")
        release.set()

        assert text_of(await peer.reply()) == "good"
