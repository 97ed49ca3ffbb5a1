"""A whole answer of Converse, read into the form and written from it. It has neither an id nor the model's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.converse.words import blob_of, hidden_in
from dispatch.dialects.form import Answer, Choice, Media, Raw, Refusal, Text, Thinking, ToolUse, Usage
from dispatch.dialects.shape import MalformedAnswer, answer_tree, json_object

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Part
    from dispatch.dialects.target import Losses

__all__ = ["METRICS", "REASONS", "citation", "read_answer", "read_usage", "stop_of", "write_answer", "write_citation", "write_usage"]

REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "filter",
    "content_filtered": "filter",
    "refusal": "refusal",
}
"""All others are the model's faults (`malformed_tool_use`)."""

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use", "filter": "content_filtered", "refusal": "content_filtered"}
"""`pause` and `other` have no equal: the turn has ended."""
METRICS = {"latencyMs": 0}
"""The API demands a number of milliseconds. Dialects have no clock; what this process took stands in a header field."""

_LOCATIONS = {
    "documentPage": ("page_location", "start_page_number", "end_page_number"),
    "documentChar": ("char_location", "start_char_index", "end_char_index"),
    "documentChunk": ("content_block_location", "start_block_index", "end_block_index"),
}
_TIERS = frozenset(("default", "priority", "flex", "reserved"))


def read_answer(body: bytes) -> Answer:
    """Read an answer.

    Raises:
        MalformedAnswer: it is none.
    """
    tree = answer_tree(body)
    output = tree.get("output")
    message = output.get("message") if isinstance(output, dict) else None
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        raise MalformedAnswer("the answer has no message")
    said = tree.get("stopReason") or ""
    usage = tree.get("usage")
    parts = [_part(block) for block in message["content"] if isinstance(block, dict)]
    choice = Choice(parts=parts, finish=REASONS.get(said, "other" if said else ""), raw_finish=said)
    found = read_usage(usage, _tier(tree)) if isinstance(usage, dict) else None
    return Answer(id="", model="", choices=[choice], usage=found)


def _tier(tree: Tree) -> str:
    tier = tree.get("serviceTier")
    return str(tier.get("type") or "") if isinstance(tier, dict) else ""


def _part(block: Tree) -> Part:
    if isinstance(block.get("text"), str):
        return Text(text=block["text"])
    use = block.get("toolUse")
    if isinstance(use, dict) and use.get("type") != "server_tool_use":
        arguments = msgspec.json.encode(use.get("input") or {}).decode()
        return ToolUse(id=use.get("toolUseId") or "", name=use.get("name") or "", arguments=arguments)
    thought = block.get("reasoningContent")
    if isinstance(thought, dict):
        return _thinking(thought)
    cited = block.get("citationsContent")
    if isinstance(cited, dict):
        text = "".join(one.get("text") or "" for one in cited.get("content") or ())
        return Text(text=text, citations=[citation(one) for one in cited.get("citations") or ()])
    image = block.get("image")
    if isinstance(image, dict) and isinstance(image.get("source"), dict) and image["source"].get("bytes"):
        return Media(kind="image", media_type=f"image/{image.get('format') or 'png'}", data=image["source"]["bytes"])
    # What ran at the provider, and what came after us.
    kind = next((name for name in block if name != "type"), "block")
    return Raw(dialect="converse", kind=kind, value=block)


def _thinking(tree: Tree) -> Part:
    if tree.get("redactedContent"):
        return Thinking(signature=hidden_in(tree["redactedContent"]), is_redacted=True)
    shown = tree.get("reasoningText") or {}
    return Thinking(text=shown.get("text") or "", signature=shown.get("signature") or "")


def citation(tree: Tree) -> Tree:
    """A source, in Anthropic's form."""
    told = "".join(one.get("text") or "" for one in tree.get("sourceContent") or ())
    where: Tree = tree.get("location") or {}
    title = tree.get("title")
    for name, (kind, start, end) in _LOCATIONS.items():
        place: Any = where.get(name)
        if isinstance(place, dict):
            index = place.get("documentIndex") or 0
            known = {"type": kind, "cited_text": told, "document_index": index, "document_title": title, "file_id": None}
            return known | {start: place.get("start") or 0, end: place.get("end") or 0}
    web: Tree = where.get("web") or {}
    url = web.get("url") or tree.get("source") or ""
    return {"type": "web_search_result_location", "url": url, "title": title, "cited_text": told, "encrypted_index": ""}


