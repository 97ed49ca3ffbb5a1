"""The messages of a chat completions request, read into the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatch.dialects.form import Media, Message, Part, Raw, Refusal, Text, Thinking, ToolResult, ToolUse
from dispatch.dialects.shape import expect, items, text
from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from dispatch.dialects import Tree

__all__ = ["read_messages"]

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}
_SPEAKERS = _ROLES.keys() - {"tool", "function"}
_DATA_URL = "data:"


def read_messages(given: list[Any]) -> list[Message]:
    """Read the turns of a conversation, at least one."""
    if not given:
        raise BadRequest("messages: expected at least one", code="missing_parameter", param="messages")
    return [_plain(one) or _message(expect(one, dict, f"messages[{at}]"), f"messages[{at}]") for at, one in enumerate(given)]


def _plain(tree: Any) -> Message | None:
    """A message of a role and a text, as most are; None for any other."""
    if type(tree) is not dict or len(tree) != 2:
        return None
    said, content = tree.get("role"), tree.get("content")
    if type(said) is not str or type(content) is not str or said not in _SPEAKERS:
        return None
    return Message(role=_ROLES[said], parts=[Text(text=content)])


def _message(tree: Tree, where: str) -> Message:
    said = text(tree, "role", where)
    role = _ROLES.get(said)
    if role is None:
        raise BadRequest(f"{where}.role: {said!r} is not known", code="invalid_request", param=f"{where}.role")
    name = text(tree, "name", where)
    parts = _parts(tree.get("content"), f"{where}.content")
    if role == "tool":
        # A function's result, before there were tools, is known by the function's name.
        place = text(tree, "tool_call_id", where) or name
        return Message(role=role, parts=[ToolResult(id=place, name=name, parts=parts)])
    if role == "assistant":
        parts = [*_thinking(tree, where), *parts, *_said(tree, where), *_calls(tree, where)]
    cache = tree.get("cache_control")
    if isinstance(cache, dict) and parts and isinstance(parts[-1], Text | Media | ToolUse):
        parts[-1].cache = cache
    return Message(role=role, parts=parts, name=name)


def _parts(content: Any, where: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(text=content)]
    found = expect(content, list, where)
    return [_part(expect(one, dict, f"{where}[{at}]"), f"{where}[{at}]") for at, one in enumerate(found)]


def _part(tree: Tree, where: str) -> Part:
    kind = text(tree, "type", where)
    cache = tree.get("cache_control")
    if kind == "text":
        return Text(text=text(tree, "text", where), cache=cache)
    if kind == "image_url":
        image = tree.get("image_url")
        image = {"url": image} if isinstance(image, str) else expect(image, dict, f"{where}.image_url")
        url = text(image, "url", f"{where}.image_url")
        return _linked("image", url, detail=text(image, "detail", f"{where}.image_url"), cache=cache)
    if kind == "input_audio":
        audio = expect(tree.get("input_audio"), dict, f"{where}.input_audio")
        form = text(audio, "format", f"{where}.input_audio")
        return Media(kind="audio", media_type=f"audio/{form or 'wav'}", data=text(audio, "data", f"{where}.input_audio"), cache=cache)
    if kind == "file":
        return _file(expect(tree.get("file"), dict, f"{where}.file"), f"{where}.file", cache)
    if kind == "video_url":
        video = expect(tree.get("video_url"), dict, f"{where}.video_url")
        return _linked("video", text(video, "url", f"{where}.video_url"), cache=cache)
    if kind == "refusal":
        return Refusal(text=text(tree, "refusal", where))
    return Raw(dialect="chat", kind=kind, value=tree)


def _linked(kind: str, url: str, detail: str = "", cache: Tree | None = None, name: str = "") -> Media:
    """Media behind a URL, which may carry its data itself (RFC 2397)."""
    if url[:5].lower() == _DATA_URL:
        head, _, data = url[5:].partition(",")
        return Media(kind=kind, media_type=head.partition(";")[0], data=data, detail=detail, cache=cache, name=name)
    return Media(kind=kind, url=url, detail=detail, cache=cache, name=name)


def _file(tree: Tree, where: str, cache: Tree | None) -> Media:
    name = text(tree, "filename", where)
    data = text(tree, "file_data", where)
    if not data:
        return Media(kind="document", file_id=text(tree, "file_id", where), name=name, cache=cache)
    if data[:5].lower() == _DATA_URL or data.startswith(("http://", "https://")):
        return _linked("document", data, cache=cache, name=name)
    return Media(kind="document", media_type="application/pdf", data=data, name=name, cache=cache)


def _thinking(tree: Tree, where: str) -> list[Part]:
    """Reasoning that a client sends back, in whichever form it kept it."""
    details = tree.get("reasoning_details")
    if isinstance(details, list) and details:
        return [_detail(expect(one, dict, f"{where}.reasoning_details")) for one in details]
    blocks = tree.get("thinking_blocks")
    if isinstance(blocks, list) and blocks:
        return [
            Thinking(
                text=block.get("thinking") or "", signature=block.get("signature") or block.get("data") or "", is_redacted="data" in block
            )
            for block in blocks
            if isinstance(block, dict)
        ]
    shown = text(tree, "reasoning_content", where) or text(tree, "reasoning", where)
    return [Thinking(text=shown)] if shown else []


def _detail(tree: Tree) -> Thinking:
    if tree.get("type") == "reasoning.encrypted":
        return Thinking(signature=text(tree, "data"), is_redacted=True)
    return Thinking(text=text(tree, "text") or text(tree, "summary"), signature=text(tree, "signature"))


def _said(tree: Tree, where: str) -> list[Part]:
    refusal = text(tree, "refusal", where)
    audio = tree.get("audio")
    found: list[Part] = [Refusal(text=refusal)] if refusal else []
    if isinstance(audio, dict):
        found.append(Raw(dialect="chat", kind="audio", value=audio))
    return found


def _calls(tree: Tree, where: str) -> list[Part]:
    calls: list[Part] = []
    for at, call in enumerate(items(tree, "tool_calls", where)):
        place = f"{where}.tool_calls[{at}]"
        expect(call, dict, place)
        if call.get("type") == "custom":
            custom = expect(call.get("custom"), dict, f"{place}.custom")
            calls.append(ToolUse(id=text(call, "id", place), name=text(custom, "name"), arguments=text(custom, "input"), is_custom=True))
            continue
        function = expect(call.get("function"), dict, f"{place}.function")
        use = ToolUse(
            id=text(call, "id", place),
            name=text(function, "name", f"{place}.function"),
            arguments=text(function, "arguments", f"{place}.function"),
            signature=_google(call),
        )
        use.cache = call.get("cache_control")
        calls.append(use)
    legacy = tree.get("function_call")
    if isinstance(legacy, dict):
        name = text(legacy, "name", where)
        calls.append(ToolUse(id=name, name=name, arguments=text(legacy, "arguments", where)))
    return calls


def _google(call: Tree) -> str:
    """Google's thought signature, where its own OpenAI door puts it."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else ""
