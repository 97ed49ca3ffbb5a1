"""Streams that break: taken back before the first content, told after it, never ended as if they were whole (`Hosted` looks)."""

from __future__ import annotations

import gzip
import json
from time import monotonic
from typing import Any

import pytest
from dispatch.errors import Failure
from dispatch.testing import MockProvider

from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import Peer, Reply, chat, events_of
from tests.integration.upstream import ANSWER, Line, Upstream, answer, chunk, delta, head, once, part, stream_head

pytestmark = pytest.mark.anyio

BUSY_S = 5.0
"""By how much a busy machine may be later than a quiet one, which needs a quarter of a second at most."""
ROLE = delta(None)
DONE = chunk(b"data: [DONE]\n\n")
END = b"0\r\n\r\n"
FINISH = delta("", "stop")
ERROR_EVENT = chunk(b'data: {"error":{"message":"overloaded","type":"server_error","code":503}}\n\n')
GOOD_STREAM = stream_head() + ROLE + delta("good") + FINISH + DONE + END
GOOD = once(GOOD_STREAM)


def text_of(reply: Reply) -> str:
    """The content of a stream."""
    parts = [event for event in events_of(reply.body) if isinstance(event, dict) and event.get("choices")]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in parts)


async def ask(hosted: Hosted, **fields: Any) -> tuple[Peer, Reply]:
    peer = await hosted.peer()
    return peer, await peer.ask(chat(stream=True, **fields))


BEFORE = {
    "cut by FIN": (once(stream_head() + ROLE, then="fin"), Failure.BROKEN),
    "cut by RST": (once(stream_head() + ROLE, then="rst"), Failure.BROKEN),
    "cut in an event": (once(stream_head() + ROLE + delta("x")[:20], then="fin"), Failure.BROKEN),
    "ended without content": (once(stream_head() + ROLE + END), Failure.BROKEN),
    "error event": (once(stream_head() + ROLE + ERROR_EVENT + END), Failure.OVERLOADED),
    "bad chunk": (once(stream_head() + ROLE + b"zz\r\n"), Failure.BROKEN),
    "gzip": (once(stream_head("content-encoding: gzip") + chunk(gzip.compress(b"data: {}\n\n")) + END), Failure.MALFORMED),
    "HTML": (once(answer(b"<html></html>", content_type="text/html")), Failure.MALFORMED),
    "error with 200": (once(answer({"error": {"message": "no", "type": "server_error"}})), Failure.SERVER),
    "silent after the head": (part(stream_head()), Failure.FIRST_TOKEN_TIMEOUT),
    "silent after comments": (part(stream_head() + chunk(b": ping\n\n") + ROLE), Failure.FIRST_TOKEN_TIMEOUT),
    "silent before the head": (part(b""), Failure.FIRST_TOKEN_TIMEOUT),
}


@pytest.mark.parametrize("name", BEFORE)
async def test_before_the_first_content_another_endpoint_takes_over_unseen(name: str) -> None:
    script, failure = BEFORE[name]
    async with (
        Upstream(script) as broken,
        Upstream(GOOD) as good,
        Hosted(pool(broken.base_url, good.base_url, first_token_s=0.2)) as hosted,
    ):
        peer, reply = await ask(hosted)

        assert text_of(reply) == "good"
        assert reply.body.count(b'"role"') == 1
        assert events_of(reply.body)[-1] == "[DONE]"
        assert reply.headers["x-dispatch-endpoint"] == "b"
        assert hosted.attempts() == {failure: 1}
        assert (await peer.ask(chat(stream=True))).status == 200


AFTER = {
    "cut by FIN": (once(stream_head() + delta("half"), then="fin"), Failure.BROKEN),
    "cut by RST": (once(stream_head() + delta("half"), then="rst"), Failure.BROKEN),
    "ended without finish": (once(stream_head() + delta("half") + END), Failure.BROKEN),
    "ended with DONE only": (once(stream_head() + delta("half") + chunk(b"data: [DO")), None),
    "error event": (once(stream_head() + delta("half") + ERROR_EVENT + DONE + END), Failure.OVERLOADED),
    "bad chunk": (once(stream_head() + delta("half") + b"zz\r\n"), Failure.BROKEN),
    "no chunks, cut": (once(head(content_type="text/event-stream") + delta("half")[4:-2], then="fin"), Failure.BROKEN),
    "silent": (part(stream_head() + delta("half")), Failure.STALLED),
    "silent but for a piece of an event": (part(stream_head() + delta("half") + delta("x")[:30]), Failure.STALLED),
}


