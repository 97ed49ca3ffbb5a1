"""OpenAI's chat dialect for the library: a `Request` becomes a body, an answer a `Response`, an event a `Delta`.

The sidecar never comes here; see `base.py`. Fields that vendors of compatible servers add are read where they carry what we have a
place for (`reasoning_content`, `reasoning`); the rest stays in `Response.body`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

from dispatch.schema import Delta, Request, Response, ToolCall, Usage

__all__ = ["decode_answer", "decode_event", "encode_request"]


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(Struct):
    index: int = 0
    id: str | None = None
    function: _Function = field(default_factory=_Function)


class _Message(Struct):
    content: str | list[dict[str, Any]] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    index: int = 0
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class _Details(Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Reply(Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None


_OPTIONAL = ("max_tokens", "temperature", "top_p", "stop", "tools", "tool_choice", "response_format", "user")

_decoder = msgspec.json.Decoder(_Reply)


def encode_request(request: Request) -> bytes:
    """Write the body of a chat request. What is not set is not sent; a field in `extra` is laid over one of the same name."""
    body: dict[str, Any] = {"model": request.model, "messages": request.messages}
    if request.stream:
        body["stream"] = True
    for name in _OPTIONAL:
        value = getattr(request, name)
        if value not in (None, ()):
            body[name] = value
    return msgspec.json.encode(body | request.extra)


def decode_answer(body: bytes, *, endpoint: str = "", attempts: int = 1, decision: str = "") -> Response:
    """Read a whole answer.

    Args:
        body: the provider's JSON.
        endpoint: who gave it.
        attempts: the tries that it took.
        decision: id of the decision behind it.

    Raises:
        ValueError: it is no chat completion with a choice.
    """
    reply = _decoder.decode(body)
    if not reply.choices or reply.choices[0].message is None:
        raise ValueError("the answer has no choice with a message")
    choice = reply.choices[0]
    message = choice.message or _Message()
    return Response(
        id=reply.id or "",
        model=reply.model or "",
        text=_text(message.content),
        reasoning=message.reasoning_content or message.reasoning or "",
        refusal=message.refusal or "",
        finish_reason=choice.finish_reason or "",
        # Whole calls carry no index: their order is their place.
        tool_calls=tuple(_call(call, place) for place, call in enumerate(message.tool_calls or ())),
        usage=_usage(reply.usage) or Usage(),
        endpoint=endpoint,
        attempts=attempts,
        decision=decision,
        body=body,
    )


def decode_event(data: bytes) -> tuple[Delta, ...]:
    """Read the `data` of one event; nothing for `[DONE]`, one delta for each choice, or for a usage report without choices.

    Raises:
        ValueError: it is no chunk of a chat completion.
    """
    if data.strip() == b"[DONE]":
        return ()
    reply = _decoder.decode(data)
    usage = _usage(reply.usage)
    deltas = tuple(_delta(choice) for choice in reply.choices or ())
    if usage is None:
        return deltas
    # Mistral and DeepSeek put usage beside the last choice, OpenAI into an event of its own.
    return (*deltas, Delta(usage=usage)) if not deltas else (*deltas[:-1], msgspec.structs.replace(deltas[-1], usage=usage))


def _delta(choice: _Choice) -> Delta:
    message = choice.delta or choice.message or _Message()
    return Delta(
        index=choice.index,
        text=_text(message.content),
        reasoning=message.reasoning_content or message.reasoning or "",
        refusal=message.refusal or "",
        tool_calls=tuple(_call(call, call.index) for call in message.tool_calls or ()),
        finish_reason=choice.finish_reason or "",
    )


def _call(call: _Call, index: int) -> ToolCall:
    return ToolCall(index=index, id=call.id or "", name=call.function.name or "", arguments=call.function.arguments or "")


def _text(content: str | list[dict[str, Any]] | None) -> str:
    """Text of a message; Mistral's reasoning models answer in parts, of which only text counts here."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text" and isinstance(part.get("text"), str))
    return content or ""


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    sent, made = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_tokens=(sent.cached_tokens if sent else 0) or 0,
        reasoning_tokens=(made.reasoning_tokens if made else 0) or 0,
    )
