"""A whole answer of Converse, read into the form. It has neither an id nor the model's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import Answer, Choice, Media, Raw, Text, Thinking, ToolUse, Usage
from dispatch.dialects.shape import MalformedAnswer, answer_tree

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Part

__all__ = ["REASONS", "citation", "read_answer", "read_usage"]

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

_LOCATIONS = {
    "documentPage": ("page_location", "start_page_number", "end_page_number"),
    "documentChar": ("char_location", "start_char_index", "end_char_index"),
    "documentChunk": ("content_block_location", "start_block_index", "end_block_index"),
}


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
        return Thinking(signature=tree["redactedContent"], is_redacted=True)
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
