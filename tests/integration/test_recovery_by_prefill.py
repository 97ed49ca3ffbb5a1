"""Streams that break and are gone on with by an endpoint that is given what was told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.hosted import Hosted
from tests.integration.peer import chat
from tests.integration.recovering import (
    DONE,
    END,
    TEXT,
    ask,
    asked,
    assert_half,
    assert_one_answer,
    broken,
    continuing,
    event,
    last_message,
    recovering,
    stream,
    words,
)
from tests.integration.test_stream_failures import text_of
from tests.integration.upstream import Line, Upstream, once, stream_head

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["prefix", "prefix_echoed", "continue_final_message", "assistant"])
@pytest.mark.parametrize("events", range(2, len(words("a", TEXT))))
async def test_an_endpoint_that_can_goes_on_where_the_text_ends(kind: str, events: int) -> None:
    seen: list[dict[str, Any]] = []
    async with (
        Upstream(once(broken("a", events), then="fin")) as first,
        Upstream(continuing(last_message, seen, kind == "prefix_echoed")) as second,
        Hosted(recovering(first.base_url, second.base_url, prefill=kind, recover=("continue",))) as hosted,
    ):
        reply = await ask(hosted, max_tokens=100)

        assert_one_answer(reply)
        assert b": x-dispatch-recovered: continue b\n" in reply.body
        [body] = seen
        told = TEXT[: (events - 1) * 5]
        assert last_message(body) == (told.rstrip() if kind == "assistant" else told)
        assert body["messages"][-1].get("prefix", False) == (kind in {"prefix", "prefix_echoed"})
        assert body.get("continue_final_message", False) == (kind == "continue_final_message")
        assert body.get("add_generation_prompt", True) == (kind != "continue_final_message")
        assert body["max_tokens"] < 100
        assert body["model"] == "up-b"


async def test_a_model_that_rejects_prefill_is_never_sent_one() -> None:
    """Only `c` can; `b` is asked nothing, not even when `c` refuses."""
    refuses = once(b"HTTP/1.1 400 No\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
    async with Upstream(once(broken(), then="fin")) as first, Upstream(once(stream("b"))) as second, Upstream(refuses) as third:
        config = recovering(first.base_url, second.base_url, third.base_url, recover=("continue",))
        config["endpoints"][2]["capabilities"] = {"prefill": "assistant"}
        async with Hosted(config) as hosted:
            reply = await ask(hosted)

            assert_half(reply)
            assert second.requests == []
            assert len(third.requests) == 1


async def test_where_nobody_can_continue_the_answer_is_restarted() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url, recover=("continue", "restart"))) as hosted,
    ):
        reply = await ask(hosted)

        assert_one_answer(reply)
        assert b": x-dispatch-recovered: restart b\n" in reply.body


async def test_a_refused_continuation_is_followed_by_a_restart() -> None:
    async def picky(line: Line) -> None:
        while True:
            body = await asked(line)
            if body["messages"][-1]["role"] == "assistant":
                await line.send(b"HTTP/1.1 400 No\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            else:
                await line.send(stream("b"))

    async with Upstream(once(broken(), then="fin")) as first, Upstream(picky) as second:
        config = recovering(first.base_url, second.base_url, prefill="assistant", recover=("continue", "restart"))
        async with Hosted(config) as hosted:
            assert_one_answer(await ask(hosted))
            assert len(second.requests) == 2


async def test_thought_that_broke_before_any_text_and_a_format_are_not_continued() -> None:
    thought = stream_head() + event("a", {"role": "assistant", "reasoning_content": "Let me"})
    whole = (
        stream_head()
        + event("b", {"reasoning_content": "Let me think"})
        + event("b", {"content": TEXT})
        + event("b", {}, "stop")
        + DONE
        + END
    )
    async with Upstream(once(thought, then="fin")) as first, Upstream(once(whole)) as second:
        config = recovering(first.base_url, second.base_url, prefill="prefix", recover=("continue", "restart"))
        async with Hosted(config) as hosted:
            assert text_of(await ask(hosted)) == TEXT
            assert b"prefix" not in second.requests[0]
    async with Upstream(once(broken(), then="fin")) as first, Upstream(once(stream("b"))) as second:
        config = recovering(first.base_url, second.base_url, prefill="prefix", recover=("continue", "restart"))
        async with Hosted(config) as hosted:
            assert_one_answer(await ask(hosted, response_format={"type": "json_object"}))
            assert b"prefix" not in second.requests[0]


async def test_headers_travel_with_a_continuation_but_not_the_name_of_another_execution() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(continuing(last_message, [])) as second,
        Hosted(recovering(first.base_url, second.base_url, prefill="prefix", recover=("continue",))) as hosted,
    ):
        peer = await hosted.peer()
        await peer.ask(chat("m", "hi", "traceparent: 00-1-2-03", "idempotency-key: k", stream=True))

        assert b"idempotency-key: k\r\n" in first.requests[0]
        assert b"traceparent: 00-1-2-03\r\n" in second.requests[0]
        assert b"idempotency-key" not in second.requests[0]
