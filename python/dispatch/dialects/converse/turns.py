"""The messages of a Converse request, written from the form."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from dispatch.dialects.converse.answers import write_citation
from dispatch.dialects.converse.words import OF_DOCUMENTS, OF_MEDIA, blob_of
from dispatch.dialects.form import Media, Refusal, Text, Thinking, ToolResult, ToolUse
from dispatch.dialects.shape import json_object

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.dialects import Tree
    from dispatch.dialects.form import Message, Part
    from dispatch.dialects.target import Losses

__all__ = ["cache_point", "system_of", "turns_of"]

_BAD_ID = re.compile(r"[^a-zA-Z0-9_.:-]")
_BAD_NAME = re.compile(r"[^A-Za-z0-9 ()\[\]-]+")
_SPACES = re.compile(r" {2,}")
_ID_MOST = 64


def system_of(messages: Iterable[Message], losses: Losses) -> list[Tree]:
    """The system prompt. System messages amid the conversation go to the front, as for Anthropic."""
    return [block for message in messages if message.role == "system" for part in message.parts for block in _blocks(part, losses)]


def turns_of(messages: Iterable[Message], losses: Losses) -> list[Tree]:
    """Turns in which what follows each other from one side is one message."""
    turns: list[Tree] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for part in message.parts for block in _blocks(part, losses)]
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    names: set[str] = set()
    for turn in turns:
        if turn["role"] == "user":
            _results_first(turn)
        for block in turn["content"]:
            document = block.get("document")
            if isinstance(document, dict) and isinstance(document.get("name"), str):
                _name_apart(document, names)
    return turns


def _results_first(turn: Tree) -> None:
    """Results must come first in the turn that follows their calls, each with the mark behind it."""
    results: list[Tree] = []
    others: list[Tree] = []
    last = others
    for block in turn["content"]:
        if "cachePoint" not in block:
            last = results if "toolResult" in block else others
        last.append(block)
    turn["content"] = results + others


def _name_apart(document: Tree, names: set[str]) -> None:
    """Two documents of one name are refused."""
    name, number = document["name"], 2
    while document["name"] in names:
        document["name"] = f"{name} {number}"
        number += 1
    names.add(document["name"])


def cache_point(cache: Tree | None) -> list[Tree]:
    """The mark behind what is to be cached."""
    if cache is None:
        return []
    point: Tree = {"type": "default"}
    if cache.get("ttl") in ("5m", "1h"):
        point["ttl"] = cache["ttl"]
    return [{"cachePoint": point}]


def _blocks(part: Part, losses: Losses) -> list[Tree]:
    block = _block(part, losses)
    return [] if block is None else [block, *cache_point(getattr(part, "cache", None))]


def _block(part: Part, losses: Losses) -> Tree | None:
    if isinstance(part, Text) and part.citations:
        return {"citationsContent": {"content": [{"text": part.text}], "citations": [write_citation(one) for one in part.citations]}}
    if isinstance(part, Text | Refusal):
        # The API refuses blank text.
        return {"text": part.text} if part.text.strip() else None
    if isinstance(part, Media):
        return _media(part, losses)
    if isinstance(part, ToolUse):
        return {"toolUse": {"toolUseId": _tool_id(part.id), "name": part.name, "input": json_object(part.arguments)}}
    if isinstance(part, ToolResult):
        return _result(part, losses)
    if isinstance(part, Thinking):
        return _thinking(part)
    if part.dialect == "converse":
        return part.value  # type: ignore[no-any-return]  # a tree, as it came
    losses.cannot(part.kind, "this part of a message has no equal")
    return None


def _tool_id(given: str) -> str:
    """The id of a call; of one that is too long its end, which differs."""
    return _BAD_ID.sub("_", given)[-_ID_MOST:] or "call"


def _thinking(part: Thinking) -> Tree | None:
    if part.is_redacted:
        return {"reasoningContent": {"redactedContent": blob_of(part.signature)}}
    # Without its signature it is refused; the model does without.
    return {"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}} if part.signature else None


def _result(part: ToolResult, losses: Losses) -> Tree:
    content = [block for one in part.parts if (block := _block(one, losses)) is not None]
    tree: Tree = {"toolUseId": _tool_id(part.id), "content": content}
    if part.is_error:
        tree["status"] = "error"
    return {"toolResult": tree}


def _media(part: Media, losses: Losses) -> Tree | None:
    source = _source(part)
    if source is None:
        losses.cannot(part.kind, "only what is sent along, or lies in S3, is read")
        return None
    if part.kind == "document":
        kind = OF_DOCUMENTS.get(part.media_type.partition(";")[0]) or ("txt" if part.text or part.media_type.startswith("text/") else "pdf")
        tree: Tree = {"format": kind, "name": _name(part.name), "source": source}
        if isinstance(part.extra.get("context"), str):
            tree["context"] = part.extra["context"]
        if isinstance(part.extra.get("citations"), dict):
            tree["citations"] = {"enabled": bool(part.extra["citations"].get("enabled"))}
        return {"document": tree}
    word = part.media_type.partition("/")[2].partition(";")[0]
    return {
        part.kind: {"format": OF_MEDIA.get(word, word) or {"image": "png", "video": "mp4", "audio": "mp3"}[part.kind], "source": source}
    }


def _source(part: Media) -> Tree | None:
    if part.data:
        return {"bytes": part.data}
    if part.text:
        return {"bytes": base64.b64encode(part.text.encode()).decode()}
    return {"s3Location": {"uri": part.url}} if part.url.startswith("s3://") else None


def _name(given: str) -> str:
    """A document's name: letters, digits, single spaces, hyphens, brackets."""
    return _SPACES.sub(" ", _BAD_NAME.sub(" ", given)).strip()[:190] or "document"
