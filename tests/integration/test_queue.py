"""Waiting for a place: who gets it, who is told not to wait, and that nothing is left of those who leave."""

from __future__ import annotations

from itertools import pairwise
from time import monotonic
from typing import Any

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, pool, until
from tests.integration.kitchen import Kitchen, ordered, served
from tests.integration.peer import chat
from tests.integration.upstream import Upstream, answer, once

pytestmark = pytest.mark.anyio

BUSY_S = 5.0
"""By how much a busy machine may be later than a quiet one."""

BIG, SMALL = "sk-big-0123456789", "sk-small-0123456789"
ENVIRON = {"BIG": BIG, "SMALL": SMALL}
OF_BIG, OF_SMALL = f"x-dispatch-key: {BIG}", f"x-dispatch-key: {SMALL}"


def keys(big: dict[str, Any] | None = None, small: dict[str, Any] | None = None) -> list[Any]:
    return [{"name": "big", "key": "env:BIG", **(big or {})}, {"name": "small", "key": "env:SMALL", **(small or {})}]


def depth(hosted: Hosted) -> int:
    return hosted.snapshot().models["m"].queued


async def test_a_request_without_a_place_waits_for_it_and_is_told_how_it_waited() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config()) as hosted:
        first = await ordered(hosted, "first")
        second = await ordered(hosted, "second")
        third = await ordered(hosted, "third")
        assert depth(hosted) == 2
        assert await kitchen.serve_in_turn(3) == ["first", "second", "third"]
        replies = [await peer.reply() for peer in (first, second, third)]

        assert [reply.status for reply in replies] == [200, 200, 200]
        assert "x-dispatch-queue-position" not in replies[0].headers
        assert [reply.headers["x-dispatch-queue-position"] for reply in replies[1:]] == ["1", "2"]
        assert all(reply.headers["x-dispatch-queue-wait-ms"].isdigit() for reply in replies[1:])


async def test_who_comes_while_others_wait_does_not_overtake_them() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config()) as hosted:
        peers = [await ordered(hosted, str(number)) for number in range(4)]
        kitchen.serve()
        await kitchen.arrived(2)
        peers += [await ordered(hosted, str(number)) for number in range(4, 8)]

        assert await kitchen.serve_in_turn(7) == [str(number) for number in range(1, 8)]
        assert await served(peers) == [200] * 8


async def test_keys_share_by_their_weights() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config(queue={"max": 40}) | {"keys": keys(big={"weight": 3})}, ENVIRON) as hosted:
        peers = [await ordered(hosted, "none", OF_BIG)]
        peers += [await ordered(hosted, "big", OF_BIG) for _ in range(12)]
        peers += [await ordered(hosted, "small", OF_SMALL) for _ in range(12)]
        order = (await kitchen.serve_in_turn(25))[1:]

        assert await served(peers) == [200] * 25
        # While both wait, each four places are three of one and one of the other.
        both = order[:16]
        assert all(both[at : at + 4].count("big") == 3 for at in range(0, 16, 4)), both


async def test_a_tenant_with_ten_times_the_requests_gets_no_larger_share() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config() | {"keys": keys()}, ENVIRON) as hosted:
        peers = [await ordered(hosted, "big", OF_BIG) for _ in range(41)]
        peers += [await ordered(hosted, "small", OF_SMALL) for _ in range(4)]
        order = await kitchen.serve_in_turn(45)

        assert await served(peers) == [200] * 45
        places = [at for at, name in enumerate(order) if name == "small"]
        assert places[0] <= 2
        assert all(after - before == 2 for before, after in pairwise(places))


async def test_a_priority_is_a_share_and_can_only_be_lowered() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config() | {"keys": keys(small={"priority": "low"})}, ENVIRON) as hosted:
        peers = [await ordered(hosted, "none", OF_BIG)]
        peers += [await ordered(hosted, "low", OF_BIG, "x-dispatch-priority: low") for _ in range(3)]
        peers += [await ordered(hosted, "raised", OF_SMALL, "x-dispatch-priority: high") for _ in range(3)]
        peers += [await ordered(hosted, "normal", OF_BIG) for _ in range(16)]
        order = (await kitchen.serve_in_turn(23))[1:]

        assert await served(peers) == [200] * 23
        assert order[:12].count("low") <= 2
        assert order[:12].count("raised") <= 2
        assert order[:12].count("normal") >= 8
        # Nobody starves: one in nine, at least.
        assert {"low", "raised"} <= set(order[:11])


