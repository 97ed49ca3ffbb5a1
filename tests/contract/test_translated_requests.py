"""Recorded requests of one dialect on their way to a provider of another: what is sent is what its official SDK would send."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from google.genai import types as google
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from tests.contract.exchanges import CLIENTS, configuration, exchanges, put
from tests.contract.inside import sidecar
from tests.contract.recordings import Player, head_and_body

if TYPE_CHECKING:
    from pathlib import Path


class GoogleRequest(BaseModel):
    """The body that google-genai writes, out of its own types."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    contents: list[google.Content]
    system_instruction: google.Content | None = None
    tools: list[google.Tool] | None = None
    tool_config: google.ToolConfig | None = None
    generation_config: google.GenerationConfig | None = None
    safety_settings: list[google.SafetySetting] | None = None


SCHEMAS: dict[tuple[str, bool], TypeAdapter[Any]] = {
    ("messages", False): TypeAdapter(MessageCreateParamsNonStreaming),
    ("messages", True): TypeAdapter(MessageCreateParamsStreaming),
    ("chat", False): TypeAdapter(CompletionCreateParamsNonStreaming),
    ("chat", True): TypeAdapter(CompletionCreateParamsStreaming),
    ("generate", False): TypeAdapter(GoogleRequest),
    ("responses", False): TypeAdapter(ResponseCreateParamsNonStreaming),
}
FIELDS = {
    # The SDK leaves out what its newest models do not take; those before them do.
    "messages": set(MessageCreateParamsNonStreaming.__annotations__) | {"stream", "temperature", "top_p", "top_k"},
    # A server that is merely compatible has it: vLLM, llama.cpp, Ollama, OpenRouter.
    "chat": set(CompletionCreateParamsNonStreaming.__annotations__) | {"stream", "top_k"},
    "generate": {to_camel(name) for name in GoogleRequest.model_fields},
    "responses": set(ResponseCreateParamsNonStreaming.__annotations__),
}
STORED = {"previous_response_id", "conversation", "background", "prompt", "context_management"}
"""What is refused, since nothing is stored."""
MESSAGE = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": "end_turn"}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
ANSWERS = {
    "messages": json.dumps({**MESSAGE, "usage": {"input_tokens": 1, "output_tokens": 1}}).encode(),
    "generate": json.dumps({"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}], "usageMetadata": {}}).encode(),
    "responses": json.dumps({"id": "1", "model": "m", "status": "completed", "output": [], "usage": {}}).encode(),
    "chat": json.dumps({"id": "1", "model": "m", "choices": [CHOICE], "usage": {"prompt_tokens": 1}}).encode(),
}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", ANSWERS)
async def test_a_translated_request_is_one_that_the_providers_sdk_would_send(target: str, tmp_path: Path) -> None:
    wrong: list[str] = []
    asked = [
        one
        for one in exchanges()
        if one.request
        and (one.request.get("messages") or one.request.get("contents") or one.request.get("input"))
        and one.dialect in CLIENTS
        and one.dialect != target
        and one.dialect in CLIENTS
        and one.recording.status == 200
    ]
    async with Player() as player, sidecar(tmp_path, configuration(player)) as port:
        for one in asked:
            assert one.request is not None
            if STORED & set(one.request):
                continue
            player.play([head_and_body(ANSWERS[target])])
            # Not as a stream, so that the answer is a good one; that it was asked for is of no consequence for the rest.
            answer = await put(port, one.dialect, target, {**one.request, "stream": False})
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
