"""What a translation cannot say is named to the client and counted in `/metrics`, by endpoint and place, never by the client's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import Peer
from tests.integration.upstream import GOOD, Upstream, answer, chunk, once, stream_head

pytestmark = pytest.mark.anyio

NAME = "dispatch_translation_left_out_total"
TURN = [{"role": "user", "content": "hello"}]
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hello"}, {"type": "hologram", "data": "?"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "aura", "colour": "green"},
    {"type": "aura", "colour": "blue"},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]


def config(upstream: Upstream, provider: str = "anthropic", **endpoint: Any) -> dict[str, Any]:
    found = pool(upstream.base_url)
    base = upstream.base_url.removesuffix("/v1") if provider == "anthropic" else upstream.base_url
    found["endpoints"][0] |= {"provider": provider, "base_url": base, **endpoint}
    return found


def post(path: str, body: dict[str, Any]) -> bytes:
    sent = json.dumps({"model": "m", **body}).encode()
    return b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        path.encode(),
        len(sent),
        sent,
    )


async def counted(hosted: Hosted) -> dict[str, float]:
    return {dict(labels)["where"]: value for (name, labels), value in (await hosted.metrics()).items() if name == NAME}


async def test_what_is_left_out_of_a_request_and_of_its_answer_is_counted() -> None:
    async with Upstream(once(answer(MESSAGE))) as upstream, Hosted(config(upstream, drop_unsupported=True)) as hosted:
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(post("/v1/chat/completions", {"messages": TURN, "logit_bias": {"1": 2}, "seed": 7, "aura": "green"}))

        assert reply.status == 200
        named = set(reply.headers["x-dispatch-dropped"].split(", "))
        assert {"logit_bias", "seed", "aura"} < named
        assert await counted(hosted) == {"request": 3, "answer": len(named) - 3}


async def test_a_request_that_is_refused_for_what_cannot_be_said_is_counted() -> None:
    async with Upstream(once(answer(MESSAGE))) as upstream, Hosted(config(upstream)) as hosted:
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(post("/v1/chat/completions", {"messages": TURN, "aura": "green"}))

        assert reply.status == 400
        assert b"aura" in reply.body
        assert not upstream.requests
        assert await counted(hosted) == {"refused": 1}


async def test_kinds_of_events_that_nobody_knows_are_counted_once_a_stream() -> None:
    data = b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode()) for event in EVENTS)
    stream = stream_head() + chunk(data) + b"0\r\n\r\n"
    async with Upstream(once(stream)) as upstream, Hosted(config(upstream)) as hosted:
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(post("/v1/chat/completions", {"messages": TURN, "stream": True}))

        assert b"hello" in reply.body
        assert b": x-dispatch-dropped: aura" in reply.body
        assert await counted(hosted) == {"stream": 1}


async def test_what_is_passed_on_is_whole_and_counts_nothing() -> None:
    async with Upstream(GOOD) as upstream, Hosted(config(upstream, "openai_compatible")) as hosted:
        async with Peer(hosted.port) as peer:
            reply = await peer.ask(post("/v1/chat/completions", {"messages": TURN, "aura": "green"}))

        assert reply.status == 200
        assert json.loads(upstream.requests[-1].partition(b"\r\n\r\n")[2])["aura"] == "green"
        assert await counted(hosted) == {}