@pytest.mark.parametrize("name", AFTER)
async def test_after_the_first_content_the_break_is_told_and_the_end_is_not_clean(name: str) -> None:
    script, failure = AFTER[name]
    async with Upstream(script) as broken, Upstream(GOOD) as good, Hosted(pool(broken.base_url, good.base_url, stall_s=0.2)) as hosted:
        peer, reply = await ask(hosted)
        last = events_of(reply.body)[-1]

        assert text_of(reply) == "half"
        assert last["error"]["code"] == "upstream_error"
        assert b"[DONE]" not in reply.body
        assert not reply.is_whole
        assert peer.end == "fin"
        assert len(good.requests) == 0
        assert failure is None or hosted.attempts() == {failure: 1}
        assert Failure.NONE not in hosted.outcomes()


WHOLE = {
    "finish without DONE": stream_head() + delta("all") + FINISH + END,
    "finish with the last content": stream_head() + delta("all", "stop") + END,
    "a malformed event": stream_head() + delta("al") + chunk(b'data: {"choices":[{"in\n\n') + delta("l") + FINISH + DONE + END,
    "events without data": stream_head() + delta("al") + chunk(b"data:\n\n") + chunk(b"data: \n\n") + delta("l") + FINISH + DONE + END,
    "comments between": stream_head() + chunk(b": a\n\n") + delta("all") + chunk(b": b\n\n") + FINISH + DONE + END,
    "CRLF lines": stream_head()
    + delta("all").replace(b"\n\n\r\n", b"\r\n\r\n\r\n").replace(b"%x" % (len(delta("all")) - 6), b"%x" % (len(delta("all")) - 4), 1)
    + FINISH
    + DONE
    + END,
}


@pytest.mark.parametrize("name", WHOLE)
async def test_a_stream_that_says_all_is_whole(name: str) -> None:
    async with Upstream(once(WHOLE[name])) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        _, reply = await ask(hosted)

        assert text_of(reply) == "all"
        assert reply.is_whole
        assert all(isinstance(event, (dict, str)) for event in events_of(reply.body))
        # OpenAI's SDK decodes the data of every event, empty data too.
        assert not {b"data:", b"data: "} & set(reply.body.split(b"\n"))
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_a_stream_without_framing_is_whole_by_its_finish_and_cut_after_it() -> None:
    data = head(content_type="text/event-stream") + delta("all")[4:-2] + FINISH[4:-2]
    async with Upstream(once(data, then="fin")) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        _, reply = await ask(hosted)

        assert (text_of(reply), reply.is_whole) == ("all", True)


async def test_after_the_finish_usage_and_terminator_are_waited_for_two_seconds() -> None:
    async with Upstream(part(stream_head() + delta("all") + FINISH)) as upstream, Hosted(pool(upstream.base_url, stall_s=30)) as hosted:
        before = monotonic()
        _, reply = await ask(hosted)

        assert (text_of(reply), reply.is_whole) == ("all", True)
        assert 1.9 < monotonic() - before < 2 + BUSY_S
        await upstream.until(lambda: upstream.left == 1)


async def test_a_connection_serves_again_after_a_whole_stream_only() -> None:
    async with Upstream(GOOD) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        for _ in range(3):
            await ask(hosted)
            await hosted.rested()
        assert upstream.connections == 1
    async with Upstream(once(GOOD_STREAM + b"x")) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        for _ in range(3):
            assert text_of((await ask(hosted))[1]) == "good"
        assert upstream.connections == 3


async def test_the_slow_end_of_a_stream_does_not_hold_its_client() -> None:
    async def slow_end(line: Line) -> None:
        await line.request()
        await line.send(GOOD_STREAM.removesuffix(END))
        await line.gone()

    async with Upstream(slow_end) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        before = monotonic()
        _, reply = await ask(hosted)

        assert reply.is_whole
        assert monotonic() - before < 1.9  # two seconds are the wait for an end that does not come
        await upstream.until(lambda: upstream.left == 1)


@pytest.mark.parametrize("fault", ["hang_before_head", "hang_after_head", "hang_mid_stream"])
async def test_a_client_that_leaves_its_stream_ends_it_upstream_at_once(fault: str) -> None:
    async with MockProvider(faults={fault: 1}, output_tokens=8) as mock, Hosted(pool(mock.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await mock.until(lambda journal: len(journal) == 1 and journal[0].outcome == fault)
        if fault == "hang_mid_stream":
            await peer.until(b"data: ")
        before = monotonic()
        peer.sock.close()

        await mock.until(lambda journal: journal[0].left)
        assert monotonic() - before < BUSY_S
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})
        assert hosted.attempts() == {Failure.CANCELLED: 1}


