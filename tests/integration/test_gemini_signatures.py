"""Signed reasoning of Anthropic's models in front of Gemini's clients: it comes back to the endpoint as it was signed."""

from __future__ import annotations

import json
from typing import Any

import google.genai
import pytest
from google.genai import types

from tests.integration.hosted import Hosted
from tests.integration.upstream import Upstream, answer, chunk, once, stream_head

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession"),  # Google's own business
]

# Signs of base64 that its other alphabet writes otherwise.
SIGNED = {"type": "thinking", "thinking": "Two and two.", "signature": "EqQB+/+/abc=="}
HIDDEN = {"type": "redacted_thinking", "data": "Emw/+A=="}
TEXT = {"type": "text", "text": "Four."}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [SIGNED, HIDDEN, TEXT],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


def event(kind: str, **fields: Any) -> bytes:
    return chunk(f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode())


def piece(index: int, kind: str, **delta: str) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **delta})


STREAM = b"".join(
    (
        stream_head(),
        event("message_start", message={**MESSAGE, "content": [], "stop_reason": None}),
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
        piece(0, "thinking_delta", thinking="Two "),
        piece(0, "thinking_delta", thinking="and two."),
        piece(0, "signature_delta", signature=SIGNED["signature"]),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block=HIDDEN),
        event("content_block_stop", index=1),
        event("content_block_start", index=2, content_block={"type": "text", "text": ""}),
        piece(2, "text_delta", text="Four."),
        event("content_block_stop", index=2),
        event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 2}),
        event("message_stop"),
        b"0\r\n\r\n",
    )
)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
async def test_googles_sdk_sends_anthropics_signatures_back_in_its_chat(is_stream: bool) -> None:
    first = once(STREAM) if is_stream else once(answer(MESSAGE))
    async with Upstream(first, once(answer(MESSAGE))) as upstream:
        end = {"name": "a", "provider": "anthropic", "model": "claude-sonnet-4-5", "base_url": upstream.base_url.removesuffix("/v1")}
        async with Hosted({"endpoints": [end], "models": {"m": "a"}}) as hosted:
            base = types.HttpOptions(base_url=f"http://127.0.0.1:{hosted.port}")
            async with google.genai.Client(api_key="sk-any", http_options=base).aio as sdk:
                chat = sdk.chats.create(model="m")
                if is_stream:
                    said = "".join([one.text or "" async for one in await chat.send_message_stream("2+2?")])
                else:
                    said = (await chat.send_message("2+2?")).text or ""
                await chat.send_message("Sure?")

    assert said == "Four."
    asked = json.loads(upstream.requests[-1].partition(b"\r\n\r\n")[2])
    assert [turn["role"] for turn in asked["messages"]] == ["user", "assistant", "user"]
    assert asked["messages"][1]["content"] == [SIGNED, HIDDEN, TEXT]
