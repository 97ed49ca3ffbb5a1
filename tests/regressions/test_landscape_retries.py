"""What users of other gateways reported about retries, pauses and limits. Each test is named after its thread."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import chat
from tests.integration.upstream import ERROR, GOOD, Line, Upstream, answer, hang, once

if TYPE_CHECKING:
    from tests.integration.upstream import Script

pytestmark = pytest.mark.anyio

PAUSE_S = 0.4
SLACK_S = 0.002
"""The provider's clock is read after its answer was written; ours, when it has come."""


class Tired:
    """A provider that asks for a pause `times` times, then answers; it writes down who comes before the pause is over."""

    def __init__(self, times: int, status: int = 429, pause_s: float = PAUSE_S) -> None:
        self.early: list[float] = []
        self.asked = 0
        self._times = times
        self._status = status
        self._pause_s = pause_s
        self._open_s = 0.0

    def script(self) -> Script:
        async def script(line: Line) -> None:
            while True:
                await line.request()
                self.asked += 1
                if monotonic() < self._open_s - SLACK_S:
                    self.early.append(self._open_s - monotonic())
                if self.asked > self._times:
                    await line.send(answer())
                    continue
                self._open_s = monotonic() + self._pause_s
                await line.send(answer(ERROR, self._status, f"retry-after-ms: {int(self._pause_s * 1000)}"))

        return script


@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize("endpoints", [1, 2, 3])
async def test_litellm_20722_retry_after_is_kept_after_every_error_not_only_the_first(endpoints: int, status: int) -> None:
    tired = [Tired(times=2, status=status, pause_s=PAUSE_S + 0.1 * at) for at in range(endpoints)]
    ups = [Upstream(one.script()) for one in tired]
    async with asyncio.timeout(30):
        for up in ups:
            await up.__aenter__()
        try:
            async with Hosted(pool(*(up.base_url for up in ups), retry={"attempts": 9, "base_s": 0.001})) as hosted:
                assert await ask(hosted) == 200
                assert await asyncio.gather(*[ask(hosted) for _ in range(3)]) == [200] * 3
        finally:
            for up in ups:
                await up.__aexit__()
    assert [one.early for one in tired] == [[]] * endpoints


async def ask(hosted: Hosted) -> int:
    return (await (await hosted.peer()).ask(chat())).status


@pytest.mark.parametrize("endpoints", [1, 2])
async def test_litellm_40405_34836_a_pool_of_one_pauses_too_and_at_once(endpoints: int) -> None:
    """Twenty-five requests in a row went to a provider that had asked for a pause; here none does, and none fails either."""
    tired = Tired(times=endpoints)
    async with (
        Upstream(tired.script()) as upstream,
        Hosted(pool(*[upstream.base_url] * endpoints, retry={"attempts": 4, "base_s": 0.001})) as hosted,
    ):
        first = asyncio.ensure_future(ask(hosted))
        await upstream.until(lambda: tired.asked == endpoints)
        replies = await asyncio.gather(first, *[ask(hosted) for _ in range(25)])

        assert replies == [200] * 26
        if endpoints == 1:
            assert tired.early == []
        assert hosted.attempts()[Failure.RATE_LIMITED] == 1


async def test_litellm_3646_when_every_endpoint_pauses_the_first_that_may_is_waited_for() -> None:
    quick, slow = Tired(times=1, pause_s=0.3), Tired(times=1, pause_s=5)
    async with (
        Upstream(quick.script()) as first,
        Upstream(slow.script()) as second,
        Hosted(pool(first.base_url, second.base_url, retry={"attempts": 3, "base_s": 0.001})) as hosted,
    ):
        before = monotonic()
        assert await ask(hosted) == 200
        # A request that comes while both pause waits as well.
        assert 0.3 <= monotonic() - before < 4
        assert (quick.asked, slow.asked) == (2, 1)
        assert quick.early == slow.early == []


async def test_litellm_3646_a_pause_that_outlasts_the_deadline_is_told_at_once() -> None:
    async with (
        Upstream(once(answer(ERROR, 429, "retry-after: 100"))) as upstream,
        Hosted(pool(upstream.base_url, deadline_s=20)) as hosted,
    ):
        peer = await hosted.peer()
        assert (await peer.ask(chat())).status == 429
        reply = await peer.ask(chat())

        assert reply.status == 429
        assert 90_000 < int(reply.headers["retry-after-ms"]) <= 100_000
        assert len(upstream.requests) == 1


async def test_no_reply_at_all_is_not_waited_out() -> None:
    """Users of several gateways waited 95 s and 130 s before anything happened."""
    async with Upstream(hang) as silent, Upstream(GOOD) as good, Hosted(pool(silent.base_url, good.base_url, answer_s=0.2)) as hosted:
        before = monotonic()

        assert await ask(hosted) == 200
        assert monotonic() - before < 5
        await silent.until(lambda: silent.left == 1)


async def test_one_slow_endpoint_takes_no_request_down_with_it() -> None:
    async with Upstream(hang) as silent, Upstream(GOOD) as good:
        urls = (silent.base_url, good.base_url, good.base_url)
        async with Hosted(pool(*urls, strategy="least_work", answer_s=0.3)) as hosted:
            replies = [await asyncio.gather(*[ask(hosted) for _ in range(10)]) for _ in range(4)]

            assert replies == [[200] * 10] * 4
            # The breaker holds it back: it does not see a third of all requests.
            assert hosted.snapshot().endpoints["a"].attempts[Failure.FIRST_TOKEN_TIMEOUT] < 14


async def test_a_refused_credential_is_not_tried_again_where_it_was_refused() -> None:
    """The other endpoint pauses: it is waited for, and the first is left alone."""
    tired = Tired(times=1)
    async with (
        Upstream(once(answer(ERROR, 401))) as locked,
        Upstream(tired.script()) as upstream,
        Hosted(pool(upstream.base_url, locked.base_url, retry={"attempts": 5, "base_s": 0.001})) as hosted,
    ):
        assert await ask(hosted) == 200
        assert (tired.asked, tired.early, len(locked.requests)) == (2, [], 1)
