"""Plain requests at endpoints of another dialect take the core's express lane too; nobody can tell by the answer or by what is booked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted, until
from tests.integration.peer import chat
from tests.integration.upstream import GOOD, Upstream, answer, hang, once

if TYPE_CHECKING:
    from tests.integration.peer import Reply

pytestmark = pytest.mark.anyio

# A request id of the client's own is a hint, and a request with a hint goes the ordinary way.
ORDINARY = "x-request-id: mine"
USAGE = {"input_tokens": 3, "output_tokens": 2}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": USAGE,
}


def config(upstream: Upstream, *providers: str, **model: Any) -> dict[str, Any]:
    bases = {"anthropic": upstream.base_url.removesuffix("/v1"), "openai_compatible": upstream.base_url}
    ends = [
        {"name": name, "provider": provider, "model": "up-5", "base_url": bases[provider], "api_key": "env:UP_KEY"}
        for name, provider in zip("abcd", providers, strict=False)
    ]
    return {"endpoints": ends, "models": {"m": {"endpoints": [end["name"] for end in ends], **model}}}


def told(reply: Reply) -> tuple[int, bytes, dict[str, str]]:
    """What must be equal on both ways."""
    varies = ("x-request-id", "x-dispatch-decision", "x-dispatch-overhead-us", "x-dispatch-endpoint")
    # Each of the two has said when it was made.
    body = reply.body if b'"created":' not in reply.body else reply.body.partition(b'"created":')[2].partition(b",")[2]
    return reply.status, body, {name: value for name, value in reply.headers.items() if name not in varies}


async def both_ways(config: dict[str, Any], **asked: Any) -> tuple[Reply, Reply, list[list[int]]]:
    """The same asked on the ordinary way and on the lane; what was booked by each."""
    async with Hosted(config) as hosted:
        peer = await hosted.peer()
        ordinary = await peer.ask(chat("m", "hi", ORDINARY, **asked))
        before = [*hosted.snapshot().endpoints["a"].tokens]
        hosted.dispatcher.report = None  # with a report, an answer on the lane is delivered the ordinary way
        plain = await peer.ask(chat("m", "hi", **asked))
        after = [*hosted.snapshot().endpoints["a"].tokens]
        await until(lambda: not hosted.dispatcher.under_way)

        assert not hosted.dispatcher.watch
        assert hosted._held() == {}
        hosted.check_rest = _nothing  # type: ignore[method-assign]  # the books of reports do not have what went by without one
    return ordinary, plain, [before, [late - early for late, early in zip(after, before, strict=True)]]


async def _nothing() -> None:
    return


async def test_both_ways_give_the_same_answer_and_book_the_same() -> None:
    async with Upstream(once(answer(MESSAGE))) as upstream:
        ordinary, plain, booked = await both_ways(config(upstream, "anthropic"), prompt_cache_key="k")
        by_hand, by_lane = (request.partition(b"\r\n\r\n") for request in upstream.requests)

    assert plain.status == 200
    assert told(plain) == told(ordinary)
    assert plain.headers["x-dispatch-dropped"] == "prompt_cache_key"
    assert (by_hand[2], by_hand[0].replace(b"x-request-id: mine\r\n", b"")) == (by_lane[2], by_lane[0])
    assert booked[0] == booked[1] != [0] * len(booked[0])


async def test_what_the_endpoint_cannot_do_is_refused_the_same_and_nothing_is_sent() -> None:
    async with Upstream(once(answer(MESSAGE))) as upstream:
        ordinary, plain, _ = await both_ways(config(upstream, "anthropic"), logprobs=True)

        assert plain.code == ordinary.code == (400, "unsupported_parameter")
        assert plain.error["param"] == "logprobs"
        assert told(plain) == told(ordinary)
        assert upstream.requests == []


@pytest.mark.parametrize("wrong", [{"hello": "world"}, {**MESSAGE, "content": "text"}, {**MESSAGE, "usage": {"output_tokens": "5"}}])
async def test_an_answer_that_is_no_message_is_an_upstream_error_on_both_ways(wrong: dict[str, Any]) -> None:
    async with Upstream(once(answer(wrong))) as upstream:
        ordinary, plain, _ = await both_ways(config(upstream, "anthropic", retry={"attempts": 1}))

    assert (plain.status, plain.error["code"]) == (ordinary.status, ordinary.error["code"]) == (502, "upstream_error")


@pytest.mark.parametrize("count", [10**30, -7, 2.5])
async def test_tokens_that_nobody_can_have_spent_are_unknown(count: float) -> None:
    async with Upstream(once(answer({**MESSAGE, "usage": {"input_tokens": 3, "output_tokens": count}}))) as upstream:
        ordinary, plain, booked = await both_ways(config(upstream, "anthropic"))

    assert (ordinary.status, plain.status) == (200, 200)
    assert max(booked[0]) < 1 << 32
    assert booked[0] == booked[1]


async def test_a_failed_first_try_goes_on_at_an_endpoint_of_another_dialect() -> None:
    broken = once(answer({"error": {"message": "overloaded"}}, 503))
    async with Upstream(broken) as bad, Upstream(GOOD) as good:
        tree = config(bad, "anthropic")
        tree["endpoints"].append(config(good, "openai_compatible", "openai_compatible")["endpoints"][1])
        tree["models"]["m"] = {"fallback": ["a", "b"]}
        async with Hosted(tree) as hosted:
            peer = await hosted.peer()
            reply = await peer.ask(chat("m", "hi"))

            assert (reply.status, reply.headers["x-dispatch-endpoint"]) == (200, "b")
            assert hosted.outcomes() == {Failure.NONE: 1}


async def test_a_client_that_leaves_is_told_upstream() -> None:
    async with Upstream(hang) as upstream, Hosted(config(upstream, "anthropic")) as hosted:
        peer = await hosted.peer()
        await peer.send(chat("m", "hi"))
        await upstream.until(lambda: upstream.requests)
        peer.reset()
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})

        assert hosted.attempts() == {Failure.CANCELLED: 1}
