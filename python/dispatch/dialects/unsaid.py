"""What a request says beside its content and a dialect has no words for: marks, names, signatures. It is named, never lost in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.dialects.form import Media, Text, Thinking, ToolResult, ToolUse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dispatch.dialects.form import Message, Part, Request
    from dispatch.dialects.target import Losses

__all__ = ["name_unsaid"]

_FAMILIES = {"responses": "chat"}
"""Dialects of one provider: a file of one is a file of the other."""


def name_unsaid(request: Request, target: str, keeps: Collection[str], losses: Losses) -> None:
    """Name what the writer of the dialect `target` leaves out, and take out files of other providers.

    Args:
        request: what is about to be written.
        target: its dialect.
        keeps: of the words here, those that it has a place for: `cache_control`, `name`, `detail`, `citations`, `is_error`, `strict`,
            `custom`, `thinking` and `unsigned_thinking`, `signature`, `redacted_thinking`, `thoughtSignature` (of calls),
            `text.thoughtSignature`, `description` (of a schema), `extra` (what only Anthropic knows of documents and tools).
        losses: where they are named.

    Raises:
        BadRequest: a file lies at another provider.
    """
    is_related = _FAMILIES.get(request.dialect, request.dialect) == _FAMILIES.get(target, target)
    names: list[str] = []
    has_files = False
    for message in request.messages:
        if message.name and message.role != "tool":
            names.append("name")
        for part in message.parts:
            if type(part) is not Text or part.cache or part.citations or part.signature:
                _mark(part, keeps, names)
                has_files = has_files or (isinstance(part, Media) and part.file_id != "")
    for tool in request.tools:
        if tool.cache is not None:
            names.append("cache_control")
        if tool.strict:
            names.append("strict")
        if tool.extra and "extra" not in keeps:
            names += tool.extra
    if request.format is not None and request.format.description:
        names.append("description")
    for name in names:
        if name not in keeps:
            losses.mention(name)
    if has_files and not is_related:
        _take_files(request.messages, losses)


def _take_files(messages: Iterable[Message], losses: Losses) -> None:
    for message in messages:
        for part in [one for one in message.parts if isinstance(one, Media) and one.file_id]:
            losses.cannot("file_id", "a file of another provider cannot be read here")
            message.parts.remove(part)


def _mark(part: Part, keeps: Collection[str], names: list[str]) -> None:
    if isinstance(part, Thinking):
        names += _thought(part)
        return
    if isinstance(part, Text | Media | ToolUse | ToolResult) and part.cache is not None:
        names.append("cache_control")
    if isinstance(part, Text):
        names += ["citations"] if part.citations else []
        names += ["text.thoughtSignature"] if part.signature else []
    elif isinstance(part, Media):
        names += ["detail"] if part.detail in {"low", "high"} else []
        names += part.extra if "extra" not in keeps else ()
    elif isinstance(part, ToolUse):
        names += ["custom"] if part.is_custom else []
        names += ["thoughtSignature"] if part.signature else []
    elif isinstance(part, ToolResult):
        names += ["is_error"] if part.is_error else []
        for one in part.parts:
            _mark(one, keeps, names)


def _thought(part: Thinking) -> list[str]:
    if part.is_redacted:
        return ["redacted_thinking"]
    if not part.text:
        return ["thoughtSignature"] if part.signature else []
    # Where reasoning is signed, it is not taken without.
    return ["thinking", "signature"] if part.signature else ["unsigned_thinking"]
