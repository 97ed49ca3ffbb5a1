"""What users of other gateways reported about streams that break after their first token. Each test is named after its thread."""

from __future__ import annotations

from typing import Any

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import chat, events_of
from tests.integration.recovering import DONE, END, TEXT, assert_one_answer, broken, event, recovering, stream, words
from tests.integration.test_stream_failures import text_of
from tests.integration.upstream import Line, Upstream, chunk, once, part, stream_head

pytestmark = pytest.mark.anyio

MALFORMED = chunk(b'data: {"choices":[{"index":0,"delta":{"content":"Gr\n\n')
ERROR = chunk(b'data: {"error":{"message":"overloaded","code":503}}\n\n')
BREAKS = {
    "cut": once(broken(), then="fin"),
    "reset": once(broken(), then="rst"),
    "stalled": part(broken()),
    "error event": once(broken() + ERROR + END),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_litellm_40404_a_stream_that_breaks_reaches_the_configured_fallback(name: str) -> None:
    async with Upstream(BREAKS[name]) as first, Upstream(once(stream("b"))) as second:
        config = recovering(first.base_url, second.base_url)
        config["models"]["m"] = {"fallback": ["a", "b"], "recover": ["restart"], "retry": {"attempts": 1}, "stall_s": 0.2}
        async with Hosted(config) as hosted:
            reply = await (await hosted.peer()).ask(chat(stream=True))

            assert_one_answer(reply)
            assert hosted.attempts("b") == {Failure.NONE: 1}


async def test_litellm_40404_one_malformed_event_does_not_end_a_healthy_stream() -> None:
    data = stream_head() + words("a", TEXT)[0] + MALFORMED + b"".join(words("a", TEXT)[1:]) + DONE + END
    async with (
        Upstream(once(data)) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await (await hosted.peer()).ask(chat(stream=True))

        assert_one_answer(reply)
        assert second.requests == []


async def test_portkey_1797_half_an_answer_never_looks_complete() -> None:
    """Nobody can take it over: the client is told so, by an event and by an end that is not clean."""
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b", "Another answer"))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await (await hosted.peer()).ask(chat(stream=True))

        assert TEXT.startswith(text_of(reply))
        assert events_of(reply.body)[-1]["error"]["code"] == "upstream_error"
        assert b"[DONE]" not in reply.body
        assert not reply.is_whole


@pytest.mark.parametrize("setting", [{"commit": "whole"}, {"recover": ["restart"]}], ids=["held", "recovering"])
async def test_bifrost_5111_a_silent_reasoning_stream_keeps_its_client_awake(setting: dict[str, Any]) -> None:
    async def thinks(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + event("a", {"role": "assistant", "reasoning_content": "Let me think"}))
        await until(lambda: awake)
        await line.send(b"".join(words("a", TEXT)[1:]) + DONE + END)
        await line.gone()

    awake: list[bytes] = []
    async with Upstream(thinks) as upstream, Hosted(pool(upstream.base_url, server={"keepalive_s": 0.2}, **setting)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        awake.append(await peer.until(b": waiting\n\n"))
        reply = await peer.reply()

        assert text_of(reply) == TEXT
        assert reply.is_whole


async def test_litellm_13774_a_client_that_leaves_ends_both_streams_upstream() -> None:
    async with (
        Upstream(part(broken())) as first,
        Upstream(part(stream_head())) as second,
        Hosted(recovering(first.base_url, second.base_url, stall_s=0.2, first_token_s=60)) as hosted,
    ):
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await second.until(lambda: second.requests)
        peer.sock.close()

        await first.until(lambda: first.left == 1)
        await second.until(lambda: second.left == 1)
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})
