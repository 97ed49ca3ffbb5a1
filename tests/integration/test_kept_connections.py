"""Which connections to a provider serve again, which never, and what becomes of a request on one that was dead already."""

from __future__ import annotations

import asyncio
import json
from time import monotonic_ns
from typing import TYPE_CHECKING

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import chat
from tests.integration.upstream import ANSWER, BODY, ERROR, GOOD, Line, Upstream, answer, hang, once

if TYPE_CHECKING:
    from dispatch.transport.pool import Origin

    from tests.integration.upstream import Script

pytestmark = pytest.mark.anyio


def origin_of(hosted: Hosted) -> Origin:
    generation = hosted.dispatcher.generation
    assert generation is not None
    [origin] = generation.origins.values()
    return origin  # type: ignore[return-value]  # over sockets


@pytest.mark.parametrize("extra", [answer(), b"x", b"\r\n", b"HTTP/1.1 200 OK\r\n"])
async def test_a_connection_with_anything_after_its_answer_is_not_used_again(extra: bytes) -> None:
    async with Upstream(once(answer() + extra)) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        for _ in range(3):
            assert json.loads((await peer.ask(chat())).body) == ANSWER

        assert upstream.connections == 3


async def test_a_byte_on_an_idle_connection_closes_it() -> None:
    async def late(line: Line) -> None:
        await line.request()
        await line.send(answer())
        await line.send(answer({"error": "of another request"}))
        await line.gone()

    async with Upstream(late, GOOD) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        assert (await peer.ask(chat())).status == 200
        await upstream.until(lambda: upstream.left == 1)

        assert json.loads((await peer.ask(chat())).body) == ANSWER
        assert upstream.connections == 2


async def test_a_connection_that_the_server_closes_while_idle_is_not_used_again() -> None:
    async with Upstream(once(answer(), then="fin")) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        for _ in range(3):
            assert (await peer.ask(chat())).status == 200
            await until(lambda: not origin_of(hosted)._idle)

        assert upstream.connections == 3


@pytest.mark.parametrize("lines", [("connection: close",), ("keep-alive: timeout=0", "connection: keep-alive")])
async def test_a_connection_that_was_announced_to_end_is_not_kept(lines: tuple[str, ...]) -> None:
    async with Upstream(once(answer(BODY, 200, *lines))) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        assert (await peer.ask(chat())).status == 200
        await until(lambda: not origin_of(hosted)._idle)

        assert (await peer.ask(chat())).status == 200
        assert upstream.connections == 2


@pytest.mark.parametrize(("lines", "allowed_s"), [((), 4.0), (("keep-alive: timeout=3",), 2.0), (("keep-alive: timeout=60",), 4.0)])
async def test_an_idle_connection_is_dropped_before_its_server_would(lines: tuple[str, ...], allowed_s: float) -> None:
    """The slow clock's turns are played by hand: half a second apart, it must have closed it by the time allowed."""
    async with Upstream(once(answer(BODY, 200, *lines))) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        assert (await peer.ask(chat())).status == 200
        await hosted.rested()
        origin = origin_of(hosted)
        [connection] = origin._idle
        # It fell idle right after a turn: the next one sees it.
        began_ns = monotonic_ns()
        turns = 0
        while connection in origin._idle:
            turns += 1
            origin.sweep(began_ns + turns * 500_000_000)

        assert allowed_s - 1.5 <= turns * 0.5 <= allowed_s


async def test_a_reused_connection_that_dies_unanswered_is_not_asked_again_by_default() -> None:
    """It may have been executed and billed (CONTRACT section 2)."""

    async def second_unanswered(line: Line) -> None:
        await line.request()
        await line.send(answer())
        await line.request()

    async with Upstream(second_unanswered) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        assert (await peer.ask(chat())).status == 200
        await hosted.rested()
        reply = await peer.ask(chat())

        assert reply.code == (502, "upstream_error")
        assert reply.headers["x-should-retry"] == "false"
        assert hosted.attempts() == {Failure.NONE: 1, Failure.UNKNOWN_EXECUTION: 1}
        assert len(upstream.requests) == 2


async def test_it_is_asked_again_where_the_model_says_so() -> None:
    async with (
        Upstream(once(b"", then="fin"), GOOD) as upstream,
        Hosted(pool(upstream.base_url, retry={"unknown": True, "base_s": 0.001})) as hosted,
    ):
        peer = await hosted.peer()

        assert (await peer.ask(chat())).status == 200
        assert hosted.attempts() == {Failure.NONE: 1, Failure.UNKNOWN_EXECUTION: 1}