async def test_a_priority_that_is_none_is_refused() -> None:
    async with Upstream(once(answer())) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        reply = await (await hosted.peer()).ask(chat("m", "hi", "x-dispatch-priority: urgent"))

        assert reply.code == (400, "invalid_header")


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config(queue={"max": 2})) as hosted:
        peers = [await ordered(hosted, str(number)) for number in range(3)]
        reply = await (await hosted.peer()).ask(chat("m"))
        await kitchen.serve_in_turn(3)

        assert reply.code == (429, "queue_full")
        assert reply.headers["x-should-retry"] == "true"
        assert int(reply.headers["retry-after"]) >= 1
        assert await served(peers) == [200] * 3
        assert (await hosted.metrics())["dispatch_requests_total", frozenset({("model", "m"), ("outcome", "refused")})] == 1


async def test_a_full_queue_makes_room_for_who_waits_for_less() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config(queue={"max": 3}) | {"keys": keys()}, ENVIRON) as hosted:
        greedy = [await ordered(hosted, f"big {number}", OF_BIG) for number in range(4)]
        modest = await hosted.peer()
        await modest.send(chat("m", "small", OF_SMALL))
        reply = await greedy.pop().reply()
        order = await kitchen.serve_in_turn(4)

        assert reply.code == (429, "queue_full")
        assert sorted(order) == ["big 0", "big 1", "big 2", "small"]
        assert order[3] == "big 2"
        assert await served([*greedy, modest]) == [200] * 4


async def test_without_a_queue_a_request_is_refused_at_once() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config(queue={"max": 0})) as hosted:
        first = await ordered(hosted, "first")
        reply = await (await hosted.peer()).ask(chat("m"))
        kitchen.serve()

        assert reply.code == (503, "no_endpoint_available")
        assert await served([first]) == [200]


async def test_a_client_that_leaves_does_not_wait_any_more() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config()) as hosted:
        first = await ordered(hosted, "first")
        gone = await ordered(hosted, "gone")
        third = await ordered(hosted, "third")
        gone.sock.close()
        await until(lambda: depth(hosted) == 1)

        assert await kitchen.serve_in_turn(2) == ["first", "third"]
        assert await served([first, third]) == [200, 200]
        assert hosted.outcomes() == {Failure.NONE: 2, Failure.CANCELLED: 1}


async def test_waiting_ends_with_the_deadline() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config()) as hosted:
        first = await ordered(hosted, "first")
        began = monotonic()
        reply = await (await hosted.peer()).ask(chat("m", "hi", "x-dispatch-deadline-ms: 300"))
        took_s = monotonic() - began
        kitchen.serve()

        assert reply.code == (504, "deadline_exceeded")
        # 250 ms late at most; the rest is the machine's.
        assert 0.29 <= took_s < 0.3 + 0.25 + BUSY_S
        assert await served([first]) == [200]


async def test_waiting_ends_after_the_longest_wait() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config(queue={"wait_s": 0.3})) as hosted:
        first = await ordered(hosted, "first")
        reply = await (await hosted.peer()).ask(chat("m"))
        kitchen.serve()

        assert reply.code == (429, "rate_limit_exceeded")
        assert int(reply.headers["retry-after"]) >= 1
        assert await served([first]) == [200]


async def test_a_stream_hears_where_it_stands_if_it_asked_for_that() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config()) as hosted:
        first = await ordered(hosted, "first")
        asked = await ordered(hosted, "asked", "x-dispatch-queue-events: 1", stream=True)
        silent = await ordered(hosted, "silent", stream=True)
        told = await asked.until(b": queue position=1")
        asked.sock.close()
        await until(lambda: depth(hosted) == 1)
        silent.sock.close()
        await until(lambda: depth(hosted) == 0)
        kitchen.serve()

        assert told.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"x-dispatch-queue-position: 1\r\n" in told
        assert not silent.data
        assert await served([first]) == [200]