async def test_a_stream_that_is_asked_for_no_usage_shows_none_and_is_charged_all_the_same() -> None:
    async with MockProvider(output_tokens=7) as mock:
        config = pool(mock.base_url)
        config["endpoints"][0]["capabilities"] = {"stream_usage": True}
        async with Hosted(config) as hosted:
            _, plain = await ask(hosted)
            _, asked = await ask(hosted, stream_options={"include_usage": True})

            assert b"usage" not in plain.body
            assert b'"usage":{' in asked.body.replace(b" ", b"")
            assert hosted.snapshot().endpoints["a"].tokens[1] == 14


# Back-pressure.


async def test_a_slow_client_pauses_its_upstream_and_neither_clock_nor_memory_runs_on() -> None:
    """The stall limit is far shorter than the pause; what waits here stays below what sockets and the high-water mark hold."""
    event = delta("x" * 1000)
    count = 20_000

    async def long(line: Line) -> None:
        await line.request()
        await line.send(stream_head())
        for _ in range(count // 100):
            await line.send(event * 100)
        await line.send(FINISH + DONE + END)
        await line.gone()

    async with Upstream(long) as upstream, Hosted(pool(upstream.base_url, stall_s=0.3, first_token_s=5)) as hosted:
        peer = await hosted.peer(receive_bytes=4096)
        await peer.send(chat(stream=True))
        await until(lambda: any(client.paused_ns for client in hosted.front.connections))
        [client] = hosted.front.connections
        paused_at = monotonic()
        # Longer than the stall limit: time is what is tested.
        await until(lambda: monotonic() - paused_at > 1.0)
        assert hosted.outcomes() == {}
        assert client.transport.get_write_buffer_size() < 1_000_000
        reply = await peer.reply()

        assert reply.is_whole
        assert len(text_of(reply)) == count * 1000
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_after_a_pause_the_stall_clock_runs_again() -> None:
    async def stall(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + delta("x" * 1000) * 3000)
        await line.gone()

    async with Upstream(stall) as upstream, Hosted(pool(upstream.base_url, stall_s=0.3)) as hosted:
        peer = await hosted.peer(receive_bytes=4096)
        await peer.send(chat(stream=True))
        await until(lambda: any(client.paused_ns for client in hosted.front.connections))
        reply = await peer.reply()

        assert events_of(reply.body)[-1]["error"]["code"] == "upstream_error"
        assert hosted.attempts() == {Failure.STALLED: 1}


# The deadline, and signs of life.


async def deadline(hosted: Hosted, ms: int, **fields: Any) -> tuple[Reply, float]:
    peer = await hosted.peer()
    before = monotonic()
    reply = await peer.ask(chat("m", "hi", f"x-dispatch-deadline-ms: {ms}", **fields))
    return reply, monotonic() - before


@pytest.mark.parametrize("stream", [True, False])
async def test_the_deadline_covers_an_upstream_that_hangs(stream: bool) -> None:
    async with Upstream(part(b"")) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        reply, took_s = await deadline(hosted, 300, stream=stream)

        assert reply.code == (504, "deadline_exceeded")
        assert reply.headers["x-should-retry"] == "false"
        assert 0.3 <= took_s < 0.3 + BUSY_S
        assert hosted.attempts() == {Failure.DEADLINE: 1}
        assert hosted.outcomes() == {Failure.DEADLINE: 1}
        await upstream.until(lambda: upstream.left == 1)


async def test_the_deadline_covers_retries_and_fallbacks_together() -> None:
    async with Upstream(part(b"")) as first, Upstream(part(b"")) as second:
        config = pool(first.base_url, second.base_url)
        config["models"]["m"] = {"fallback": ["a", "b"], "answer_s": 0.2, "retry": {"attempts": 2, "base_s": 0.01}}
        async with Hosted(config) as hosted:
            reply, took_s = await deadline(hosted, 350)  # before the second has had its time, whenever clocks are looked at

            assert reply.code == (504, "deadline_exceeded")
            assert 0.35 <= took_s < 0.35 + BUSY_S
            assert len(first.requests) == 1


async def test_the_deadline_covers_the_wait_between_two_tries() -> None:
    busy = {"error": {"message": "busy", "type": "server_error"}}
    async with (
        Upstream(once(answer(busy, 503, "retry-after-ms: 200"))) as upstream,
        Hosted(pool(upstream.base_url, retry={"attempts": 9})) as hosted,
    ):
        reply, took_s = await deadline(hosted, 500)

        assert reply.status in {503, 504}
        assert took_s < 0.5 + BUSY_S


async def test_the_deadline_covers_a_stream_and_its_end_is_told() -> None:
    async with MockProvider(tokens_per_s=50, output_tokens=10_000) as mock, Hosted(pool(mock.base_url)) as hosted:
        reply, took_s = await deadline(hosted, 400, stream=True)

        assert events_of(reply.body)[-1]["error"]["code"] == "deadline_exceeded"
        assert b"[DONE]" not in reply.body
        assert not reply.is_whole
        assert 0.4 <= took_s < 0.4 + BUSY_S
        await mock.until(lambda journal: journal[0].left)


async def test_a_client_cannot_extend_the_deadline() -> None:
    async with Upstream(part(b"")) as upstream, Hosted(pool(upstream.base_url, deadline_s=0.3)) as hosted:
        reply, took_s = await deadline(hosted, 60_000)

        assert reply.code == (504, "deadline_exceeded")
        assert took_s < 0.3 + BUSY_S


async def test_a_waiting_stream_gives_signs_of_life_and_its_later_failure_is_an_event() -> None:
    async with (
        Upstream(part(stream_head() + ROLE)) as upstream,
        Hosted(pool(upstream.base_url, server={"keepalive_s": 0.2}, first_token_s=1.7, retry={"attempts": 1})) as hosted,
    ):
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        early = await peer.until(b": waiting\n\n")
        reply = await peer.reply()

        assert early.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream")
        assert events_of(reply.body)[-1]["error"]["code"] == "upstream_error"
        assert not reply.is_whole


async def test_a_stream_may_still_move_elsewhere_after_signs_of_life() -> None:
    async with (
        Upstream(part(stream_head() + ROLE)) as silent,
        Upstream(GOOD) as good,
        Hosted(pool(silent.base_url, good.base_url, server={"keepalive_s": 0.2}, first_token_s=1.7)) as hosted,
    ):
        _, reply = await ask(hosted)

        assert reply.body.startswith(b": waiting")
        # What the head could not say yet.
        assert b"\n\n: x-dispatch-endpoint: b\n: x-dispatch-attempts: 2\n: x-dispatch-overhead-us: " in reply.body
        assert text_of(reply) == "good"
        assert reply.is_whole
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_a_whole_answer_after_signs_of_life_is_an_error_event_and_not_paid_for() -> None:
    """An upstream that ignores `stream` cannot be passed on in a stream that has begun."""

    async def late(line: Line) -> None:
        await line.request()
        await until(lambda: waited)
        await line.send(answer(ANSWER))
        await line.gone()

    waited: list[bytes] = []
    async with Upstream(late) as upstream, Hosted(pool(upstream.base_url, server={"keepalive_s": 0.2})) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        waited.append(await peer.until(b": waiting\n\n"))
        reply = await peer.reply()

        assert events_of(reply.body)[-1]["error"]["code"] == "upstream_error"
        assert not reply.is_whole


async def test_deadline_and_sign_of_life_at_the_same_turn_of_the_clock_give_one_answer() -> None:
    """The connection goes on with the next request: a head written after the 504 would be read as its answer."""
    async with Upstream(part(b"")) as upstream, Hosted(pool(upstream.base_url, server={"keepalive_s": 0.3})) as hosted:
        peer = await hosted.peer()
        await until(lambda: not hosted.dispatcher.watch)
        reply = await peer.ask(chat("m", "hi", "x-dispatch-deadline-ms: 300", stream=True))

        assert reply.status == 504
        after = await peer.ask(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert json.loads(after.body) == {"status": "ok"}


@pytest.mark.parametrize("end", ["broken", "left"])
async def test_what_a_stream_gave_before_it_ended_is_not_given_back_to_its_endpoints_limits(end: str) -> None:
    half = stream_head() + delta("one") + delta("two") + delta("three")
    async with Upstream(once(half, then="fin") if end == "broken" else part(half)) as upstream:
        config = pool(upstream.base_url)
        config["endpoints"][0]["limits"] = {"output_tokens_per_min": 600_000}
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            await peer.send(chat(stream=True, max_tokens=500))
            await peer.until(b"three")
            peer.sock.close()
            await until(lambda: hosted.reports)

            assert hosted.snapshot().endpoints["a"].tokens[1] == 3
            assert hosted.snapshot().endpoints["a"].tokens[0] == hosted.reports[0][0].tokens_in