def read_usage(tree: Tree, tier: str = "") -> Usage:
    """The usage object. What was read from and written to the cache is counted apart here."""
    cached = tree.get("cacheReadInputTokens") or 0
    written = tree.get("cacheWriteInputTokens") or 0
    return Usage(
        input=(tree.get("inputTokens") or 0) + cached + written,
        output=tree.get("outputTokens") or 0,
        cached=cached,
        written=written,
        tier=tier,
    )


def write_answer(answer: Answer, now_s: int, losses: Losses) -> bytes:
    """Write an answer; parts without an equal are named in `losses`."""
    del now_s
    choice = answer.choices[0]
    if len(answer.choices) > 1:
        losses.mention("choices")
    if choice.logprobs is not None:
        losses.mention("logprobs")
    content = [block for part in choice.parts for block in _blocks(part, losses)]
    calls = any(isinstance(part, ToolUse) for part in choice.parts)
    usage = answer.usage or Usage()
    tree: Tree = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop_of(choice.finish, choice.raw_finish, choice.stop_sequence, calls=calls),
        "usage": write_usage(usage),
        "metrics": METRICS,
    }
    if usage.tier in _TIERS:
        tree["serviceTier"] = {"type": usage.tier}
    return msgspec.json.encode(tree)


def stop_of(finish: str, raw: str, stop_sequence: str, *, calls: bool) -> str:
    """The word for why a message ended: the provider's own where it is one of this API; many end all answers in one word."""
    if calls and finish == "stop" and raw not in REASONS:
        return "tool_use"
    if REASONS.get(raw) == finish and raw != "refusal":
        return raw
    return "stop_sequence" if stop_sequence and finish == "stop" else _STOPS.get(finish, "end_turn")


def write_usage(usage: Usage) -> Tree:
    """The usage object. Reasoning is counted with the output, and not apart."""
    return {
        "inputTokens": max(0, usage.input - usage.cached - usage.written),
        "outputTokens": usage.output,
        "totalTokens": usage.input + usage.output,
        "cacheReadInputTokens": usage.cached,
        "cacheWriteInputTokens": usage.written,
    }


def _blocks(part: Part, losses: Losses) -> list[Tree]:
    """The signature of another provider's call has no place in it: it goes before it, as reasoning without a text."""
    block = _block(part, losses)
    signed = [_reasoned("", part.signature)] if isinstance(part, ToolUse) and part.signature else []
    return signed if block is None else [*signed, block]


def _reasoned(text: str, signature: str) -> Tree:
    return {"reasoningContent": {"reasoningText": {"text": text} | ({"signature": signature} if signature else {})}}


def _block(part: Part, losses: Losses) -> Tree | None:
    if isinstance(part, Text) and part.citations:
        return {"citationsContent": {"content": [{"text": part.text}], "citations": [write_citation(one) for one in part.citations]}}
    if isinstance(part, Text | Refusal):
        return {"text": part.text}
    if isinstance(part, Thinking):
        if part.is_redacted:
            return {"reasoningContent": {"redactedContent": blob_of(part.signature)}}
        return _reasoned(part.text, part.signature)
    if isinstance(part, ToolUse):
        return {"toolUse": {"toolUseId": part.id, "name": part.name, "input": json_object(part.arguments)}}
    if isinstance(part, Media) and part.kind == "image" and part.data:
        return {"image": {"format": part.media_type.partition("/")[2] or "png", "source": {"bytes": part.data}}}
    if isinstance(part, Raw) and part.dialect == "converse":
        return part.value  # type: ignore[no-any-return]  # a tree, as it came
    losses.mention(part.kind if isinstance(part, Raw | Media) else type(part).__name__.lower())
    return None


def write_citation(tree: Tree) -> Tree:
    """A source in Anthropic's form, as this API says it."""
    found: Tree = {"sourceContent": [{"text": tree.get("cited_text") or ""}]}
    title = tree.get("title") or tree.get("document_title")
    if title:
        found["title"] = title
    for name, (kind, start, end) in _LOCATIONS.items():
        if tree.get("type") == kind:
            place = {"documentIndex": tree.get("document_index") or 0, "start": tree.get(start) or 0, "end": tree.get(end) or 0}
            return found | {"location": {name: place}}
    url = tree.get("url") or tree.get("source") or ""
    return found | {"source": url, "location": {"web": {"url": url}}}
