"""A whole message, read into the form and written from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import Answer, Choice, Media, Raw, Refusal, Text, Thinking, ToolUse, Usage
from dispatch.dialects.shape import MalformedAnswer, answer_tree, json_object

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Part
    from dispatch.dialects.target import Losses

__all__ = ["REASONS", "STOPS", "add_usage", "read_answer", "tool_id", "write_answer", "write_usage"]

REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
    "refusal": "refusal",
    "pause_turn": "pause",
}
STOPS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool": "tool_use",
    "refusal": "refusal",
    "filter": "refusal",
    "pause": "pause_turn",
    "other": "end_turn",
}
_TIERS_IN = {"standard": "default", "priority": "priority", "batch": "batch"}
_TIERS_OUT = {"default": "standard", "priority": "priority", "batch": "batch"}


def read_answer(body: bytes) -> Answer:
    """Read an answer.

    Raises:
        MalformedAnswer: it is no message.
    """
    tree = answer_tree(body)
    content = tree.get("content")
    if not isinstance(content, list):
        raise MalformedAnswer("the answer has no content")
    said = tree.get("stop_reason") or ""
    usage = Usage()
    given = tree.get("usage")
    if isinstance(given, dict):
        add_usage(usage, given)
    choice = Choice(
        parts=[part for block in content if isinstance(block, dict) and (part := _part(block)) is not None],
        finish=REASONS.get(said, "other" if said else ""),
        raw_finish=said,
        stop_sequence=tree.get("stop_sequence") or "",
    )
    return Answer(id=tree.get("id") or "", model=tree.get("model") or "", choices=[choice], usage=usage if given else None)


def _part(block: Tree) -> Part | None:
    kind = block.get("type")
    if kind == "text":
        return Text(text=block.get("text") or "", citations=block.get("citations") or [])
    if kind == "tool_use":
        arguments = msgspec.json.encode(block.get("input") or {}).decode()
        return ToolUse(id=block.get("id") or "", name=block.get("name") or "", arguments=arguments)
    if kind == "thinking":
        return Thinking(text=block.get("thinking") or "", signature=block.get("signature") or "")
    if kind == "redacted_thinking":
        return Thinking(signature=block.get("data") or "", is_redacted=True)
    return Raw(dialect="messages", kind=str(kind), value=block)


def add_usage(usage: Usage, tree: Tree) -> Usage:
    """Add the counts of a usage object; in a stream a later one may leave some out, and what it has is the sum so far."""
    cached = tree.get("cache_read_input_tokens")
    written = tree.get("cache_creation_input_tokens")
    fresh = tree.get("input_tokens")
    if fresh is not None or cached is not None or written is not None:
        before = usage.input - usage.cached - usage.written
        usage.cached = usage.cached if cached is None else cached
        usage.written = usage.written if written is None else written
        # Anthropic counts what came from the cache and what went into it apart.
        usage.input = (before if fresh is None else fresh) + usage.cached + usage.written
    usage.output = tree.get("output_tokens") or usage.output
    details = tree.get("output_tokens_details")
    if isinstance(details, dict):
        usage.reasoning = details.get("thinking_tokens") or details.get("reasoning_tokens") or usage.reasoning
    tier = tree.get("service_tier")
    usage.tier = _TIERS_IN.get(tier, usage.tier) if isinstance(tier, str) else usage.tier
    return usage


def write_usage(usage: Usage | None) -> Tree:
    """The usage object of a message."""
    usage = usage or Usage()
    tree: Tree = {
        "input_tokens": max(0, usage.input - usage.cached - usage.written),
        "cache_creation_input_tokens": usage.written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        tree["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.tier in _TIERS_OUT:
        tree["service_tier"] = _TIERS_OUT[usage.tier]
    return tree


def write_answer(answer: Answer, now_s: int, losses: Losses) -> bytes:
    """Write an answer; parts without an equal are named in `losses`."""
    del now_s
    choice = answer.choices[0]
    if len(answer.choices) > 1:
        losses.mention("choices")
    if choice.logprobs is not None:
        losses.mention("logprobs")
    content = [block for at, part in enumerate(choice.parts) for block in _blocks(part, at, losses)]
    finish = choice.finish
    if finish == "stop" and any(isinstance(part, ToolUse) for part in choice.parts):
        finish = "tool"
    stop = STOPS.get(finish)
    if choice.stop_sequence and finish == "stop":
        stop = "stop_sequence"
    tree: Tree = {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": choice.stop_sequence or None,
        "usage": write_usage(answer.usage),
    }
    return msgspec.json.encode(tree)


def _blocks(part: Part, at: int, losses: Losses) -> list[Tree]:
    """The signature of another provider's call has no place in it: it goes before it, as reasoning without a text."""
    block = _block(part, at, losses)
    signed = [{"type": "thinking", "thinking": "", "signature": part.signature}] if isinstance(part, ToolUse) and part.signature else []
    return signed if block is None else [*signed, block]


def _block(part: Part, at: int, losses: Losses) -> Tree | None:
    if isinstance(part, Text) and part.citations:
        return {"type": "text", "text": part.text, "citations": part.citations}
    if isinstance(part, Text | Refusal):
        # No `citations: null`: Vercel's AI SDK takes such an answer for broken.
        return {"type": "text", "text": part.text}
    if isinstance(part, Thinking):
        if part.is_redacted:
            return {"type": "redacted_thinking", "data": part.signature}
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    if isinstance(part, ToolUse):
        return {"type": "tool_use", "id": tool_id(part.id, at), "name": part.name, "input": json_object(part.arguments)}
    losses.mention(part.kind if isinstance(part, Raw | Media) else type(part).__name__.lower())
    return None


def tool_id(given: Any, at: int) -> str:
    """The id of a call; of providers that give none, its place."""
    return str(given) if given else f"toolu_{at}"
