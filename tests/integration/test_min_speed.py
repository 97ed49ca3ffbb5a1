"""Streams that trickle: asked elsewhere before their commit, taken over or ended after it, left alone while they keep up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.config import MinSpeed
from dispatch.errors import Failure
from dispatch.policy.speed import Speed

from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import chat, events_of
from tests.integration.upstream import Upstream, chunk, delta, once, stream_head

if TYPE_CHECKING:
    from tests.integration.peer import Reply
    from tests.integration.upstream import Line, Script

pytestmark = pytest.mark.anyio

ROLE = delta(None)
END = delta("", "stop") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
WORDS = "one two three four five six seven eight nine ten "
GOOD = once(stream_head() + ROLE + delta(WORDS) + delta("and the end") + END)
FLOOR = {"chars_per_s": 100, "window_s": 0.5}
LONG = {"chars_per_s": 100, "window_s": 2.0}
"""For streams that keep up: a pause of the machine is no window of silence."""
EVERY_S = 0.02


def trickling(text: str = WORDS * 20, size: int = 1) -> Script:
    """So many characters fifty times a second, then a proper end."""

    async def script(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + ROLE)
        for at in range(0, len(text), size):
            await line.send(delta(text[at : at + size]))
            await asyncio.sleep(EVERY_S)
        await line.send(END)

    return script


def text_of(reply: Reply) -> str:
    events = [event for event in events_of(reply.body) if isinstance(event, dict) and event.get("choices")]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


async def ask(hosted: Hosted) -> Reply:
    return await (await hosted.peer()).ask(chat(stream=True))


def trickle_pool(*urls: str, **model: Any) -> dict[str, Any]:
    return pool(*urls, min_speed=FLOOR, **model)


async def test_before_the_commit_another_endpoint_is_asked() -> None:
    async with (
        Upstream(trickling()) as slow,
        Upstream(GOOD) as good,
        Hosted(trickle_pool(slow.base_url, good.base_url, commit="whole")) as hosted,
    ):
        reply = await ask(hosted)

        assert text_of(reply) == WORDS + "and the end"
        assert reply.is_whole
        assert hosted.attempts() == {Failure.SLOW: 1}
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_what_the_first_brought_is_not_expected_of_the_second() -> None:
    async def burst(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + ROLE + delta("x" * 50_000))
        await line.gone()

    async with (
        Upstream(burst) as first,
        Upstream(trickling(WORDS * 40, size=20)) as second,
        Hosted(pool(first.base_url, second.base_url, commit="whole", strategy="weighted", min_speed=LONG)) as hosted,
    ):
        reply = await ask(hosted)

        assert text_of(reply) == WORDS * 40
        assert hosted.attempts() == {Failure.SLOW: 1}
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_after_the_commit_the_stream_is_taken_over_where_the_plan_says_so() -> None:
    async with (
        Upstream(trickling()) as slow,
        Upstream(GOOD) as good,
        Hosted(trickle_pool(slow.base_url, good.base_url, recover=["restart"])) as hosted,
    ):
        reply = await ask(hosted)

        assert text_of(reply) == WORDS + "and the end"
        assert reply.is_whole
        assert reply.body.count(b'"role"') == 1


async def test_after_the_commit_it_ends_with_an_error_where_no_plan_goes_on() -> None:
    async with Upstream(trickling()) as slow, Upstream(GOOD) as good, Hosted(trickle_pool(slow.base_url, good.base_url)) as hosted:
        reply = await ask(hosted)

        assert "characters a second over 0.5 s, less than 100" in events_of(reply.body)[-1]["error"]["message"]
        assert not reply.is_whole
        assert 0 < len(text_of(reply)) < len(WORDS * 20)
        assert not good.requests
        assert hosted.attempts() == {Failure.SLOW: 1}


async def test_a_stream_that_keeps_up_is_left_alone() -> None:
    # A busy machine sends later, never more: so far above the floor that only a tenth of the pace would fall below it.
    async with Upstream(trickling(WORDS * 80, size=20)) as slow, Hosted(pool(slow.base_url, min_speed=LONG)) as hosted:
        reply = await ask(hosted)

        assert text_of(reply) == WORDS * 80
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_while_its_client_takes_nothing_a_stream_is_not_slow() -> None:
    async def long(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + ROLE)
        for _ in range(3000):
            await line.send(delta("x" * 1000))
        await line.send(END)
        await line.gone()

    async with Upstream(long) as upstream, Hosted(trickle_pool(upstream.base_url)) as hosted:
        peer = await hosted.peer(receive_bytes=4096)
        await peer.send(chat(stream=True))
        await until(lambda: any(client.paused_ns for client in hosted.front.connections))
        # The time of three windows passes, in which nothing comes from upstream because nothing is asked of it.
        await asyncio.sleep(3 * FLOOR["window_s"])
        reply = await peer.reply()

        assert reply.is_whole
        assert len(text_of(reply)) == 3_000_000
        assert hosted.outcomes() == {Failure.NONE: 1}


async def test_without_a_floor_a_stream_may_trickle() -> None:
    async with Upstream(trickling(WORDS)) as slow, Hosted(pool(slow.base_url)) as hosted:
        assert text_of(await ask(hosted)) == WORDS
        assert hosted.outcomes() == {Failure.NONE: 1}


S = 1_000_000_000


def looks(*seen: tuple[float, int] | None) -> list[float | None]:
    """Hold looks at (s, characters so far) against ten characters a second over two seconds; None is a pause."""
    speed = Speed(MinSpeed(chars_per_s=10, window_s=2))
    found: list[float | None] = []
    for one in seen:
        if one is None:
            speed.pause()
        else:
            found.append(speed.too_slow(one[1], int(one[0] * S)))
    return found


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        ([(1, 0), (9, 0), (99, 0)], [None, None, None]),
        ([(1, 5), (2, 5), (2.9, 5), (3, 5)], [None, None, None, 0.0]),
        ([(1, 5), (3, 24)], [None, 9.5]),
        ([(1, 5), (3, 25)], [None, None]),
        # Each window for itself: what was fast before does not excuse.
        ([(1, 5), (3, 900), (5, 910)], [None, None, 5.0]),
        ([(1, 5), None, (9, 5), (10, 5)], [None, None, None]),
        ([(1, 5), None, (9, 5), (11, 5)], [None, None, 0.0]),
    ],
)
def test_speed_is_that_of_a_window_that_is_over(seen: list[tuple[float, int] | None], found: list[float | None]) -> None:
    assert looks(*seen) == found
