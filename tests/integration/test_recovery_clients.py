"""Who pays for a stream that was taken over, how long it may take, and what its client sees of it."""

from __future__ import annotations

import json
from time import monotonic

import pytest
from dispatch import Client
from dispatch.config import build
from dispatch.errors import Failure, UpstreamError

from tests.integration.hosted import ENVIRON, Hosted, until
from tests.integration.peer import chat, events_of, post
from tests.integration.recovering import (
    DONE,
    END,
    TEXT,
    ask,
    asked,
    assert_one_answer,
    broken,
    recovering,
    stream,
    usage,
    words,
)
from tests.integration.test_stream_failures import text_of
from tests.integration.upstream import Line, Upstream, chunk, once, part, stream_head

pytestmark = pytest.mark.anyio


async def test_the_client_sees_the_usage_of_both_and_its_key_pays_for_what_was_delivered() -> None:
    async def script(line: Line) -> None:
        body = await asked(line)
        assert body["stream_options"] == {"include_usage": True}
        await line.send(stream_head() + b"".join(words("b", TEXT[15:])) + usage("b", 10, 6) + DONE + END)
        await line.gone()

    for recover in (("continue",), ("restart",)):
        whole = script if recover == ("continue",) else once(stream_head() + b"".join(words("b", TEXT)) + usage("b", 10, 6) + DONE + END)
        async with Upstream(once(broken(), then="fin")) as first, Upstream(whole) as second:
            config = recovering(first.base_url, second.base_url, prefill="prefix", recover=recover, keys=[])
            async with Hosted(config) as hosted:
                reply = await ask(hosted, stream_options={"include_usage": True})

                [told] = [event["usage"] for event in events_of(reply.body) if event != "[DONE]" and event.get("usage")]
                call = hosted.reports[0][0]
                before = len(TEXT[:15].encode()) // 4  # what was told before the break, by estimate
                assert told["completion_tokens"] == 6 + before
                assert told["prompt_tokens"] == 10 + call.tokens_in
                assert told["total_tokens"] == told["completion_tokens"] + told["prompt_tokens"]
                assert call.usage[:2] == ((10 - before, 6 + before) if recover == ("continue",) else (10, 6))
                # The sum is an estimate in the part that broke; what the key pays only where it was gone on with.
                assert b"\n: x-dispatch-estimated: true\n" in reply.body
                assert call.is_estimated is (recover == ("continue",))


async def test_usage_that_was_not_asked_for_is_not_shown() -> None:
    whole = once(stream_head() + b"".join(words("b", TEXT)) + usage("b", 10, 6) + DONE + END)
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(whole) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await ask(hosted)

        assert_one_answer(reply)
        assert b"usage" not in reply.body
        assert b"estimated" not in reply.body
        assert hosted.reports[0][0].usage[:2] == (10, 6)


async def test_the_deadline_holds_over_all_of_it() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(part(b"")) as second,
        Hosted(recovering(first.base_url, second.base_url, deadline_s=1.2)) as hosted,
    ):
        before = monotonic()
        reply = await ask(hosted)

        assert events_of(reply.body)[-1]["error"]["code"] == "deadline_exceeded"
        assert not reply.is_whole
        assert monotonic() - before < 5.5
        await second.until(lambda: second.left == 1)


async def test_a_client_that_leaves_amid_a_takeover_ends_it_upstream() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(part(stream_head() + words("b", TEXT)[1])) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await second.until(lambda: second.requests)
        peer.sock.close()

        await second.until(lambda: second.left == 1)
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})
        assert hosted.attempts("b") == {Failure.CANCELLED: 1}


async def test_a_client_waits_awake_while_another_answer_comes_up_with_it() -> None:
    async def slow(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + words("b", TEXT)[1])
        await until(lambda: waited)
        await line.send(b"".join(words("b", TEXT)[2:]) + DONE + END)
        await line.gone()

    waited: list[bytes] = []
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(slow) as second,
        Hosted(recovering(first.base_url, second.base_url, server={"keepalive_s": 0.2})) as hosted,
    ):
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        waited.append(await peer.until(b": waiting\n\n"))
        reply = await peer.reply()

        assert_one_answer(reply)