async def test_a_stream_that_has_heard_where_it_stood_is_told_of_its_wait_and_its_endpoint_before_its_answer() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config()) as hosted:
        first = await ordered(hosted, "first")
        asked = await ordered(hosted, "asked", "x-dispatch-queue-events: 1", stream=True)
        await asked.until(b": queue position=1")
        await kitchen.serve_in_turn(2)
        reply = await asked.reply()

        head, _, events = reply.body.partition(b"data: ")
        assert [line.split(b": ")[1] for line in head.splitlines() if line.startswith(b": x-dispatch-")] == [
            b"x-dispatch-queue-position",
            b"x-dispatch-queue-wait-ms",
            b"x-dispatch-endpoint",
            b"x-dispatch-attempts",
            b"x-dispatch-overhead-us",
        ]
        assert events
        assert await served([first]) == [200]


@pytest.mark.parametrize("waits", [True, False])
async def test_a_key_at_its_own_limit_waits_where_the_model_says_so(waits: bool) -> None:
    limited = {"limits": {"concurrency": 1}}
    async with Kitchen() as kitchen, Hosted(_places(kitchen, 2, queue={"keys": waits}) | {"keys": keys(big=limited)}, ENVIRON) as hosted:
        first = await ordered(hosted, "first", OF_BIG)
        second = await hosted.peer()
        await second.send(chat("m", "second", OF_BIG))
        await until(lambda: depth(hosted) == waits and (waits or hosted.reports))
        # Others are not held up by a limit that is not theirs.
        other = await ordered(hosted, "other", OF_SMALL)
        await kitchen.arrived(2)
        assert kitchen.names == ["first", "other"]
        for _ in range(3):
            kitchen.serve()

        assert await served([first, second, other]) == ([200, 200, 200] if waits else [200, 429, 200])


def _places(kitchen: Kitchen, count: int, **model: Any) -> dict[str, Any]:
    config = kitchen.config(**model)
    config["endpoints"][0]["limits"]["concurrency"] = count
    return config


async def test_a_queue_is_not_a_way_round_a_limit_of_the_key() -> None:
    async with Kitchen() as kitchen:
        config = kitchen.config() | {"keys": keys(small={"limits": {"requests_per_min": 1}})}
        async with Hosted(config, ENVIRON) as hosted:
            peers = [await ordered(hosted, "big", OF_BIG)]
            peers.append(await ordered(hosted, "small", OF_SMALL))
            await kitchen.serve_in_turn(2)
            assert await served(peers) == [200, 200]
            peers = [await ordered(hosted, "big", OF_BIG) for _ in range(2)]
            reply = await (await hosted.peer()).ask(chat("m", "small", OF_SMALL))
            kitchen.serve()
            kitchen.serve()

            assert reply.code == (429, "rate_limit_exceeded")
            assert await served(peers) == [200, 200]


async def test_a_fallback_with_a_place_is_asked_before_anybody_waits() -> None:
    async with Kitchen() as kitchen, Upstream(once(answer())) as upstream:
        config = kitchen.config()
        config["endpoints"].append({"name": "b", "provider": "openai_compatible", "model": "x", "base_url": upstream.base_url})
        config["models"] = {"m": {"fallback": [{"endpoints": ["a"]}, {"endpoints": ["b"]}]}}
        async with Hosted(config) as hosted:
            first = await ordered(hosted, "first")
            reply = await (await hosted.peer()).ask(chat("m"))
            kitchen.serve()

            assert reply.status == 200
            assert reply.headers["x-dispatch-endpoint"] == "b"
            assert await served([first]) == [200]


