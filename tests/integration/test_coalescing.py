"""Identical requests asked once: each client has all of it, its own pace, its own deadline, and its share of the cost."""

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
from tests.integration.upstream import BODY, ERROR, Line, Stepwise, Upstream, answer, chunk, delta, stream_head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.peer import Peer

pytestmark = pytest.mark.anyio

WHILE_S = 0.7
"""Time in which others come to a request that is under way, on a machine that has other things to do as well."""

TAIL = (
    delta(None, "stop", usage={"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
)
KEYS = [{"name": name, "key": f"env:KEY_{name.upper()}"} for name in ("one", "two")]
SECRETS = {"KEY_ONE": "first-key-0123456789", "KEY_TWO": "second-key-0123456789"}


def shared(*urls: str, coalesce: Any = True, **model: Any) -> dict[str, Any]:
    return pool(*urls, coalesce=coalesce, **model)


def ask(*lines: str, stream: bool = True, **fields: Any) -> bytes:
    return chat("m", "hi", *lines, stream=stream, temperature=0, **fields)


async def joined(hosted: Hosted, count: int) -> None:
    await until(lambda: hosted.snapshot().models["m"].shared[0] == count)


def texts(body: bytes) -> list[str]:
    events = [event for event in events_of(body) if isinstance(event, dict) and event["choices"]]
    return [text for event in events if (text := event["choices"][0]["delta"].get("content"))]


async def test_one_stream_upstream_and_the_same_bytes_for_all_whenever_they_come() -> None:
    says = Stepwise()
    async with Upstream(says) as upstream, Hosted(shared(upstream.base_url)) as hosted:
        first, early, late = [await hosted.peer() for _ in range(3)]
        await first.send(ask())
        await upstream.until(lambda: upstream.requests)
        await early.send(ask())
        await joined(hosted, 1)
        says.say(stream_head() + delta(None) + delta("one "))
        await first.until(b"one ")
        await early.until(b"one ")
        says.say(delta("two "))
        await first.until(b"two ")
        await late.send(ask())
        await late.until(b"two ")
        says.say(delta("three") + TAIL)
        replies = [await peer.reply() for peer in (first, early, late)]

        assert len(upstream.requests) == 1
        assert len({reply.body for reply in replies}) == 1
        assert texts(replies[0].body) == ["one ", "two ", "three"]
        assert all(reply.is_whole for reply in replies)
        assert [reply.headers.get("x-dispatch-coalesced") for reply in replies] == [None, "1", "1"]
        assert [reply.headers["x-dispatch-attempts"] for reply in replies] == ["1", "0", "0"]
        assert {reply.headers["x-dispatch-endpoint"] for reply in replies} == {"a"}
        assert len({reply.headers["x-request-id"] for reply in replies}) == 3
        metrics = await hosted.metrics()
        assert metrics["dispatch_coalesced_total", frozenset({("model", "m"), ("outcome", "joined")})] == 2
        assert hosted.outcomes() == {Failure.NONE: 3}


async def test_whole_answers_are_shared_too() -> None:
    says = Stepwise()
    async with Upstream(says) as upstream, Hosted(shared(upstream.base_url)) as hosted:
        peers = [await hosted.peer() for _ in range(3)]
        for count, peer in enumerate(peers):
            await peer.send(ask(stream=False))
            await (joined(hosted, count) if count else upstream.until(lambda: upstream.requests))
        says.say(answer())

        assert [(await peer.reply()).body for peer in peers] == [BODY] * 3
        assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "other",
    [
        ask(max_tokens=5),
        ask("accept: text/plain"),
        ask("openai-beta: x"),
        ask(stream=False),
        chat("m", "hi", stream=True, temperature=0, version="1.0"),
        chat("m", "hi", stream=True, temperature=0.0),
    ],
)
async def test_what_differs_is_asked_for_itself(other: bytes) -> None:
    async with MockProvider(first_token_s=0.1) as mock, Hosted(shared(mock.base_url)) as hosted:
        first, second = await hosted.peer(), await hosted.peer()
        await first.send(ask())
        await mock.until(lambda journal: len(journal) == 1)
        await second.send(other)

        assert [(await peer.reply()).status for peer in (first, second)] == [200, 200]
        assert len(mock.journal) == 2


async def test_what_only_names_the_request_or_its_sender_may_differ() -> None:
    lines = ("user-agent: x", "idempotency-key: 5", "x-request-id: abc", "traceparent: 00-a-b-01")
    async with MockProvider(first_token_s=WHILE_S) as mock, Hosted(shared(mock.base_url)) as hosted:
        first, second = await hosted.peer(), await hosted.peer()
        await first.send(ask())
        await mock.until(lambda journal: len(journal) == 1)
        await second.send(ask(*lines))

        assert [(await peer.reply()).status for peer in (first, second)] == [200, 200]
        assert len(mock.journal) == 1


@pytest.mark.parametrize(("coalesce", "count"), [(True, 2), ({"when": "always"}, 1)])
async def test_two_draws_are_two_requests_unless_told_otherwise(coalesce: Any, count: int) -> None:
    async with MockProvider(first_token_s=WHILE_S) as mock, Hosted(shared(mock.base_url, coalesce=coalesce)) as hosted:
        peers = [await hosted.peer() for _ in range(2)]
        for peer in peers:
            await peer.send(chat("m", "hi", stream=True))

        assert [(await peer.reply()).status for peer in peers] == [200, 200]
        assert len(mock.journal) == count


@pytest.mark.parametrize("across_keys", [False, True])
async def test_keys_share_only_where_they_are_allowed_to_and_pay_to_the_token(across_keys: bool) -> None:
    says = Stepwise()
    config = shared("http://a", coalesce={"across_keys": across_keys}, keys=KEYS)
    async with Upstream(says) as upstream:
        config["endpoints"][0]["base_url"] = upstream.base_url
        async with Hosted(config, SECRETS) as hosted:
            one, two = [await hosted.peer() for _ in range(2)]
            await one.send(ask(f"authorization: Bearer {SECRETS['KEY_ONE']}"))
            await upstream.until(lambda: len(upstream.requests) == 1)
            await two.send(ask(f"authorization: Bearer {SECRETS['KEY_TWO']}"))
            if not across_keys:
                await upstream.until(lambda: len(upstream.requests) == 2)
                says.say(stream_head() + delta("x") + TAIL)
            else:
                await joined(hosted, 1)
            says.say(stream_head() + delta("x") + TAIL)
            assert [(await peer.reply()).is_whole for peer in (one, two)] == [True, True]

            keys = hosted.snapshot().keys
            paid = [keys[name].tokens[:2] for name in ("one", "two")]
            assert paid == ([[5, 4], [5, 3]] if across_keys else [[10, 7], [10, 7]])
            assert hosted.snapshot().endpoints["a"].tokens[:2] == ([10, 7] if across_keys else [20, 14])


async def test_the_first_may_leave_and_the_last_ends_it() -> None:
    says = Stepwise()
    async with Upstream(says) as upstream, Hosted(shared(upstream.base_url)) as hosted:
        first, second, third = [await hosted.peer() for _ in range(3)]
        await first.send(ask())
        await upstream.until(lambda: upstream.requests)
        says.say(stream_head() + delta("one "))
        await second.send(ask())
        await joined(hosted, 1)
        await third.send(ask())
        await joined(hosted, 2)
        first.reset()
        await until(lambda: len(hosted.reports) == 1)
        says.say(delta("two "))
        await second.until(b"two ")
        await third.until(b"two ")
        second.reset()
        await until(lambda: len(hosted.reports) == 2)
        assert not upstream.left
        third.reset()
        await upstream.until(lambda: upstream.left)

        assert [outcome for _, outcome, _ in hosted.reports] == [Failure.CANCELLED] * 3
        assert hosted.attempts() == {Failure.CANCELLED: 1}
        assert sum(call.attempts for call, _, _ in hosted.reports) == 1


async def test_who_stays_pays_for_those_who_left() -> None:
    says = Stepwise()
    async with Upstream(says) as upstream, Hosted(shared(upstream.base_url)) as hosted:
        first, second = [await hosted.peer() for _ in range(2)]
        await first.send(ask())
        await upstream.until(lambda: upstream.requests)
        await second.send(ask())
        await joined(hosted, 1)
        first.reset()
        await until(lambda: hosted.reports)
        says.say(stream_head() + delta("x") + TAIL)

        assert (await second.reply()).is_whole
        usages = [call.usage[:2] for call, _, _ in hosted.reports]
        assert usages == [(0, 0), (10, 7)]


@pytest.mark.parametrize("after_commit", [False, True])
async def test_a_failure_reaches_all(after_commit: bool) -> None:
    says = Stepwise()
    async with Upstream(says) as upstream, Hosted(shared(upstream.base_url, retry={"attempts": 1})) as hosted:
        peers = [await hosted.peer() for _ in range(3)]
        for count, peer in enumerate(peers):
            await peer.send(ask())
            await (joined(hosted, count) if count else upstream.until(lambda: upstream.requests))
        if after_commit:
            says.say(stream_head() + delta("one"))
            says.say(chunk(b'data: {"error": {"message": "no more", "type": "server_error", "code": "x"}}\n\n'))
        else:
            says.say(answer(ERROR, 500))
        replies = [await peer.reply() for peer in peers]

        assert [reply.status for reply in replies] == [200 if after_commit else 500] * 3
        assert len({reply.body for reply in replies}) == 1
        if after_commit:
            assert not any(reply.is_whole for reply in replies)
            assert b"[DONE]" not in replies[0].body
        assert len(upstream.requests) == 1
        assert len(hosted.reports) == 3


async def test_each_keeps_its_own_deadline() -> None:
    says = Stepwise()
    async with Upstream(says) as upstream, Hosted(shared(upstream.base_url)) as hosted:
        hasty, patient = [await hosted.peer() for _ in range(2)]
        await hasty.send(ask("x-dispatch-deadline-ms: 900"))
        await upstream.until(lambda: upstream.requests)
        await patient.send(ask())
        await joined(hosted, 1)

        assert (await hasty.reply()).code == (504, "deadline_exceeded")
        says.say(stream_head() + delta("late") + TAIL)
        assert texts((await patient.reply()).body) == ["late"]
        assert len(upstream.requests) == 1


async def test_a_slow_reader_slows_nobody_and_is_dropped_when_it_is_too_far_behind() -> None:
    says = Stepwise()
    text = "x" * 50_000
    config = shared("http://a", coalesce={"replay_bytes": 400_000})
    async with Upstream(says) as upstream:
        config["endpoints"][0]["base_url"] = upstream.base_url
        async with Hosted(config) as hosted:
            slow, fast = await hosted.peer(receive_bytes=4096), await hosted.peer()
            await slow.send(ask())
            await upstream.until(lambda: upstream.requests)
            await fast.send(ask())
            await joined(hosted, 1)
            says.say(stream_head())
            for _ in range(200):
                says.say(delta(text))
            says.say(TAIL)
            reply = await fast.reply()

            assert reply.is_whole
            assert len(texts(reply.body)) == 200
            assert hosted.snapshot().models["m"].shared[1] == 1
            assert b"[DONE]" not in await slow.to_end()
            await until(lambda: len(hosted.reports) == 2)
            assert sorted(call.usage[:2] for call, _, _ in hosted.reports) == [(0, 0), (10, 7)]


async def test_a_slow_reader_that_is_alone_pauses_the_provider() -> None:
    says = Stepwise()
    config = shared("http://a", coalesce={"replay_bytes": 100_000})
    async with Upstream(says) as upstream:
        config["endpoints"][0]["base_url"] = upstream.base_url
        async with Hosted(config) as hosted:
            slow = await hosted.peer(receive_bytes=4096)
            await slow.send(ask())
            says.say(stream_head())
            for _ in range(400):
                says.say(delta("x" * 50_000))
            says.say(TAIL)
            reply = await slow.reply()

            assert reply.is_whole
            assert len(texts(reply.body)) == 400
            assert hosted.snapshot().models["m"].shared[1] == 0


async def test_nobody_joins_a_stream_whose_beginning_is_gone() -> None:
    says = Stepwise()
    config = shared("http://a", coalesce={"replay_bytes": 1000})
    async with Upstream(says) as upstream:
        config["endpoints"][0]["base_url"] = upstream.base_url
        async with Hosted(config) as hosted:
            first, second = await hosted.peer(), await hosted.peer()
            await first.send(ask())
            says.say(stream_head() + delta("y" * 2000))
            await first.until(b"yyy")
            await second.send(ask())
            await upstream.until(lambda: len(upstream.requests) == 2)
            for _ in range(2):
                says.say(TAIL)
            first.reset()
            await until(lambda: hosted.reports)


async def test_a_joined_client_is_kept_awake() -> None:
    says = Stepwise()
    async with Upstream(says) as upstream, Hosted(shared(upstream.base_url, server={"keepalive_s": 0.2})) as hosted:
        first, second = await hosted.peer(), await hosted.peer()
        await first.send(ask())
        await upstream.until(lambda: upstream.requests)
        await second.send(ask())
        await joined(hosted, 1)
        await first.until(b": waiting")
        await second.until(b": waiting")
        says.say(stream_head() + delta("x") + TAIL)
        assert [texts((await peer.reply()).body) for peer in (first, second)] == [["x"], ["x"]]


async def test_a_request_that_found_no_place_leaves_no_flight_behind() -> None:
    config = shared("http://127.0.0.1:1/v1", retry={"attempts": 1})
    async with Hosted(config) as hosted:
        peer = await hosted.peer()
        for _ in range(2):
            assert (await peer.ask(ask())).status == 502
        assert hosted.snapshot().models["m"].shared[0] == 0


async def test_shared_and_hedged_at_once() -> None:
    async def silent(line: Line) -> None:
        await line.request()
        await line.gone()

    hedge = {"after": 0.02, "max_share": 1, "max_cost_share": 1}
    async with (
        Upstream(silent) as slow,
        MockProvider(reply="one two") as fast,
        Hosted(shared(slow.base_url, fast.base_url, hedge=hedge)) as hosted,
    ):
        peers: list[Peer] = [await hosted.peer() for _ in range(3)]
        for peer in peers:
            await peer.send(ask())
        replies = [await peer.reply() for peer in peers]

        assert len({reply.body for reply in replies}) == 1
        assert sum(int(reply.headers["x-dispatch-attempts"]) for reply in replies) == 2
        assert len(fast.journal) == 1
        await slow.until(lambda: slow.left == 1)


async def test_the_library_shares_and_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", ENVIRON["UP_KEY"])
    async with MockProvider(reply="one two three", first_token_s=WHILE_S) as mock:
        async with Client(config_of(tmp_path, shared(mock.base_url))) as client:

            async def text() -> str:
                return "".join([piece.text async for piece in client.stream("m", "hi", temperature=0)])

            assert await asyncio.gather(*(text() for _ in range(5))) == ["one two three"] * 5
            replies = await asyncio.gather(*(client.chat("m", "hi", temperature=0) for _ in range(5)))
            assert {reply.text for reply in replies} == {"one two three"}
            assert len(mock.journal) == 2
        mock.configure(first_token_s=60)
        client = Client(config_of(tmp_path, shared(mock.base_url)))
        await client.__aenter__()
        waiting = [asyncio.create_task(client.chat("m", "hi", temperature=0)) for _ in range(3)]
        await mock.until(lambda journal: len(journal) == 3)
        await client.__aexit__(None, None, None)
        assert {type(error).__name__ for error in await asyncio.gather(*waiting, return_exceptions=True)} == {"Draining"}
        await mock.until(lambda journal: journal[-1].left)


async def test_those_that_wait_in_the_queue_are_answered_in_their_turn() -> None:
    async with MockProvider(first_token_s=WHILE_S, reply="one two") as mock:
        config = shared(mock.base_url)
        config["endpoints"][0]["limits"] = {"concurrency": 1}
        async with Hosted(config) as hosted:
            busy, first, second = [await hosted.peer() for _ in range(3)]
            await busy.send(ask(max_tokens=5))
            await mock.until(lambda journal: len(journal) == 1)
            await first.send(ask())
            await second.send(ask())
            replies = [await peer.reply() for peer in (busy, first, second)]

            assert [reply.is_whole for reply in replies] == [True] * 3
            assert replies[1].status == replies[2].status == 200
            assert len(mock.journal) <= 3
