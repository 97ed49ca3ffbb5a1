"""Late requests sent twice: one answer, one loser that is told at once, and no more of it than was allowed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from dispatch import Client
from dispatch.errors import Failure
from dispatch.testing import MockProvider

from tests.integration.clients import config_of
from tests.integration.hosted import ENVIRON, Hosted, pool, until
from tests.integration.peer import chat, events_of
from tests.integration.upstream import BODY, ERROR, GOOD, Line, Upstream, answer, chunk, delta, hang, once, part, stream_head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.upstream import Script

pytestmark = pytest.mark.anyio

SOON = {"after": 0.02, "max_share": 1, "max_cost_share": 1}
DONE = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
STREAM = stream_head() + delta(None) + delta("from b") + delta(None, "stop") + DONE


def hedged(*urls: str, hedge: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    return pool(*urls, hedge=hedge or SOON, **model)


async def hedges(hosted: Hosted, model: str = "m") -> dict[str, float]:
    found = {dict(labels)["outcome"]: n for (name, labels), n in (await hosted.metrics()).items() if name == "dispatch_hedges_total"}
    snapshot = dict(zip(("won", "lost", "failed", "cancelled", "capped", "no_place"), hosted.snapshot().hedges[model], strict=True))
    assert found == {name: count for name, count in snapshot.items() if count}
    return found


@pytest.mark.parametrize("stream", [False, True])
async def test_the_second_answers_and_the_first_sees_the_connection_close(stream: bool) -> None:
    good = once(STREAM) if stream else GOOD
    async with Upstream(hang) as slow, Upstream(good) as fast, Hosted(hedged(slow.base_url, fast.base_url)) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(chat(stream=stream))

        assert reply.status == 200
        assert reply.is_whole
        assert reply.headers["x-dispatch-endpoint"] == "b"
        assert reply.headers["x-dispatch-attempts"] == "2"
        assert reply.body == (BODY if not stream else reply.body)
        if stream:
            assert events_of(reply.body)[1]["choices"][0]["delta"]["content"] == "from b"
        await slow.until(lambda: slow.left == 1)
        assert hosted.attempts("a") == {Failure.CANCELLED: 1}
        assert hosted.attempts("b") == {Failure.NONE: 1}
        assert await hedges(hosted) == {"won": 1}
        ((call, outcome, _),) = hosted.reports
        assert (outcome, call.attempts, call.endpoint) == (Failure.NONE, 2, "b")


async def test_when_the_first_answers_after_all_the_hedge_is_closed() -> None:
    sent = asyncio.Event()

    async def late(line: Line) -> None:
        await line.request()
        await sent.wait()
        await line.send(STREAM)
        await line.gone()

    async with Upstream(late) as first, Upstream(hang) as second, Hosted(hedged(first.base_url, second.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await second.until(lambda: second.requests)
        sent.set()
        reply = await peer.reply()

        assert reply.is_whole
        assert (reply.headers["x-dispatch-endpoint"], reply.headers["x-dispatch-attempts"]) == ("a", "2")
        await second.until(lambda: second.left == 1)
        assert await hedges(hosted) == {"lost": 1}
        assert hosted.attempts("b") == {Failure.CANCELLED: 1}


async def test_nothing_is_hedged_after_commit() -> None:
    more = asyncio.Event()

    async def slowly(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + delta(None) + delta("first words"))
        await more.wait()
        await line.send(delta(None, "stop") + DONE)

    late = SOON | {"after": 1.0}  # the first words come before it on a busy machine, too
    async with Upstream(slowly) as first, Upstream(GOOD) as second, Hosted(hedged(first.base_url, second.base_url, hedge=late)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await peer.until(b"first words")
        await asyncio.sleep(late["after"] * 1.5)
        more.set()
        assert (await peer.reply()).is_whole
        assert not second.requests
        assert await hedges(hosted) == {}


async def test_a_head_and_a_role_are_no_commit() -> None:
    async with (
        Upstream(part(stream_head() + delta(None))) as first,
        Upstream(once(STREAM)) as second,
        Hosted(hedged(first.base_url, second.base_url)) as hosted,
    ):
        peer = await hosted.peer()
        reply = await peer.ask(chat(stream=True))

        assert reply.headers["x-dispatch-endpoint"] == "b"
        assert [event["choices"][0]["delta"] for event in events_of(reply.body)[:-1]][:2] == [{"role": "assistant"}, {"content": "from b"}]
        await first.until(lambda: first.left == 1)


def after(event: asyncio.Event, data: bytes) -> Script:
    """Answer when it is told to."""

    async def script(line: Line) -> None:
        await line.request()
        await event.wait()
        await line.send(data)

    return script


async def test_an_error_of_the_hedge_waits_for_the_first() -> None:
    go_on = asyncio.Event()
    fails = once(answer(ERROR, 500), then="fin")
    async with (
        Upstream(after(go_on, answer())) as first,
        Upstream(fails) as second,
        Hosted(hedged(first.base_url, second.base_url)) as hosted,
    ):
        peer = await hosted.peer()
        await peer.send(chat())
        await until(lambda: hosted.attempts("b"))
        go_on.set()
        reply = await peer.reply()

        assert (reply.status, reply.headers["x-dispatch-endpoint"], reply.headers["x-dispatch-attempts"]) == (200, "a", "2")
        assert await hedges(hosted) == {"failed": 1}


async def test_an_error_of_the_first_waits_for_the_hedge() -> None:
    first_goes, second_goes = asyncio.Event(), asyncio.Event()
    async with (
        Upstream(after(first_goes, answer(ERROR, 400))) as first,
        Upstream(after(second_goes, answer())) as second,
        Hosted(hedged(first.base_url, second.base_url)) as hosted,
    ):
        peer = await hosted.peer()
        await peer.send(chat())
        await second.until(lambda: second.requests)
        first_goes.set()
        await until(lambda: hosted.attempts("a") == {Failure.BAD_REQUEST: 1})
        second_goes.set()
        reply = await peer.reply()

        assert (reply.status, reply.headers["x-dispatch-endpoint"]) == (200, "b")
        assert await hedges(hosted) == {"won": 1}


async def test_when_both_fail_the_client_gets_one_error() -> None:
    async def slow_error(line: Line) -> None:
        await line.request()
        await second.until(lambda: second.requests)
        await line.send(answer(ERROR, 400))

    async with (
        Upstream(slow_error) as first,
        Upstream(once(answer(ERROR, 500))) as second,
        Hosted(hedged(first.base_url, second.base_url)) as hosted,
    ):
        peer = await hosted.peer()
        reply = await peer.ask(chat())

        assert reply.status == 400
        assert reply.headers["x-dispatch-attempts"] == "2"
        assert len(hosted.reports) == 1


async def test_a_client_that_leaves_cancels_both() -> None:
    async with Upstream(hang) as first, Upstream(hang) as second, Hosted(hedged(first.base_url, second.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await second.until(lambda: second.requests)
        peer.reset()
        await first.until(lambda: first.left == 1)
        await second.until(lambda: second.left == 1)

        await until(lambda: hosted.reports)
        assert await hedges(hosted) == {"cancelled": 1}
        assert [outcome for _, outcome, _ in hosted.reports] == [Failure.CANCELLED]


async def test_the_deadline_holds_for_both() -> None:
    config = hedged("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1", deadline_s=1.2)
    async with Upstream(hang) as first, Upstream(hang) as second:
        config = hedged(first.base_url, second.base_url, deadline_s=1.2)
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(chat())

            assert reply.code == (504, "deadline_exceeded")
            assert reply.headers["x-dispatch-attempts"] == "2"
            await first.until(lambda: first.left == 1)
            await second.until(lambda: second.left == 1)


async def test_no_hedge_goes_to_an_endpoint_at_its_limit() -> None:
    go_on = asyncio.Event()

    async def late(line: Line) -> None:
        await line.request()
        await go_on.wait()
        await line.send(answer())

    async with Upstream(late) as first, Upstream(GOOD) as second:
        config = hedged(first.base_url, second.base_url, strategy="weighted")
        config["endpoints"][1]["limits"] = {"requests_per_min": 1, "burst_s": 60}
        async with Hosted(config) as hosted:
            peer, other = await hosted.peer(), await hosted.peer()
            # The order of turns is a, b: the second request takes the only place of b.
            await peer.send(chat())
            await first.until(lambda: first.requests)
            assert (await other.ask(chat())).headers["x-dispatch-endpoint"] == "b"
            await until(lambda: hosted.snapshot().hedges["m"][5])
            go_on.set()

            assert (await peer.reply()).headers["x-dispatch-attempts"] == "1"
            assert len(second.requests) == 1
            assert await hedges(hosted) == {"no_place": 1}


async def test_no_hedge_panics_into_an_open_breaker() -> None:
    go_on = asyncio.Event()

    async def late(line: Line) -> None:
        await line.request()
        await go_on.wait()
        await line.send(answer())

    config = hedged("http://a", "http://b", hedge={**SOON, "after": 0.2}, retry={"attempts": 1})
    async with Upstream(late) as first, Upstream(once(answer(ERROR, 500))) as second:
        config = {**config, "endpoints": hedged(first.base_url, second.base_url)["endpoints"]}
        config["models"]["b-only"] = "b"
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            while hosted.snapshot().gauges["b"].breaker == "closed":
                assert (await peer.ask(chat("b-only"))).status == 500
            failed = len(second.requests)
            await peer.send(chat())
            await until(lambda: hosted.snapshot().hedges["m"][5])
            go_on.set()

            assert (await peer.reply()).headers["x-dispatch-endpoint"] == "a"
            assert len(second.requests) == failed


async def test_hedges_stay_within_their_share_of_requests() -> None:
    caps = {"after": 0.001, "max_share": 0.1, "max_cost_share": 1}
    async with MockProvider(first_token_s=0.02) as mock, Hosted(hedged(mock.base_url, mock.base_url, hedge=caps)) as hosted:

        async def one() -> None:
            async with await hosted.peer() as peer:
                assert (await peer.ask(chat())).status == 200

        for _ in range(12):
            await asyncio.gather(*(one() for _ in range(10)))

        found = await hedges(hosted)
        sent = found.get("won", 0) + found.get("lost", 0)
        assert 0.1 * 120 - 2 <= sent <= 0.1 * 120 + 1
        assert found["capped"] == 120 - sent
        assert len(mock.journal) == 120 + sent


async def test_hedges_stay_within_their_share_of_money() -> None:
    caps = {"after": 0.001, "max_share": 1, "max_cost_share": 0.1}
    async with MockProvider(first_token_s=0.02, output_tokens=100) as mock:
        config = hedged(mock.base_url, mock.base_url, hedge=caps)
        for endpoint in config["endpoints"]:
            endpoint["price"] = {"input": 1, "output": 10}
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            for _ in range(60):
                assert (await peer.ask(chat(max_tokens=100))).status == 200

            found = await hedges(hosted)
            sent = found.get("won", 0) + found.get("lost", 0)
            assert 4 <= sent <= 0.1 * 60 + 1


async def test_where_nothing_has_a_price_tokens_are_counted() -> None:
    caps = {"after": 0.001, "max_share": 1, "max_cost_share": 0.1}
    async with MockProvider(first_token_s=0.02, output_tokens=100) as mock, Hosted(hedged(*[mock.base_url] * 2, hedge=caps)) as hosted:
        peer = await hosted.peer()
        for _ in range(60):
            assert (await peer.ask(chat(max_tokens=100))).status == 200

        found = await hedges(hosted)
        assert 4 <= found.get("won", 0) + found.get("lost", 0) <= 0.1 * 60 + 1


async def test_the_learned_time_is_waited_for_once_there_is_enough_to_learn_from() -> None:
    slow = asyncio.Event()

    async def at_first_fast(line: Line) -> None:
        while not slow.is_set():
            await line.request()
            if slow.is_set():
                break
            await line.send(STREAM)
        await line.gone()

    config = hedged("http://a", "http://b", hedge={"max_share": 1, "max_cost_share": 1})
    async with Upstream(at_first_fast) as first, Upstream(once(STREAM)) as second:
        config["endpoints"] = hedged(first.base_url, second.base_url)["endpoints"]
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            for _ in range(100):
                await peer.ask(chat(stream=True))
            assert await hedges(hosted) == {}
            slow.set()
            # The histogram is read once a second.
            generation = hosted.dispatcher.generation
            assert generation is not None
            plan = generation.models["m"].run.__self__  # type: ignore[attr-defined]  # the bound method of the plan
            plan.delay._read_ns = 0
            replies = [await peer.ask(chat(stream=True)) for _ in range(2)]

            assert {reply.headers["x-dispatch-endpoint"] for reply in replies} == {"b"}
            assert (await hedges(hosted)).keys() == {"won"}


async def test_a_hedge_inside_a_fallback() -> None:
    config = hedged("http://a", "http://b")
    async with Upstream(once(answer(ERROR, 500))) as bad, Upstream(hang) as slow, Upstream(GOOD) as fast:
        config = pool(bad.base_url, slow.base_url, fast.base_url)
        config["models"]["m"] = {
            "fallback": ["a", {"endpoints": ["b", "c"], "strategy": "round_robin"}],
            "hedge": SOON,
            "retry": {"attempts": 1},
        }
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(chat())

            assert (reply.headers["x-dispatch-endpoint"], reply.headers["x-dispatch-attempts"]) == ("c", "3")
            await slow.until(lambda: slow.left == 1)
            assert await hedges(hosted) == {"won": 1}


async def test_both_of_a_pool_fail_and_the_fallback_answers() -> None:
    async with Upstream(hang) as first, Upstream(hang) as second, Upstream(GOOD) as third:
        config = pool(first.base_url, second.base_url, third.base_url)
        config["models"]["m"] = {
            "fallback": [{"endpoints": ["a", "b"], "strategy": "round_robin"}, "c"],
            "hedge": SOON,
            "retry": {"attempts": 1},
            "answer_s": 0.2,
        }
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(chat())

            assert (reply.headers["x-dispatch-endpoint"], reply.headers["x-dispatch-attempts"]) == ("c", "3")
            assert (first.left, second.left) == (1, 1)


async def test_the_library_hedges_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", ENVIRON["UP_KEY"])
    async with Upstream(hang) as slow, MockProvider(reply="one two") as fast:
        async with Client(config_of(tmp_path, hedged(slow.base_url, fast.base_url))) as client:
            reply = await client.chat("m", "hi")
            assert (reply.text, reply.endpoint, reply.attempts) == ("one two", "b", 2)
            text = "".join([piece.text async for piece in client.stream("m", "hi")])
            assert text == "one two"
        await slow.until(lambda: slow.left == len(slow.requests))


async def test_closing_the_library_ends_a_hedged_request_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", ENVIRON["UP_KEY"])
    async with Upstream(hang) as first, Upstream(hang) as second:
        client = Client(config_of(tmp_path, hedged(first.base_url, second.base_url)))
        await client.__aenter__()
        waiting = asyncio.create_task(client.chat("m", "hi"))
        await second.until(lambda: second.requests)
        await client.__aexit__(None, None, None)

        with pytest.raises(Exception, match="closed"):
            await waiting
        await first.until(lambda: first.left == 1)
        await second.until(lambda: second.left == 1)
