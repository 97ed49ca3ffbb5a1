"""What the official SDKs read in an answer."""

from __future__ import annotations

import json
from typing import Any

from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from tests.contract.facts import CHAT_STOPS, GEMINI_STOPS, MESSAGE_STOPS, Facts, arguments, data_of

__all__ = ["anthropic_sdk", "google_sdk", "openai_sdk"]

_EVENTS: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def openai_sdk(body: bytes, stream: bool) -> Facts:
    if not stream:
        return of_completion(ChatCompletion.model_validate_json(body))
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    thinking = ""
    signatures: list[str] = []
    usage = None
    lines = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    assert lines[-1] == b"[DONE]"
    for line in lines[:-1]:
        chunk = ChatCompletionChunk.model_validate_json(line)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            extra = choice.delta.model_extra or {}
            thinking += extra.pop("reasoning_content", "") if choice.index == 0 else ""
            signatures += [one.get("signature") or one["data"] for one in extra.pop("reasoning_details", [])]
            extra.pop("annotations", None)
        state.handle_chunk(chunk)
    # Not the final completion: the SDK raises on an answer that its limit cut off.
    facts = of_completion(ChatCompletion.model_validate(state.current_completion_snapshot.model_dump()))
    facts.thinking, facts.signatures = thinking, signatures
    return facts


def of_completion(whole: ChatCompletion) -> Facts:
    choice = whole.choices[0]
    message = choice.message
    extra = message.model_extra or {}
    tools = [
        (call.function.name, arguments(call.function.arguments))
        if call.type == "function"
        else (call.custom.name, arguments(call.custom.input))
        for call in message.tool_calls or ()
    ]
    facts = Facts((message.content or "") + (message.refusal or ""), extra.get("reasoning_content") or "", tools)
    facts.finish = CHAT_STOPS[choice.finish_reason]
    facts.signatures = [one.get("signature") or one["data"] for one in extra.get("reasoning_details") or ()]
    if whole.usage is not None:
        details = whole.usage.prompt_tokens_details
        cached = details.cached_tokens or 0 if details else 0
        facts.usage = (whole.usage.prompt_tokens, whole.usage.completion_tokens, cached)
    return facts


def anthropic_sdk(body: bytes, stream: bool) -> Facts:
    if not stream:
        return of_message(Message.model_validate_json(body))
    whole: Any = None
    buffers: dict[int, bytes] = {}
    last = ""
    for data in data_of(body):
        event = _EVENTS.validate_python(data)
        last = event.type
        whole = accumulate_event(event=event, current_snapshot=whole, json_bufs=buffers)
    assert last == "message_stop"
    assert whole is not None
    return of_message(Message.model_validate(whole.model_dump()))


def of_message(whole: Message) -> Facts:
    facts = Facts()
    for block in whole.content:
        if block.type == "text":
            facts.text += block.text
        elif block.type == "thinking":
            facts.thinking += block.thinking
            facts.signatures += [block.signature] if block.signature else []
        elif block.type == "redacted_thinking":
            facts.signatures.append(block.data)
        elif block.type == "tool_use":
            facts.tools.append((block.name, block.input))
    usage = whole.usage
    cached = usage.cache_read_input_tokens or 0
    facts.usage = (usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0), usage.output_tokens, cached)
    facts.finish = MESSAGE_STOPS[whole.stop_reason] if whole.stop_reason else ""
    return facts


def google_sdk(body: bytes, stream: bool) -> Facts:
    facts = Facts()
    for tree in data_of(body) if stream else [json.loads(body)]:
        whole = GenerateContentResponse.model_validate(tree)
        candidates = [one for one in whole.candidates or () if not one.index]
        for part in (part for one in candidates for part in (one.content and one.content.parts) or ()):
            if part.function_call is not None:
                facts.tools.append((part.function_call.name or "", part.function_call.args or {}))
            elif part.thought:
                facts.thinking += part.text or ""
            else:
                facts.text += part.text or ""
        for candidate in candidates:
            if candidate.finish_reason is not None:
                facts.finish = GEMINI_STOPS.get(candidate.finish_reason.value, "filter")
        usage = whole.usage_metadata
        if usage is not None:
            made = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
            facts.usage = (usage.prompt_token_count or 0, made, usage.cached_content_token_count or 0)
    if facts.finish == "stop" and facts.tools:
        facts.finish = "tool"
    return facts
