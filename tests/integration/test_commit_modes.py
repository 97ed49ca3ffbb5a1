"""Streams that are held back until they can be trusted: `commit: whole` and `commit: {after_tokens: n}`."""

from __future__ import annotations

from typing import Any

import pytest
from dispatch import Client
from dispatch.config import build
from dispatch.errors import Failure, UpstreamError

from tests.integration.hosted import ENVIRON, Hosted, pool, until
from tests.integration.peer import Reply, chat, events_of, post
from tests.integration.test_stream_failures import AFTER, DONE, END, FINISH, GOOD, ROLE, text_of
from tests.integration.upstream import ANSWER, Line, Upstream, answer, chunk, delta, once, part, stream_head

pytestmark = pytest.mark.anyio

HALF = once(stream_head() + ROLE + delta("half"), then="fin")


async def ask(hosted: Hosted, **fields: Any) -> Reply:
    return await (await hosted.peer()).ask(chat(stream=True, **fields))


@pytest.mark.parametrize("name", [name for name in AFTER if AFTER[name][1] is not None])
async def test_whatever_breaks_a_held_stream_another_endpoint_answers_and_the_half_is_never_seen(name: str) -> None:
    script, failure = AFTER[name]
    async with (
        Upstream(script) as broken,
        Upstream(GOOD) as good,
        Hosted(pool(broken.base_url, good.base_url, stall_s=0.2, commit="whole")) as hosted,
    ):
        reply = await ask(hosted)

        assert (text_of(reply), reply.is_whole) == ("good", True)
        assert b"half" not in reply.body
        assert events_of(reply.body).count("[DONE]") == 1
        assert (reply.headers["x-dispatch-endpoint"], reply.headers["x-dispatch-attempts"]) == ("b", "2")
        assert hosted.attempts() == {failure: 1}
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_when_nobody_gives_a_whole_stream_the_error_is_an_answer_of_its_own() -> None:
    async with Upstream(HALF) as broken, Hosted(pool(broken.base_url, commit="whole", retry={"attempts": 2, "base_s": 0.001})) as hosted:
        reply = await ask(hosted)

        assert reply.code == (502, "upstream_error")
        assert len(broken.requests) == 2
        assert hosted.dispatcher.held_bytes == 0


async def test_the_next_step_of_a_fallback_answers_for_a_held_stream() -> None:
    async with Upstream(HALF) as broken, Upstream(GOOD) as good:
        config = pool(broken.base_url, good.base_url)
        config["models"]["m"] = {"fallback": ["a", "b"], "commit": "whole", "retry": {"attempts": 1}}
        async with Hosted(config) as hosted:
            reply = await ask(hosted)

            assert (text_of(reply), reply.headers["x-dispatch-endpoint"]) == ("good", "b")


async def test_a_held_stream_comes_whole_with_its_usage_and_nothing_before_its_end() -> None:
    async def slow(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + ROLE + delta("all"))
        await until(lambda: released)
        await line.send(FINISH + chunk(b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n') + DONE + END)
        await line.gone()

    released: list[bool] = []
    async with Upstream(slow) as upstream, Hosted(pool(upstream.base_url, commit="whole", server={"keepalive_s": 0.2})) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        early = await peer.until(b": waiting\n\n")
        assert b"all" not in early
        assert hosted.dispatcher.held_bytes > 0
        released.append(True)
        reply = await peer.reply()

        assert (text_of(reply), reply.is_whole) == ("all", True)
        assert b": x-dispatch-endpoint: a\n: x-dispatch-attempts: 1\n" in reply.body
        assert hosted.reports[0][0].usage[:2] == (3, 4)
        assert hosted.snapshot().endpoints["a"].tokens[1] == 4


async def test_after_some_tokens_the_stream_flows_and_before_them_it_can_be_taken_back() -> None:
    async def flows(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + ROLE + delta("one ") + delta("two "))
        await until(lambda: seen)
        await line.send(delta("three") + FINISH + DONE + END)
        await line.gone()

    seen: list[bytes] = []
    async with (
        Upstream(HALF) as broken,
        Upstream(flows) as good,
        Hosted(pool(broken.base_url, good.base_url, commit={"after_tokens": 2})) as hosted,
    ):
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        seen.append(await peer.until(b"two"))
        reply = await peer.reply()

        assert b"half" not in seen[0]
        assert text_of(reply) == "one two three"


async def test_a_stream_shorter_than_the_tokens_that_are_held_is_whole() -> None:
    async with Upstream(GOOD) as good, Hosted(pool(good.base_url, commit={"after_tokens": 100})) as hosted:
        reply = await ask(hosted)

        assert (text_of(reply), reply.is_whole) == ("good", True)


async def test_after_its_commit_such_a_stream_is_like_any_other() -> None:
    script = once(stream_head() + delta("a") + delta("b") + delta("c"), then="fin")
    async with (
        Upstream(script) as broken,
        Upstream(GOOD) as good,
        Hosted(pool(broken.base_url, good.base_url, commit={"after_tokens": 2})) as hosted,
    ):
        reply = await ask(hosted)

        assert text_of(reply) == "abc"
        assert events_of(reply.body)[-1]["error"]["code"] == "upstream_error"
        assert not reply.is_whole
        assert good.requests == []


async def test_a_held_stream_that_grows_too_long_is_an_error() -> None:
    script = part(stream_head() + delta("x" * 1000) * 100)
    async with Upstream(script) as upstream, Hosted(pool(upstream.base_url, server={"max_answer_bytes": 50_000}, commit="whole")) as hosted:
        assert (await ask(hosted)).code == (502, "upstream_error")
        await upstream.until(lambda: upstream.left == 1)
        assert hosted.dispatcher.held_bytes == 0


async def test_held_streams_share_the_buffers_of_their_worker() -> None:
    script = part(stream_head() + delta("x" * 1000) * 100)
    async with Upstream(script) as upstream, Hosted(pool(upstream.base_url, server={"buffer_bytes": 50_000}, commit="whole")) as hosted:
        assert (await ask(hosted)).code == (503, "buffers_full")
        await upstream.until(lambda: upstream.left == 1)
        assert hosted.dispatcher.held_bytes == 0


async def test_a_client_that_leaves_a_held_stream_ends_it_upstream() -> None:
    async with Upstream(part(stream_head() + delta("half"))) as upstream, Hosted(pool(upstream.base_url, commit="whole")) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await until(lambda: hosted.dispatcher.held_bytes)
        peer.sock.close()

        await upstream.until(lambda: upstream.left == 1)
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})
        assert hosted.attempts() == {Failure.CANCELLED: 1}
        assert hosted.dispatcher.held_bytes == 0


