"""The messages of a Converse request, read into the form."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.converse.answers import citation
from dispatch.dialects.converse.words import FORMATS, MEDIA_TYPES, hidden_in
from dispatch.dialects.form import Media, Message, Raw, Text, Thinking, ToolResult, ToolUse
from dispatch.dialects.shape import expect, items, text
from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.dialects import Tree
    from dispatch.dialects.form import Part

__all__ = ["mark", "messages_of", "parts_of"]

_ROLES = frozenset(("user", "assistant", "system"))
_TEXTS = frozenset(("csv", "html", "txt", "md"))
"""Formats of documents that are text."""


def messages_of(given: list[Any]) -> list[Message]:
    """The turns of a conversation.

    Raises:
        BadRequest: something has the wrong form; it is named. The same in all functions here.
    """
    if not given:
        raise BadRequest("messages: expected at least one", code="missing_parameter", param="messages")
    return [_message(expect(one, dict, f"messages[{at}]"), f"messages[{at}]") for at, one in enumerate(given)]


def _message(tree: Tree, where: str) -> Message:
    role = text(tree, "role", where)
    if role not in _ROLES:
        raise BadRequest(f"{where}.role: {role!r} is not known", code="invalid_request", param=f"{where}.role")
    return Message(role=role, parts=parts_of(items(tree, "content", where), f"{where}.content"))


def parts_of(blocks: list[Any], where: str) -> list[Part]:
    """Blocks of content; a cache point becomes a mark on what stands before it."""
    parts: list[Part] = []
    for at, one in enumerate(blocks):
        block = expect(one, dict, f"{where}[{at}]")
        kind = next((name for name in block if block[name] is not None), "block")
        if kind == "cachePoint" and parts and hasattr(parts[-1], "cache"):
            parts[-1].cache = mark(block[kind], f"{where}[{at}].{kind}")
        else:
            parts += _READ.get(kind, _raw)(block, f"{where}[{at}].{kind}")
    return parts


def mark(point: Any, where: str) -> Tree:
    """A cache point in Anthropic's words."""
    ttl = text(expect(point, dict, where), "ttl", where)
    return {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})


def _raw(block: Tree, where: str) -> list[Part]:
    return [Raw(dialect="converse", kind=where.rpartition(".")[2], value=block)]


def _text(block: Tree, where: str) -> list[Part]:
    found = block["text"]
    # Within `guardContent` it stands one level deeper.
    said = text(found, "text", where) if isinstance(found, dict) else expect(found, str, where)
    return [Text(text=said)] if said else []


def _guarded(block: Tree, where: str) -> list[Part]:
    """What a guardrail looks at is content as any other; `read_request` tells of the wish."""
    return parts_of([block["guardContent"]], where)


def _media(kind: str) -> Callable[[Tree, str], list[Part]]:
    def read(block: Tree, where: str) -> list[Part]:
        tree = expect(block[kind], dict, where)
        source = expect(tree.get("source"), dict, f"{where}.source")
        word = text(tree, "format", where)
        media_type = FORMATS.get(word, "") if kind == "document" else MEDIA_TYPES.get(f"{kind}/{word}", f"{kind}/{word}")
        extra = {name: tree[name] for name in ("context", "citations") if tree.get(name) is not None}
        part = Media(kind=kind, media_type=media_type, name=text(tree, "name", where), extra=extra)
        if source.get("bytes") is not None:
            part.data = text(source, "bytes", f"{where}.source")
            if kind == "document" and word in _TEXTS:
                _decode(part)
        elif isinstance(source.get("text"), str):
            part.text = source["text"]
        else:
            # What lies in S3, with its owner; the pieces of a document that is cited by them.
            return _raw(block, where)
        return [part]

    return read


def _decode(part: Media) -> None:
    """A document that is text, as text: others want it so."""
    try:
        part.text, part.data = base64.b64decode(part.data, validate=True).decode(), ""
    except ValueError:
        return


def _tool_use(block: Tree, where: str) -> list[Part]:
    tree = expect(block["toolUse"], dict, where)
    if tree.get("type") == "server_tool_use":
        return [Raw(dialect="converse", kind="server_tool_use", value=block)]
    arguments = msgspec.json.encode(tree.get("input", {})).decode()
    return [ToolUse(id=text(tree, "toolUseId", where), name=text(tree, "name", where), arguments=arguments)]


def _tool_result(block: Tree, where: str) -> list[Part]:
    tree = expect(block["toolResult"], dict, where)
    if tree.get("type"):
        # Of a tool that ran at the provider.
        return _raw(block, where)
    parts = parts_of(items(tree, "content", where), f"{where}.content")
    return [ToolResult(id=text(tree, "toolUseId", where), parts=parts, is_error=tree.get("status") == "error")]


def _json(block: Tree, where: str) -> list[Part]:
    del where
    return [Text(text=msgspec.json.encode(block["json"]).decode())]


def _reasoning(block: Tree, where: str) -> list[Part]:
    tree = expect(block["reasoningContent"], dict, where)
    if tree.get("redactedContent") is not None:
        return [Thinking(signature=hidden_in(text(tree, "redactedContent", where)), is_redacted=True)]
    shown = expect(tree.get("reasoningText") or {}, dict, f"{where}.reasoningText")
    return [Thinking(text=text(shown, "text", where), signature=text(shown, "signature", where))]


def _cited(block: Tree, where: str) -> list[Part]:
    tree = expect(block["citationsContent"], dict, where)
    said = "".join(text(expect(one, dict, where), "text", where) for one in items(tree, "content", where))
    try:
        sources = [citation(expect(one, dict, where)) for one in items(tree, "citations", where)]
    except (AttributeError, TypeError):
        raise BadRequest(f"{where}.citations: a source is malformed", code="invalid_request", param=f"{where}.citations") from None
    return [Text(text=said, citations=sources)]


_READ: dict[str, Callable[[Tree, str], list[Part]]] = {
    "text": _text,
    **{kind: _media(kind) for kind in ("image", "document", "video", "audio")},
    "toolUse": _tool_use,
    "toolResult": _tool_result,
    "guardContent": _guarded,
    "json": _json,
    "reasoningContent": _reasoning,
    "citationsContent": _cited,
}
"""By the name of the block's only member. What is not here only its own dialect understands."""
