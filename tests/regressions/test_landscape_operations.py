"""Operations and the bytes of streams: what users of other gateways reported."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.fleet import ECHO, MANY, TWO
from tests.integration.hosted import Hosted, pool
from tests.integration.peer import chat, events_of
from tests.integration.sidecar import Connection, Sidecar
from tests.integration.upstream import ANSWER, Line, Upstream, answer, chunk, delta, once, stream_head

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

END = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


async def test_litellm_30772_15647_a_reload_reaches_every_worker_without_a_restart(tmp_path: Path) -> None:
    """Others' workers kept a stale configuration until they were restarted."""
    async with Sidecar(tmp_path, ECHO, *TWO) as sidecar:
        pids = await sidecar.workers(2)
        sidecar.write(ECHO | {"models": {"say": "e", "fresh": "e"}})
        sidecar.signal(signal.SIGHUP)
        await sidecar.event("reloaded")
        answered: dict[int, set[int]] = {}
        for _ in range(MANY):
            async with Connection(sidecar.port) as connection:
                status, _ = await connection.ask("fresh")
                answered.setdefault(connection.worker, set()).add(status)

        assert answered == {0: {200}, 1: {200}}
        assert sidecar.worker_pids() == pids


def finished(reason: str) -> dict[str, Any]:
    return {**ANSWER, "choices": [{**ANSWER["choices"][0], "finish_reason": reason}]}


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "length", "content_filter", "function_call"])
async def test_bifrost_2786_3638_6123_4679_a_finish_reason_is_passed_on_as_it_is(reason: str) -> None:
    """A wrong one stops agents; without `length` a cut answer looks complete."""
    stream = once(stream_head() + delta("x") + delta("", reason) + END)
    async with Upstream(once(answer(finished(reason)))) as whole, Upstream(stream) as streamed:
        async with Hosted(pool(whole.base_url)) as hosted:
            told = json.loads((await (await hosted.peer()).ask(chat())).body)["choices"][0]["finish_reason"]
        async with Hosted(pool(streamed.base_url)) as hosted:
            events = events_of((await (await hosted.peer()).ask(chat(stream=True))).body)

    assert told == reason
    assert [event["choices"][0]["finish_reason"] for event in events if event != "[DONE]"] == [None, reason]


async def test_bifrost_2786_the_pieces_of_a_tool_call_are_passed_on_one_by_one() -> None:
    """Others kept them for up to 120 s and sent them in one burst. Here each piece is sent only after the client has the one before."""
    pieces = ['{"city"', ': "Ber', 'lin"}']
    has_it = [asyncio.Event() for _ in pieces]

    async def script(line: Line) -> None:
        await line.request()
        await line.send(stream_head())
        for index, piece in enumerate(pieces):
            call = {"index": 0, "function": {"arguments": piece}}
            event = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
            await line.send(chunk(b"data: " + json.dumps(event).encode() + b"\n\n"))
            await has_it[index].wait()
        await line.send(delta("", "tool_calls") + END)

    async with Upstream(script) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        for index, piece in enumerate(pieces):
            assert json.dumps(piece)[1:-1].encode() in await peer.until(json.dumps(piece)[1:-1].encode())
            has_it[index].set()
        reply = await peer.reply()

    assert reply.is_whole
