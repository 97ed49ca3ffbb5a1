"""A provider that says what is left of its limits is believed: by plain requests, streams and refusals alike."""

from __future__ import annotations

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import chat
from tests.integration.upstream import BODY, ERROR, Upstream, answer, chunk, delta, once, stream_head

pytestmark = pytest.mark.anyio

LITTLE = ("x-ratelimit-limit-requests: 30", "x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 20s")
STREAM = once(stream_head(*LITTLE) + chunk(delta("hi") + delta(None, "stop") + b"data: [DONE]\n\n") + b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "stream"),
    [(once(answer(BODY, 200, *LITTLE)), False), (once(answer(ERROR, 500, *LITTLE)), False), (STREAM, True)],
    ids=["whole", "error", "stream"],
)
async def test_who_says_that_nothing_is_left_is_left_alone_until_it_is(script: object, stream: bool) -> None:
    async with Upstream(script) as tired, Upstream(*[once(answer())] * 9) as fresh:  # type: ignore[arg-type]  # scripts
        config = pool(tired.base_url, fresh.base_url)
        config["endpoints"][0]["limits"] = {"requests_per_min": 60}
        async with Hosted(config) as hosted:
            peer = await hosted.peer()
            first = await peer.ask(chat(stream=stream))
            replies = [await peer.ask(chat()) for _ in range(4)]
            gauge = hosted.snapshot().gauges["a"]

            assert first.status == 200
            assert {reply.headers["x-dispatch-endpoint"] for reply in replies} == {"b"}
            assert 15 * 10**9 < gauge.cooling_ns <= 20 * 10**9
            assert gauge.found_share == 0.5
            assert len(tired.requests) == 1


async def test_an_answer_that_says_that_much_is_left_changes_nothing() -> None:
    fields = ("x-ratelimit-limit-tokens: 150000", "x-ratelimit-remaining-tokens: 149984", "x-ratelimit-remaining-requests: 100")
    async with Upstream(*[once(answer(BODY, 200, *fields))] * 3) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        assert [(await peer.ask(chat())).status for _ in range(3)] == [200] * 3
        assert hosted.attempts() == {Failure.NONE: 3}
        assert hosted.snapshot().gauges["a"].cooling_ns == 0