async def test_a_slow_client_pauses_whoever_gives_its_stream() -> None:
    text = "x" * 3_000_000
    first_part = b"".join(words("a", text[:1000], 1000)[:2])

    async def long(line: Line) -> None:
        await line.request()
        await line.send(stream_head())
        for one in words("b", text, 1000):
            await line.send(one)
        await line.send(DONE + END)
        await line.gone()

    async with (
        Upstream(once(stream_head() + first_part, then="fin")) as first,
        Upstream(long) as second,
        Hosted(recovering(first.base_url, second.base_url, stall_s=0.3)) as hosted,
    ):
        peer = await hosted.peer(receive_bytes=4096)
        await peer.send(chat(stream=True))
        await until(lambda: any(client.paused_ns for client in hosted.front.connections))
        [client] = hosted.front.connections
        paused_at = monotonic()
        # Longer than the stall limit: time is what is tested.
        await until(lambda: monotonic() - paused_at > 1.0)
        assert client.transport.get_write_buffer_size() < 1_000_000
        reply = await peer.reply()

        assert_one_answer(reply, text)


async def test_http_1_0_clients_are_served_the_same() -> None:
    async with (
        Upstream(once(broken(), then="fin")) as first,
        Upstream(once(stream("b"))) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await (await hosted.peer()).ask(chat(stream=True, version="1.0"))

        assert_one_answer(reply)


async def test_text_completions_are_taken_over_as_well() -> None:
    def texts(who: str, *parts: str) -> bytes:
        events = [
            {"id": who, "object": "text_completion", "choices": [{"index": 0, "text": part, "finish_reason": None}]} for part in parts
        ]
        return b"".join(chunk(b"data: " + json.dumps(one).encode() + b"\n\n") for one in events)

    stop = chunk(b'data: {"id":"b","choices":[{"index":0,"text":"","finish_reason":"stop"}]}\n\n')
    async with (
        Upstream(once(stream_head() + texts("a", "one ", "two "), then="fin")) as first,
        Upstream(once(stream_head() + texts("b", "one two", " three") + stop + DONE + END)) as second,
        Hosted(recovering(first.base_url, second.base_url)) as hosted,
    ):
        reply = await (await hosted.peer()).ask(post(b'{"model":"m","prompt":"count","stream":true}', path="/v1/completions"))

        assert "".join(event["choices"][0]["text"] for event in events_of(reply.body)[:-1]) == "one two three"
        assert reply.is_whole


async def test_the_library_gets_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", ENVIRON["UP_KEY"])
    for answer, is_whole in (("", False), (TEXT, True)):
        async with (
            Upstream(once(broken(), then="fin")) as first,
            Upstream(once(stream("b", answer))) as second,
            Client(build(recovering(first.base_url, second.base_url), ENVIRON)) as client,
        ):
            got = []
            try:
                async for delta in client.stream("m", "hi"):
                    got.append(delta.text)  # noqa: PERF401  # what came before the error counts, too
            except UpstreamError:
                assert not is_whole
            else:
                assert is_whole
            assert "".join(got) == (TEXT if is_whole else TEXT[:15])


# Recovery and holding together.


async def test_a_stream_that_is_held_for_some_tokens_is_taken_over_after_them() -> None:
    async with Upstream(once(broken("a", 6), then="fin")) as first, Upstream(once(stream("b"))) as second:
        async with Hosted(recovering(first.base_url, second.base_url, commit={"after_tokens": 2})) as hosted:
            assert_one_answer(await ask(hosted))
        async with Hosted(recovering(first.base_url, second.base_url, commit={"after_tokens": 50})) as hosted:
            reply = await ask(hosted)

            assert text_of(reply) == TEXT
            assert b"x-dispatch-recovered" not in reply.body
            assert {event["id"] for event in events_of(reply.body)[:-1]} == {"id-b"}
