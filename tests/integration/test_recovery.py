"""Streams that break after the client has content and are begun anew by another endpoint: the client sees one answer, or an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import Reply, events_of
from tests.integration.recovering import (
    DONE,
    END,
    TEXT,
    ask,
    assert_half,
    assert_one_answer,
    broken,
    recovering,
    stream,
    tools,
    words,
)
from tests.integration.test_stream_failures import AFTER, text_of
from tests.integration.upstream import Upstream, chunk, once, stream_head

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", [name for name in AFTER if AFTER[name][1] is not None])
async def test_however_a_stream_breaks_one_that_begins_alike_goes_on_with_it(name: str) -> None:
    script, failure = AFTER[name]
    rest = once(stream("b", "half and the other"))
    async with (
        Upstream(script) as first,
        Upstream(rest) as second,
        Hosted(recovering(first.base_url, second.base_url, stall_s=0.2)) as hosted,
    ):
        reply = await ask(hosted)

        assert text_of(reply) == "half and the other"
        assert reply.is_whole
        assert b": x-dispatch-recovered: restart b\n: x-dispatch-endpoint: b\n: x-dispatch-attempts: 2\n\n" in reply.body
        assert hosted.attempts() == {failure: 1}
        assert hosted.attempts("b") == {Failure.NONE: 1}
        assert hosted.outcomes() == {Failure.NONE: 1}


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_another_answer_is_aligned_however_its_text_is_cut(size: int) -> None:
    for events in range(2, len(words("a", TEXT))):
        async with (
            Upstream(once(broken("a", events), then="fin")) as first,
            Upstream(once(stream("b", size=size))) as second,
            Hosted(recovering(first.base_url, second.base_url)) as hosted,
        ):
            reply = await ask(hosted)

            assert_one_answer(reply)
            assert {event["model"] for event in events_of(reply.body)[:-1]} == {"model-a", "model-b"}


@pytest.mark.parametrize("text", ["Something else", TEXT[:7], "", TEXT.replace("Grüße", "Grusse")])
async def test_an_answer_that_does_not_begin_with_what_was_told_is_never_passed_on(text: str) -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b", text))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await ask(hosted)

        assert_half(reply)
        assert text_of(reply) == TEXT[:15]
        assert len(second.requests) == 1
        assert Failure.NONE not in hosted.outcomes()


async def test_the_request_is_sent_again_as_it_was() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        await ask(hosted, temperature=0, unknown=[1, {"x": None}])

        bodies = [json.loads(upstream.requests[0].partition(b"\r\n\r\n")[2]) for upstream in (first, second)]
        assert [body.pop("model") for body in bodies] == ["up-a", "up-b"]
        assert bodies[0] == bodies[1]


async def test_a_second_break_is_taken_over_as_well_until_the_attempts_are_spent() -> None:
    scripts = [once(broken("a", 4), then="fin"), once(broken("b", 6), then="rst"), once(stream("c"))]
    async with Upstream(scripts[0]) as first, Upstream(scripts[1]) as second, Upstream(scripts[2]) as third:
        urls = first.base_url, second.base_url, third.base_url
        async with Hosted(recovering(*urls)) as hosted:
            reply = await ask(hosted)

            assert_one_answer(reply)
            assert hosted.reports[0][0].attempts == 3
        async with Hosted(recovering(*urls, retry={"attempts": 2})) as hosted:
            reply = await ask(hosted)

            assert_half(reply)
            assert text_of(reply) == TEXT[:25]


async def test_the_endpoint_that_broke_is_asked_again_only_where_there_is_no_other() -> None:
    once_broken, fine = once(broken(), then="fin"), once(stream("b"))
    async with Upstream(once_broken, fine) as alone, Hosted(recovering(alone.base_url)) as hosted:
        assert_one_answer(await ask(hosted))
        assert len(alone.requests) == 2
    async with (
        Upstream(once_broken) as first,
        Upstream(once_broken) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await ask(hosted)
        assert_half(reply)
        assert (len(first.requests), len(second.requests)) in {(2, 1), (1, 2)}


async def test_the_next_step_of_a_fallback_takes_a_stream_over() -> None:
    async with Upstream(once(broken(), then="fin")) as first, Upstream(once(stream("b"))) as second:
        config = recovering(first.base_url, second.base_url)
        config["models"]["m"] = {"fallback": ["a", "b"], "recover": ["restart"], "retry": {"attempts": 1}}
        async with Hosted(config) as hosted:
            reply = await ask(hosted)

            assert_one_answer(reply)
            assert hosted.reports[0][0].endpoint == "b"
            assert hosted.attempts("b") == {Failure.NONE: 1}


async def test_without_recover_nothing_of_this_happens() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(pool(first.base_url, second.base_url)) as hosted,
    ):
        assert_half(await ask(hosted))
        assert second.requests == []


@pytest.mark.parametrize("fields", [{"n": 2}, {"logprobs": True}])
async def test_what_cannot_be_compared_is_not_taken_over(fields: dict[str, Any]) -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        assert_half(await ask(hosted, **fields))
        assert second.requests == []


async def test_what_is_the_requests_own_fault_is_not_asked_again() -> None:
    veto = chunk(b'data: {"error":{"message":"no","type":"invalid_request_error","code":"content_filter"}}\n\n')
    async with (
        Upstream(once(broken() + veto + END)) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        assert_half(await ask(hosted))
        assert second.requests == []


def calls_of(reply: Reply) -> list[list[str]]:
    found: dict[int, list[str]] = {}
    for one in events_of(reply.body):
        for call in one["choices"][0]["delta"].get("tool_calls") or () if isinstance(one, dict) and one.get("choices") else ():
            row = found.setdefault(call["index"], ["", "", ""])
            parts = call.get("id"), call["function"].get("name"), call["function"].get("arguments")
            row[:] = [old + (new or "") for old, new in zip(row, parts, strict=True)]
    return [found[index] for index in sorted(found)]


@pytest.mark.parametrize("events", range(2, 7))
async def test_half_a_tool_call_is_restarted_and_aligned_and_never_continued(events: int) -> None:
    half = stream_head() + b"".join(tools("a")[:events])
    whole = stream_head() + b"".join(tools("b")) + DONE + END
    async with Upstream(once(half, then="fin")) as first, Upstream(once(whole)) as second:
        config = recovering(first.base_url, second.base_url, prefill="prefix", recover=("continue", "restart"))
        async with Hosted(config) as hosted:
            reply = await ask(hosted, tools=[{"type": "function", "function": {"name": "f"}}])

            calls = calls_of(reply)
            assert calls[0] == ["call-a-0", "f", '{"city": "Zürich"}']
            assert calls[1][1:] == ["g", '{"n":1}']
            assert calls[1][0] in {"call-a-1", "call-b-1"}
            assert reply.is_whole
            assert b"prefix" not in second.requests[0]


async def test_another_tool_call_is_no_rest_of_this_one() -> None:
    half = stream_head() + b"".join(tools("a")[:3])
    other = stream_head() + b"".join(tools("b", "h")) + DONE + END
    async with (
        Upstream(once(half, then="fin")) as first,
        Upstream(once(other)) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await ask(hosted)

        assert calls_of(reply) == [["call-a-0", "f", '{"city"']]
        assert not reply.is_whole
