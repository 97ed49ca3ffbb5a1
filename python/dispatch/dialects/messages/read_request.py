"""A Messages request, read into the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import (
    Format,
    Media,
    Message,
    Part,
    Raw,
    Reasoning,
    Request,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from dispatch.dialects.shape import expect, flag, integer, items, number, request_tree, strings, text
from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from dispatch.dialects import Tree

__all__ = ["media", "read_request", "read_thinking"]

_PLACED = frozenset(
    (
        *("model", "messages", "system", "max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "tools"),
        *("tool_choice", "thinking", "output_config", "output_format", "metadata", "service_tier"),
    )
)
_ROLES = frozenset(("user", "assistant", "system"))
_CHOICES = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}
_TIERS = {"standard_only": "default"}
_KINDS = {"image": "image", "document": "document"}


def read_request(body: bytes) -> Request:
    """Read a request.

    Raises:
        BadRequest: a field has the wrong type; it is named.
    """
    tree = request_tree(body)
    metadata = expect(tree.get("metadata") or {}, dict, "metadata")
    config = expect(tree.get("output_config") or {}, dict, "output_config")
    choice = tree.get("tool_choice")
    choice = None if choice is None else expect(choice, dict, "tool_choice")
    tier = text(tree, "service_tier")
    rest = {name: value for name, value in tree.items() if name not in _PLACED}
    rest |= {f"output_config.{name}": value for name, value in config.items() if name not in {"effort", "format"}}
    return Request(
        dialect="messages",
        model=text(tree, "model"),
        messages=_system(tree) + _messages(items(tree, "messages")),
        stream=flag(tree, "stream") or False,
        wants_usage=True,
        max_tokens=integer(tree, "max_tokens"),
        temperature=number(tree, "temperature"),
        top_p=number(tree, "top_p"),
        top_k=integer(tree, "top_k"),
        stop=strings(tree, "stop_sequences"),
        tools=[_tool(expect(one, dict, f"tools[{at}]"), f"tools[{at}]") for at, one in enumerate(items(tree, "tools"))],
        tool_choice=None if choice is None else _tool_choice(choice),
        parallel_tools=False if choice and flag(choice, "disable_parallel_tool_use", "tool_choice") else None,
        format=_format(config.get("format", tree.get("output_format"))),
        reasoning=read_thinking(tree.get("thinking"), text(config, "effort", "output_config")),
        service_tier=_TIERS.get(tier, tier),
        user=text(metadata, "user_id", "metadata"),
        extra=rest,
    )


def _system(tree: Tree) -> list[Message]:
    system = tree.get("system")
    if not system:
        return []
    return [Message(role="system", parts=_parts(system, "system"))]


def _messages(given: list[Any]) -> list[Message]:
    if not given:
        raise BadRequest("messages: expected at least one", code="missing_parameter", param="messages")
    return [_message(expect(one, dict, f"messages[{at}]"), f"messages[{at}]") for at, one in enumerate(given)]


def _message(tree: Tree, where: str) -> Message:
    role = text(tree, "role", where)
    if role not in _ROLES:
        raise BadRequest(f"{where}.role: {role!r} is not known", code="invalid_request", param=f"{where}.role")
    return Message(role=role, parts=_parts(tree.get("content"), f"{where}.content"))


def _parts(content: Any, where: str) -> list[Part]:
    if isinstance(content, str):
        return [Text(text=content)] if content else []
    if content is None:
        return []
    found = expect(content, list, where)
    return [part for at, one in enumerate(found) for part in _part(expect(one, dict, f"{where}[{at}]"), f"{where}[{at}]")]


def _part(tree: Tree, where: str) -> list[Part]:
    kind = text(tree, "type", where)
    cache = tree.get("cache_control")
    if kind == "text":
        return [Text(text=text(tree, "text", where), cache=cache, citations=items(tree, "citations", where))]
    if kind in _KINDS:
        return media(tree, kind, where)
    if kind == "tool_use":
        arguments = msgspec.json.encode(tree.get("input", {})).decode()
        return [ToolUse(id=text(tree, "id", where), name=text(tree, "name", where), arguments=arguments, cache=cache)]
    if kind == "tool_result":
        parts = _parts(tree.get("content"), f"{where}.content")
        is_error = flag(tree, "is_error", where) or False
        return [ToolResult(id=text(tree, "tool_use_id", where), parts=parts, is_error=is_error, cache=cache)]
    if kind == "thinking":
        return [Thinking(text=text(tree, "thinking", where), signature=text(tree, "signature", where))]
    if kind == "redacted_thinking":
        return [Thinking(signature=text(tree, "data", where), is_redacted=True)]
    return [Raw(dialect="messages", kind=kind, value=tree)]


def media(tree: Tree, kind: str, where: str) -> list[Part]:
    """An image or a document by its `source`."""
    source = expect(tree.get("source"), dict, f"{where}.source")
    cache = tree.get("cache_control")
    extra = {name: value for name, value in tree.items() if name in {"citations", "context", "transformations"} and value is not None}
    name = text(tree, "title", where)
    form = text(source, "type", f"{where}.source")
    media_type = text(source, "media_type", f"{where}.source")
    part = Media(kind=kind, media_type=media_type, name=name, cache=cache, extra=extra)
    if form == "base64":
        part.data = text(source, "data", f"{where}.source")
    elif form == "url":
        part.url = text(source, "url", f"{where}.source")
    elif form == "file":
        part.file_id = text(source, "file_id", f"{where}.source")
    elif form == "text":
        part.text = text(source, "data", f"{where}.source")
    elif form == "content":
        return _parts(source.get("content"), f"{where}.source.content")
    else:
        raise BadRequest(f"{where}.source.type: {form!r} is not known", code="invalid_request", param=f"{where}.source.type")
    return [part]


def _tool(tree: Tree, where: str) -> Tool:
    kind = text(tree, "type", where)
    name = text(tree, "name", where)
    if kind and kind != "custom":
        return Tool(name=name or kind, raw=Raw(dialect="messages", kind=kind, value=tree))
    if not name:
        raise BadRequest(f"{where}.name: missing", code="missing_parameter", param=f"{where}.name")
    placed = {"type", "name", "description", "input_schema", "strict", "cache_control"}
    schema = tree.get("input_schema")
    return Tool(
        name=name,
        description=text(tree, "description", where),
        schema=None if schema is None else expect(schema, dict, f"{where}.input_schema"),
        strict=flag(tree, "strict", where),
        cache=tree.get("cache_control"),
        extra={key: value for key, value in tree.items() if key not in placed},
    )


def _tool_choice(tree: Tree) -> ToolChoice:
    kind = text(tree, "type", "tool_choice")
    mode = _CHOICES.get(kind)
    if mode is None:
        raise BadRequest(f"tool_choice.type: {kind!r} is not known", code="invalid_request", param="tool_choice.type")
    return ToolChoice(mode=mode, name=text(tree, "name", "tool_choice"))


def _format(tree: Any) -> Format | None:
    if tree is None:
        return None
    schema = expect(tree, dict, "output_config.format").get("schema")
    return Format(kind="schema", schema=expect(schema or {}, dict, "output_config.format.schema"), name="answer", strict=True)


def read_thinking(tree: Any, effort: str) -> Reasoning | None:
    """How much is to be thought, by `thinking` and the effort."""
    if tree is None:
        return Reasoning(effort=effort) if effort else None
    kind = text(expect(tree, dict, "thinking"), "type", "thinking")
    if kind == "disabled":
        return Reasoning(effort="none", budget=0)
    if kind == "adaptive":
        return Reasoning(effort=effort, budget=-1, is_shown=tree.get("display") != "omitted")
    return Reasoning(effort=effort, budget=integer(tree, "budget_tokens", "thinking"), is_shown=True)
