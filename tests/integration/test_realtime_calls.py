"""Realtime sessions: what is transcribed in them, and calls that are joined by their id."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from dispatch.errors import Failure

from tests.integration.hosted import Hosted
from tests.integration.realtime import Provider
from tests.integration.test_realtime_books import CREATE, KEY, booked, config, ended, respond, talking

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

HANDSHAKE = {
    "authorization": f"Bearer {KEY}",
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
TRANSCRIBED = {
    "type": "tokens",
    "total_tokens": 58,
    "input_tokens": 48,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 38},
    "output_tokens": 10,
}


@pytest.mark.parametrize("usage", [TRANSCRIBED, {"type": "duration", "seconds": 3}, None])
async def test_transcriptions_are_charged_beside_responses(usage: dict[str, Any] | None, tmp_path: Path) -> None:
    """OpenAI reports what the transcription of what was heard has used in an event of its own, and bills it."""
    event = {"event_id": "event_1", "type": "conversation.item.input_audio_transcription.completed", "item_id": "item_1"}
    text = json.dumps(event | {"content_index": 0, "transcript": "hello", "usage": usage})
    async with Provider() as provider, Hosted(config(provider, tmp_path, key={})) as hosted:
        async with talking(hosted.port) as socket:
            provider.gate.clear()
            await socket.send_str(CREATE)
            await socket.receive(10)
            # The provider of these tests says what it is told.
            provider.tell(text)
            assert (await socket.receive(10)).data == text
            hosted.dispatcher.draining = True
            hosted.front.end_after_answers()
            assert hosted.front.sessions, "a transcription is no end of the response that is under way"
            provider.gate.set()
            assert json.loads((await socket.receive(10)).data)["type"] == "response.done"
        await ended(hosted)
        tokens = hosted.snapshot().keys["team"].tokens
    [entry] = booked(tmp_path)

    more = (48, 10, 38) if usage is TRANSCRIBED else (0, 0, 0)
    assert tokens == [1_000 + more[0], 500 + more[1], 300]
    assert (entry["tokens_in"], entry["tokens_out"], entry["audio_in"]) == (1_000 + more[0], 500 + more[1], 500 + more[2])


async def test_a_call_is_joined_by_its_id_at_the_model_of_what_is_stored() -> None:
    async with Provider() as provider, Hosted(config(provider, stored="m", key={})) as hosted:
        async with (
            aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session,
            session.ws_connect(f"http://127.0.0.1:{hosted.port}/v1/realtime?call_id=rtc_1") as socket,
        ):
            await respond(socket)
        assert await ended(hosted) is Failure.NONE
        assert hosted.snapshot().keys["team"].tokens == [1_000, 500, 300]

    assert provider.requests[0].query_string == "call_id=rtc_1"


async def test_a_call_without_a_model_has_none_where_nothing_is_stored() -> None:
    async with Provider() as provider, Hosted(config(provider, key={})) as hosted:
        url = f"http://127.0.0.1:{hosted.port}/v1/realtime?call_id=rtc_1"
        async with aiohttp.ClientSession() as session, session.get(url, headers=HANDSHAKE) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]["param"] == "model"

    assert not provider.requests
