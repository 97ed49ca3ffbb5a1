"""Retries, fallbacks, budgets and what a client hears of a provider's words, over real sockets."""

from __future__ import annotations

import asyncio
import json
from time import monotonic
from typing import Any

import pytest
from dispatch.testing import MockProvider

from tests.integration.hosted import ENVIRON, Hosted, pool
from tests.integration.peer import chat, post
from tests.integration.upstream import BODY, ERROR, GOOD, Upstream, answer, once

pytestmark = pytest.mark.anyio


async def test_retry_after_of_the_only_endpoint_is_waited_for() -> None:
    async with (
        Upstream(once(answer(ERROR, 429, "retry-after-ms: 400"), then="fin"), GOOD) as upstream,
        Hosted(pool(upstream.base_url)) as hosted,
    ):
        peer = await hosted.peer()
        before = monotonic()
        reply = await peer.ask(chat())

        assert reply.status == 200
        assert monotonic() - before >= 0.4
        assert reply.headers["x-dispatch-attempts"] == "2"


async def test_an_endpoint_that_asked_to_be_left_alone_is() -> None:
    async with (
        Upstream(once(answer(ERROR, 503, "retry-after: 100"))) as tired,
        Upstream(GOOD) as good,
        Hosted(pool(tired.base_url, good.base_url)) as hosted,
    ):
        peer = await hosted.peer()

        assert [(await peer.ask(chat())).status for _ in range(6)] == [200] * 6
        assert len(tired.requests) == 1


async def test_when_retries_are_spent_the_providers_error_and_its_retry_after_come_through() -> None:
    async with Upstream(once(answer(ERROR, 429, "retry-after: 100"))) as upstream, Hosted(pool(upstream.base_url, deadline_s=50)) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(chat())

        assert reply.status == 429
        assert json.loads(reply.body) == ERROR
        assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("100", "100000")
        assert reply.headers["x-should-retry"] == "false"
        assert len(upstream.requests) == 1


async def test_attempts_are_bounded_and_bad_requests_are_not_repeated() -> None:
    for status, tries in ((500, 3), (400, 1), (404, 1), (422, 1)):
        async with Upstream(once(answer(ERROR, status))) as upstream, Hosted(pool(upstream.base_url)) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(chat())

            assert reply.status == status
            assert json.loads(reply.body) == ERROR
            assert len(upstream.requests) == tries


async def test_a_crowd_of_failing_requests_stays_within_the_retry_budget() -> None:
    async with (
        MockProvider(errors={500: 1.0}) as mock,
        Hosted(pool(mock.base_url, retry={"attempts": 3, "base_s": 0.001}, queue={"max": 0})) as hosted,
    ):

        async def one() -> None:
            async with await hosted.peer() as peer:
                await peer.ask(chat())

        before = monotonic()
        for _ in range(10):
            await asyncio.gather(*(one() for _ in range(20)))
        seconds = monotonic() - before

        retries = hosted.snapshot().endpoints["a"].retries
        # CONTRACT section 6 of DESIGN: a fifth of the requests, ten a second, one second's worth of a full bucket.
        assert retries <= 0.2 * 200 + 10 * (seconds + 1)
        assert len(mock.journal) == sum(hosted.attempts().values())


async def test_fallbacks_are_asked_in_order_and_only_where_they_may_help() -> None:
    def plan(*urls: str) -> dict[str, Any]:
        config = pool(*urls)
        config["models"]["m"] = {"fallback": ["a", "b", "c"], "retry": {"attempts": 1}}
        return config

    async with (
        Upstream(once(answer(ERROR, 500))) as first,
        Upstream(once(answer(ERROR, 503))) as second,
        Upstream(GOOD) as third,
        Hosted(plan(first.base_url, second.base_url, third.base_url)) as hosted,
    ):
        peer = await hosted.peer()
        reply = await peer.ask(chat())

        assert reply.status == 200
        assert reply.headers["x-dispatch-endpoint"] == "c"
        assert reply.headers["x-dispatch-attempts"] == "3"
        assert [len(up.requests) for up in (first, second, third)] == [1, 1, 1]
    async with (
        Upstream(once(answer(ERROR, 400))) as first,
        Upstream(GOOD) as second,
        Hosted(plan(first.base_url, second.base_url, second.base_url)) as hosted,
    ):
        peer = await hosted.peer()

        assert (await peer.ask(chat())).status == 400
        assert len(second.requests) == 0


