"""Kept answers: the same bytes again, without asking and without tokens; never what was not whole and good."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from dispatch import Client
from dispatch.config import build
from dispatch.errors import ConfigError, Failure
from dispatch.testing import MockProvider

from tests.integration.clients import config_of
from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import chat, events_of
from tests.integration.redis_double import RedisDouble
from tests.integration.upstream import ERROR, GOOD, Upstream, answer, chunk, delta, once, stream_head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.peer import Reply

pytestmark = pytest.mark.anyio

KEYS = [{"name": name, "key": f"env:KEY_{name.upper()}"} for name in ("one", "two")]
SECRETS = {"KEY_ONE": "first-key-0123456789", "KEY_TWO": "second-key-0123456789"}
STREAM = stream_head() + delta(None) + delta("kept") + delta(None, "stop") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def kept(*urls: str, cache: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    return pool(*urls, cache=cache or {}, **model)


def ask(*lines: str, **fields: Any) -> bytes:
    return chat("m", "hi", *lines, **{"temperature": 0, **fields})


def told(*replies: Reply) -> list[str | None]:
    return [reply.headers.get("x-dispatch-cache") for reply in replies]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_bytes_again_without_asking(stream: bool) -> None:
    async with MockProvider(reply="one two three") as mock, Hosted(kept(mock.base_url)) as hosted:
        peer = await hosted.peer()
        replies = [await peer.ask(ask(stream=stream)) for _ in range(3)]

        assert told(*replies) == ["miss", "hit", "hit"]
        assert len({reply.body for reply in replies}) == 1
        assert all(reply.is_whole for reply in replies)
        assert len({reply.headers["content-type"] for reply in replies}) == 1
        assert [reply.headers["x-dispatch-attempts"] for reply in replies] == ["1", "0", "0"]
        assert [reply.headers.get("age") for reply in replies] == [None, "0", "0"]
        assert len({reply.headers["x-request-id"] for reply in replies}) == 3
        assert len(mock.journal) == 1
        metrics = await hosted.metrics()
        found = {dict(labels)["outcome"]: count for (name, labels), count in metrics.items() if name == "dispatch_cache_total"}
        assert found == {"hit": 2, "miss": 1}


async def test_a_stream_and_a_whole_answer_are_two_answers() -> None:
    async with MockProvider() as mock, Hosted(kept(mock.base_url)) as hosted:
        peer = await hosted.peer()
        replies = [await peer.ask(ask(stream=stream)) for stream in (False, True, False, True)]
        old = await hosted.peer()
        replies.append(await old.ask(chat("m", "hi", temperature=0, stream=True, version="1.0")))

        assert told(*replies) == ["miss", "miss", "hit", "hit", "miss"]
        assert events_of(replies[3].body) == events_of(replies[1].body)


async def test_a_hit_costs_a_request_and_no_tokens() -> None:
    config = kept("http://a", keys=[{**KEYS[0], "limits": {"tokens_per_min": 600, "burst_s": 60}}])
    async with MockProvider(output_tokens=9) as mock:
        config["endpoints"][0]["base_url"] = mock.base_url
        async with Hosted(config, SECRETS) as hosted:
            peer = await hosted.peer()
            line = f"authorization: Bearer {SECRETS['KEY_ONE']}"
            first = await peer.ask(ask(line, max_tokens=9))
            paid = hosted.snapshot().keys["one"].tokens
            # At 18 tokens each by estimate, the bucket would be empty long before.
            replies = [await peer.ask(ask(line, max_tokens=9)) for _ in range(100)]

            assert told(first) == ["miss"]
            assert {reply.status for reply in replies} == {200}
            assert set(told(*replies)) == {"hit"}
            assert hosted.snapshot().keys["one"].tokens == paid
            assert hosted.snapshot().keys["one"].requests == 101
            assert hosted.outcomes() == {Failure.NONE: 101}


@pytest.mark.parametrize(("scope", "expected"), [("key", ["miss", "miss", "hit", "hit"]), ("all", ["miss", "hit", "hit", "hit"])])
async def test_keys_see_each_others_answers_only_where_they_may(scope: str, expected: list[str]) -> None:
    async with MockProvider() as mock, Hosted(kept(mock.base_url, cache={"scope": scope}, keys=KEYS), SECRETS) as hosted:
        peer = await hosted.peer()
        replies = [await peer.ask(ask(f"authorization: Bearer {SECRETS[name]}")) for name in ("KEY_ONE", "KEY_TWO") * 2]

        assert told(*replies) == expected


async def test_a_client_may_ask_for_a_fresh_answer_or_for_none_to_be_kept() -> None:
    async with MockProvider() as mock, Hosted(kept(mock.base_url, coalesce=True)) as hosted:
        peer = await hosted.peer()
        lines: tuple[list[str], ...] = (
            ["cache-control: no-store"],
            [],
            ["cache-control: no-cache"],
            ["cache-control: No-Store, max-age=5"],
            ["cache-control: max-age=0"],
            [],
        )
        replies = [await peer.ask(ask(*own)) for own in lines]

        assert told(*replies) == [None, "miss", "miss", None, "miss", "hit"]
        assert len(mock.journal) == 5


async def test_what_is_drawn_by_chance_is_not_kept_unless_told_to() -> None:
    async with MockProvider() as mock, Hosted(kept(mock.base_url)) as hosted:
        peer = await hosted.peer()

        assert told(*[await peer.ask(chat("m", "hi")) for _ in range(2)]) == [None, None]
        assert told(*[await peer.ask(ask(temperature=0.1)) for _ in range(2)]) == [None, None]
        assert len(mock.journal) == 4
    async with MockProvider() as mock, Hosted(kept(mock.base_url, cache={"when": "always"})) as hosted:
        peer = await hosted.peer()

        assert told(*[await peer.ask(chat("m", "hi")) for _ in range(2)]) == ["miss", "hit"]


async def test_errors_and_broken_streams_are_not_kept() -> None:
    broken = once(stream_head() + delta("half"), then="fin")
    scripts = [once(answer(ERROR, 500), then="fin"), once(answer(ERROR, 400), then="fin"), broken, once(STREAM, then="fin"), GOOD]
    async with Upstream(*scripts) as upstream, Hosted(kept(upstream.base_url, retry={"attempts": 1})) as hosted:
        peer = await hosted.peer()
        assert [(await peer.ask(ask(stream=True))).status for _ in range(2)] == [500, 400]
        half = await (await hosted.peer()).ask(ask(stream=True))
        assert not half.is_whole
        whole = await (await hosted.peer()).ask(ask(stream=True))
        again = await (await hosted.peer()).ask(ask(stream=True))

        assert told(whole, again) == ["miss", "hit"]
        assert whole.body == again.body
        assert len(upstream.requests) == 4


async def test_an_answer_that_its_client_did_not_wait_for_is_not_kept() -> None:
    async with MockProvider(first_token_s=30) as mock, Hosted(kept(mock.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(ask())
        await mock.until(lambda journal: len(journal) == 1)
        peer.reset()
        await mock.until(lambda journal: journal[0].left)
        mock.configure(first_token_s=0)

        assert told(await (await hosted.peer()).ask(ask())) == ["miss"]


async def test_joined_requests_are_kept_once_and_told_what_they_got() -> None:
    # Time for all three to come, on a machine that has other things to do as well.
    async with MockProvider(first_token_s=0.7) as mock, Hosted(kept(mock.base_url, coalesce=True)) as hosted:
        peers = [await hosted.peer() for _ in range(3)]
        for peer in peers:
            await peer.send(ask(stream=True))
        replies = [await peer.reply() for peer in peers]
        again = await peers[0].ask(ask(stream=True))

        assert told(*replies, again) == ["miss", "miss", "miss", "hit"]
        assert {reply.body for reply in replies} == {again.body}
        assert len(mock.journal) == 1
        assert hosted.snapshot().models["m"].shared == [2, 0, 1, 1, 0]


async def test_a_reload_keeps_what_was_kept_unless_it_changes_the_model() -> None:
    async with MockProvider() as mock:
        config = kept(mock.base_url)
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            await peer.ask(ask())
            hosted.reload({**config, "server": {"keepalive_s": 7}})
            same = await peer.ask(ask())
            changed = {**config, "endpoints": [{**config["endpoints"][0], "model": "other"}]}
            hosted.reload(changed)
            other = await peer.ask(ask())

            assert told(same, other) == ["hit", "miss"]


async def test_the_library_keeps_answers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", "sk-0123456789abcdef")
    async with MockProvider(reply="one two") as mock, Client(config_of(tmp_path, kept(mock.base_url))) as client:
        replies = [await client.chat("m", "hi", temperature=0) for _ in range(2)]
        texts = ["".join([piece.text async for piece in client.stream("m", "hi", temperature=0)]) for _ in range(2)]

        assert [reply.text for reply in replies] == texts == ["one two"] * 2
        assert [reply.attempts for reply in replies] == [1, 0]
        assert len(mock.journal) == 2


def far(url: str) -> dict[str, Any]:
    return kept(url, cache={"redis": "env:REDIS_URL"})


async def test_sidecars_share_answers_through_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine a look takes longer than one may, and Redis would be left alone.
    monkeypatch.setattr("dispatch.cache.redis.LOOK_S", 20.0)
    async with RedisDouble() as redis, MockProvider() as mock:
        environ = {"REDIS_URL": redis.url}
        async with Hosted(far(mock.base_url), environ) as first, Hosted(far(mock.base_url), environ) as second:
            asked = await (await first.peer()).ask(ask(stream=True))
            await until(lambda: redis.data)
            found = await (await second.peer()).ask(ask(stream=True))
            near = await (await second.peer()).ask(ask(stream=True))
            looks = redis.reads

            assert told(asked, found, near) == ["miss", "hit", "hit"]
            assert asked.body == found.body == near.body
            assert len(mock.journal) == 1
            assert looks == 2
            assert all(b"hi" not in key for key in redis.data)
            for hosted in (first, second):
                await close(hosted)


async def test_without_its_redis_a_model_answers_all_the_same() -> None:
    async with MockProvider() as mock, Hosted(far(mock.base_url), {"REDIS_URL": "redis://127.0.0.1:1"}) as hosted:
        peer = await hosted.peer()

        assert told(*[await peer.ask(ask()) for _ in range(2)]) == ["miss", "hit"]
        await close(hosted)


async def test_a_redis_that_hangs_is_left_alone() -> None:
    async with RedisDouble(hangs=True) as redis, MockProvider() as mock, Hosted(far(mock.base_url), {"REDIS_URL": redis.url}) as hosted:
        peer = await hosted.peer()
        replies = [await peer.ask(ask(max_tokens=number)) for number in range(1, 6)]

        assert told(*replies) == ["miss"] * 5
        assert redis.reads <= 1
        await close(hosted)


async def test_a_client_that_leaves_while_redis_is_asked() -> None:
    async with RedisDouble(hangs=True) as redis, MockProvider() as mock, Hosted(far(mock.base_url), {"REDIS_URL": redis.url}) as hosted:
        peer = await hosted.peer()
        await peer.send(ask())
        await until(lambda: redis.connections)
        peer.reset()
        await until(lambda: hosted.reports)

        assert [outcome for _, outcome, _ in hosted.reports] == [Failure.CANCELLED]
        await close(hosted)


async def close(hosted: Hosted) -> None:
    generation = hosted.dispatcher.generation
    assert generation is not None
    for stores in generation.caches.values():
        if stores.redis is not None:
            await asyncio.wait_for(stores.redis.wait_closed(), 10)


def test_the_address_of_redis_is_a_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        build(kept("http://a", cache={"redis": "redis://:hunter2@host"}))

    assert "hunter2" not in str(caught.value)
    assert str(caught.value).startswith("models.m.cache.redis: expected env:NAME or file:/path")
