"""Recorded requests of one dialect on their way to a provider of another: what is sent is what its official SDK would send."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming
from pydantic import TypeAdapter, ValidationError

from tests.contract.exchanges import CLIENTS, PATHS, configuration, exchanges
from tests.contract.inside import sidecar
from tests.contract.recordings import Player, ask, head_and_body

if TYPE_CHECKING:
    from pathlib import Path

SCHEMAS: dict[tuple[str, bool], TypeAdapter[Any]] = {
    ("messages", False): TypeAdapter(MessageCreateParamsNonStreaming),
    ("messages", True): TypeAdapter(MessageCreateParamsStreaming),
    ("chat", False): TypeAdapter(CompletionCreateParamsNonStreaming),
    ("chat", True): TypeAdapter(CompletionCreateParamsStreaming),
}
FIELDS = {
    # The SDK leaves out what its newest models do not take; those before them do.
    "messages": set(MessageCreateParamsNonStreaming.__annotations__) | {"stream", "temperature", "top_p", "top_k"},
    # A server that is merely compatible has it: vLLM, llama.cpp, Ollama, OpenRouter.
    "chat": set(CompletionCreateParamsNonStreaming.__annotations__) | {"stream", "top_k"},
}
MESSAGE = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": "end_turn"}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
ANSWERS = {
    "messages": json.dumps({**MESSAGE, "usage": {"input_tokens": 1, "output_tokens": 1}}).encode(),
    "chat": json.dumps({"id": "1", "model": "m", "choices": [CHOICE], "usage": {"prompt_tokens": 1}}).encode(),
}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", CLIENTS)
async def test_a_translated_request_is_one_that_the_providers_sdk_would_send(target: str, tmp_path: Path) -> None:
    wrong: list[str] = []
    asked = [
        one for one in exchanges() if one.request and one.request.get("messages") and one.dialect != target and one.recording.status == 200
    ]
    async with Player() as player, sidecar(tmp_path, configuration(player)) as port:
        for one in asked:
            assert one.request is not None
            player.play([head_and_body(ANSWERS[target])])
            # Not as a stream, so that the answer is a good one; that it was asked for is of no consequence for the rest.
            answer = await ask(port, PATHS[one.dialect], {**one.request, "model": target, "stream": False})
            if not player.received:
                wrong.append(f"{one.name}: {answer.status} {answer.body[:200]!r}")
                continue
            sent = json.loads(player.received[-1][1])
            try:
                SCHEMAS[target, bool(sent.get("stream"))].validate_python(sent)
            except ValidationError as error:
                wrong.append(f"{one.name}: {str(error)[:600]}")
            wrong += [f"{one.name}: the field {name}" for name in set(sent) - FIELDS[target]]

    assert not wrong, f"{len(wrong)} of {len(asked)}:\n" + "\n".join(wrong[:8])