@pytest.mark.parametrize(("idle_s", "status"), [(2.0, 200), (0.5, 502)])
async def test_a_stale_connection_is_the_exception(idle_s: float, status: int) -> None:
    """Idle for more than a second and ended at once: its server had closed it before the request was there."""

    async def stale(line: Line) -> None:
        await line.request()
        await line.send(answer())
        await line.reader.read(1)
        line.reset()

    async with Upstream(stale, GOOD) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        assert (await peer.ask(chat())).status == 200
        await hosted.rested()
        [connection] = origin_of(hosted)._idle
        connection.idle_since_ns = monotonic_ns() - int(idle_s * 1e9)

        assert (await peer.ask(chat())).status == status
        assert hosted.attempts()[Failure.UNKNOWN_EXECUTION] == 1
        assert upstream.connections == (2 if status == 200 else 1)


async def test_a_reload_that_takes_an_endpoint_away_lets_its_requests_end() -> None:
    """One under way, and one between two tries, whose connection is yet to be made."""
    release = asyncio.Event()

    async def slow(line: Line) -> None:
        await line.request()
        await release.wait()
        await line.send(answer())

    async with (
        Upstream(slow, once(answer(ERROR, 503, "retry-after-ms: 300"), then="fin"), GOOD) as old,
        Upstream(GOOD) as new,
        Hosted(pool(old.base_url)) as hosted,
    ):
        first, second = await hosted.peer(), await hosted.peer()
        await first.send(chat())
        await old.until(lambda: len(old.requests) == 1)
        await second.send(chat())
        await until(lambda: hosted.attempts() == {Failure.OVERLOADED: 1})
        hosted.reload(pool(new.base_url))
        release.set()

        assert (await first.reply()).status == 200
        assert (await second.reply()).status == 200
        assert len(old.requests) == 3
        third = await hosted.peer()
        assert (await third.ask(chat())).status == 200
        assert len(new.requests) == 1


# A server that closes right after an answer without having said so.


def closing(after_s: float) -> Script:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer())
        if after_s:
            await asyncio.sleep(after_s)

    return script


@pytest.mark.parametrize("after_s", [0.0, 0.0003, 0.002])
async def test_nothing_is_written_to_a_connection_that_is_just_being_closed(after_s: float) -> None:
    """Seen with llama.cpp under load. Nobody could tell whether such a request was executed: it would be lost."""
    async with Upstream(closing(after_s)) as upstream, Hosted(pool(upstream.base_url, retry={"attempts": 1})) as hosted:

        async def client() -> None:
            async with await hosted.peer() as peer:
                for _ in range(5):
                    assert (await peer.ask(chat())).status == 200

        await asyncio.gather(*(client() for _ in range(16)))

        assert hosted.attempts() == {Failure.NONE: 80}
        assert upstream.connections >= 80


async def test_a_server_that_begins_to_close_is_doubted_from_then_on() -> None:
    """It keeps its connections at first; then it closes them when they are idle, and no request is lost to that."""
    closes = asyncio.Event()

    async def script(line: Line) -> None:
        while not closes.is_set():
            await line.request()
            await line.send(answer())
        await line.request()
        await line.send(answer())

    async with Upstream(script) as upstream, Hosted(pool(upstream.base_url, retry={"attempts": 1})) as hosted:
        peer = await hosted.peer()
        for _ in range(3):
            assert (await peer.ask(chat())).status == 200
            await hosted.rested()
        assert upstream.connections == 1
        closes.set()
        # One more is read by the loop above; the one after it is the last of its connection.
        for _ in range(2):
            assert (await peer.ask(chat())).status == 200
            await until(lambda: not hosted.dispatcher.under_way)
        await until(lambda: not origin_of(hosted)._idle)
        others = [await hosted.peer() for _ in range(8)]
        for _ in range(3):
            assert {(await reply).status for reply in [asyncio.ensure_future(other.ask(chat())) for other in others]} == {200}


async def test_a_connection_handed_on_at_once_was_not_idle() -> None:
    """It was idle for long before; what it is given right after its answer may have been executed when it ends."""
    served = asyncio.Event()

    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer())
        await line.request()
        await served.wait()
        await line.send(answer())
        await line.reader.read(1)
        line.reset()

    async with Upstream(script, hang) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        first, second = await hosted.peer(), await hosted.peer()
        assert (await first.ask(chat())).status == 200
        await hosted.rested()
        origin = origin_of(hosted)
        [connection] = origin._idle
        connection.idle_since_ns = monotonic_ns() - 2_000_000_000
        await first.send(chat())
        await upstream.until(lambda: len(upstream.requests) == 2)
        origin._make = lambda: None  # type: ignore[method-assign]  # no connection comes in time
        await second.send(chat())
        await until(lambda: origin._waiting)
        served.set()

        assert (await first.reply()).status == 200
        assert (await second.reply()).code == (502, "upstream_error")