async def test_the_deadline_ends_a_held_stream_by_an_answer() -> None:
    async with (
        Upstream(part(stream_head() + delta("half"))) as upstream,
        Hosted(pool(upstream.base_url, commit="whole", deadline_s=0.3)) as hosted,
    ):
        assert (await ask(hosted)).code == (504, "deadline_exceeded")


@pytest.mark.parametrize("commit", ["whole", {"after_tokens": 3}])
async def test_an_endpoint_that_does_not_stream_answers_all_the_same(commit: Any) -> None:
    async with Upstream(once(answer(ANSWER))) as upstream, Hosted(pool(upstream.base_url, commit=commit)) as hosted:
        reply = await ask(hosted)

        assert reply.status == 200
        assert b"hello" in reply.body
        assert reply.headers["x-dispatch-attempts"] == "1"


async def test_http_1_0_clients_get_a_held_stream_without_chunks() -> None:
    async with Upstream(GOOD) as good, Hosted(pool(good.base_url, commit="whole")) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(chat(stream=True, version="1.0"))

        assert (text_of(reply), peer.end) == ("good", "fin")


async def test_the_responses_api_can_be_held_too() -> None:
    event = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"hi"}\n\n'
    last = b'event: response.completed\ndata: {"type":"response.completed","response":{}}\n\n'
    half = once(stream_head() + chunk(event) * 3, then="fin")
    async with (
        Upstream(half) as broken,
        Upstream(once(stream_head() + chunk(event) + chunk(last) + END)) as good,
        Hosted(pool(broken.base_url, good.base_url, commit={"after_tokens": 4})) as hosted,
    ):
        peer = await hosted.peer()
        reply = await peer.ask(post(b'{"model":"m","input":"hi","stream":true}', path="/v1/responses"))

        assert reply.is_whole
        assert reply.body == event + last


async def test_the_library_holds_streams_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", ENVIRON["UP_KEY"])
    async with Upstream(HALF) as broken, Upstream(GOOD) as good:
        config = pool(broken.base_url, good.base_url, commit="whole")
        async with Client(build(config, ENVIRON)) as client:
            assert "".join([delta.text async for delta in client.stream("m", "hi")]) == "good"
    async with Upstream(HALF) as broken, Client(build(pool(broken.base_url, commit="whole", retry={"attempts": 1}), ENVIRON)) as client:
        with pytest.raises(UpstreamError):
            _ = [delta async for delta in client.stream("m", "hi")]


async def test_back_pressure_is_kept_when_a_held_stream_is_let_go() -> None:
    count = 3000

    async def long(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + ROLE)
        for _ in range(count):
            await line.send(delta("x" * 1000))
        await line.send(FINISH + DONE + END)
        await line.gone()

    async with Upstream(long) as upstream, Hosted(pool(upstream.base_url, commit={"after_tokens": 3}, stall_s=0.3)) as hosted:
        peer = await hosted.peer(receive_bytes=4096)
        await peer.send(chat(stream=True))
        await until(lambda: any(client.paused_ns for client in hosted.front.connections))
        [client] = hosted.front.connections
        assert client.transport.get_write_buffer_size() < 1_000_000
        reply = await peer.reply()

        assert reply.is_whole
        assert len(text_of(reply)) == count * 1000