async def test_a_reload_that_adds_an_endpoint_serves_those_who_wait() -> None:
    async with Kitchen() as kitchen, Upstream(once(answer())) as upstream, Hosted(kitchen.config()) as hosted:
        peers = [await ordered(hosted, str(number)) for number in range(3)]
        config = kitchen.config()
        config["endpoints"].append({"name": "b", "provider": "openai_compatible", "model": "x", "base_url": upstream.base_url})
        config["models"]["m"]["endpoints"] = ["a", "b"]
        hosted.reload(config)
        assert await served(peers[1:]) == [200, 200]
        kitchen.serve()

        assert await served(peers[:1]) == [200]


async def test_a_reload_that_takes_the_model_away_does_not_forget_those_who_wait() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config() | {"keys": keys()}, ENVIRON) as hosted:
        peers = [await ordered(hosted, str(number), OF_BIG) for number in range(2)]
        config = kitchen.config()
        config["models"] = {"n": "a"}
        hosted.reload(config)

        assert await kitchen.serve_in_turn(2) == ["0", "1"]
        assert await served(peers) == [200, 200]
        hosted.reload(kitchen.config())


async def test_a_drain_finishes_those_who_wait() -> None:
    async with Kitchen() as kitchen, Hosted(kitchen.config()) as hosted:
        peers = [await ordered(hosted, str(number)) for number in range(3)]
        hosted.dispatcher.draining = True
        hosted.front.end_after_answers()

        assert await kitchen.serve_in_turn(3) == ["0", "1", "2"]
        replies = [await peer.reply() for peer in peers]
        assert [reply.status for reply in replies] == [200] * 3
        assert all(reply.headers["connection"] == "close" for reply in replies)


async def test_a_place_that_time_brings_is_taken_when_the_limit_says() -> None:
    async with Upstream(once(answer())) as upstream:
        config = pool(upstream.base_url)
        # One request every 0.5 s.
        config["endpoints"][0]["limits"] = {"requests_per_min": 121, "burst_s": 0.5}
        async with Hosted(config) as hosted:
            peers = [await hosted.peer() for _ in range(3)]
            began = monotonic()
            for peer in peers:
                await peer.send(chat("m"))

            assert await served(peers) == [200] * 3
            took_s = monotonic() - began
            assert 0.95 <= took_s < 1 + BUSY_S, took_s


async def test_an_endpoint_that_is_broken_is_not_waited_for_as_one_that_is_busy() -> None:
    async with Upstream(once(answer({"error": {"message": "broken"}}, 500))) as upstream:
        config = pool(
            upstream.base_url, retry={"attempts": 1}, health={"consecutive": 1, "open_s": 60, "open_max_s": 60, "panic_threshold": 0}
        )
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            assert (await peer.ask(chat("m"))).status == 500
            began = monotonic()
            first = await peer.ask(chat("m"))
            took_s = monotonic() - began

            assert first.status == 503
            assert took_s < 2 + BUSY_S, took_s
            assert len(upstream.requests) == 1


@pytest.mark.parametrize("model", ["m", "n"])
async def test_a_place_that_another_model_gives_back_is_taken(model: str) -> None:
    async with Kitchen() as kitchen:
        config = kitchen.config()
        config["models"]["n"] = {"endpoints": ["a"]}
        async with Hosted(config) as hosted:
            first = await ordered(hosted, "first", model=model)
            second = await ordered(hosted, "second")
            await kitchen.serve_in_turn(2)

            assert await served([first, second]) == [200, 200]


async def test_a_place_that_one_worker_gives_back_wakes_who_waits_in_another() -> None:
    """It is woken, never polled: here nothing looks at the clock."""
    async with (
        Kitchen() as kitchen,
        Hosted(kitchen.config(), workers=2) as here,
        Hosted(kitchen.config(), beside=here) as there,
    ):
        for hosted in (here, there):
            timer = hosted.dispatcher._timer
            assert timer is not None
            timer.cancel()
        for turn in range(5):
            first = await ordered(here, f"here {turn}")
            second = await ordered(there, f"there {turn}")
            assert there.snapshot().models["m"].queued == 1

            assert await kitchen.serve_in_turn(2) == [f"here {turn}", f"there {turn}"]
            assert await served([first, second]) == [200, 200]