async def test_a_failure_that_may_have_been_executed_is_not_handed_on() -> None:
    async with Upstream(once(b"", then="fin")) as first, Upstream(GOOD) as second:
        config = pool(first.base_url, second.base_url)
        config["models"]["m"] = {"fallback": ["a", "b"]}
        async with Hosted(config) as hosted:
            peer = await hosted.peer()

            assert (await peer.ask(chat())).code == (502, "upstream_error")
            assert len(second.requests) == 0


async def test_secrets_in_a_providers_words_are_masked() -> None:
    secret = ENVIRON["UP_KEY"]
    quoting = {"error": {"message": f"no access with {secret}, header Bearer {secret}", "type": "invalid_request_error", "code": secret}}
    for status in (400, 401, 429, 500):
        async with Upstream(once(answer(quoting, status))) as upstream, Hosted(pool(upstream.base_url, retry={"attempts": 1})) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(chat())

            assert secret.encode() not in reply.body
            assert b"[masked]" in reply.body
            assert json.loads(reply.body)["error"]["message"]


async def test_masking_leaves_json_whole() -> None:
    quoting = {"error": {"message": 'the header "Bearer abcdefghijk" is wrong', "type": "invalid_request_error", "code": None}}
    async with Upstream(once(answer(quoting, 400))) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()

        assert json.loads((await peer.ask(chat())).body)["error"]["message"] == 'the header "[masked]" is wrong'


@pytest.mark.parametrize("body", [b'{"error": {"message": "half', b'["error"]', b'{"error": "a\x01b"}', b"no JSON", b""])
async def test_a_providers_error_that_is_no_json_object_is_told_in_ours(body: bytes) -> None:
    async with Upstream(once(answer(body, 422))) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(chat())

        assert reply.status == (422 if body else 502)
        assert reply.error["message"]


async def test_a_redirect_is_not_followed_and_no_cookie_or_account_header_comes_back() -> None:
    async with Upstream(GOOD) as other:
        lines = (f"location: {other.base_url}/chat/completions", "set-cookie: a=b", "openai-organization: org", "x-ratelimit-limit: 1")
        async with (
            Upstream(once(answer(b"", 307, "connection: close", *lines)), once(answer(BODY, 200, *lines))) as upstream,
            Hosted(pool(upstream.base_url, retry={"attempts": 1})) as hosted,
        ):
            peer = await hosted.peer()
            replies = [await peer.ask(chat()) for _ in range(2)]

            assert [reply.status for reply in replies] == [502, 200]
            assert len(other.requests) == 0
            for reply in replies:
                assert not {"location", "set-cookie", "openai-organization", "x-ratelimit-limit"} & set(reply.headers)


async def test_a_prompt_too_long_goes_to_a_fallback_that_says_so_and_never_to_the_pools_others() -> None:
    long = {"error": {"message": "maximum context length is 10", "type": "invalid_request_error", "code": "context_length_exceeded"}}
    async with Upstream(once(answer(long, 400))) as first, Upstream(once(answer(long, 400))) as twin, Upstream(GOOD) as larger:
        config = pool(first.base_url, twin.base_url, larger.base_url)
        asked: tuple[list[str], int, int]
        for asked in ([], 400, 1), (["context_length"], 200, 2):
            named, status, requests = asked
            config["models"]["m"] = {"fallback": [{"endpoints": ["a", "b"]}, "c"], "retry": {"fallback_on": named}}
            async with Hosted(config) as hosted:
                peer = await hosted.peer()

                assert (await peer.ask(post(b'{"model":"m","messages":[]}'))).status == status
                assert len(first.requests) + len(twin.requests) == requests
