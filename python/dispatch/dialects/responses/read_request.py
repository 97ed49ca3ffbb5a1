"""A Responses request, read into the form. What needs a response that was stored before is refused by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatch.dialects.form import (
    Format,
    Media,
    Message,
    Part,
    Raw,
    Reasoning,
    Refusal,
    Request,
    Text,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from dispatch.dialects.responses.marks import flat, thinking_of
from dispatch.dialects.shape import expect, flag, integer, items, number, request_tree, text
from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from dispatch.dialects import Tree

__all__ = ["read_request"]

STORED = ("previous_response_id", "conversation", "background", "prompt", "context_management")
"""Fields that ask for what a stateless answer cannot have."""
_PLACED = frozenset(
    (
        *("model", "input", "instructions", "stream", "stream_options", "max_output_tokens", "temperature", "top_p", "top_logprobs"),
        *("tools", "tool_choice", "parallel_tool_calls", "text", "reasoning", "include", "service_tier", "user", "metadata", "store"),
        *("truncation", *STORED),
    )
)
_ANSWERED = frozenset(("reasoning.encrypted_content", "message.output_text.logprobs"))
"""Values of `include` that an answer of ours has anyway."""
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_DATA_URL = "data:"


def read_request(body: bytes) -> Request:
    """Read a request.

    Raises:
        BadRequest: a field has the wrong type, or needs stored responses; it is named.
    """
    tree = request_tree(body)
    for name in STORED:
        if tree.get(name):
            raise BadRequest(f"{name}: the endpoint keeps no responses", code="unsupported_parameter", param=name)
    config = expect(tree.get("text") or {}, dict, "text")
    include = [expect(one, str, "include") for one in items(tree, "include")]
    rest = {name: value for name, value in tree.items() if name not in _PLACED}
    rest |= {"include": others} if (others := [one for one in include if one not in _ANSWERED]) else {}
    rest |= {name: tree[name] for name, usual in (("store", False), ("truncation", "disabled")) if tree.get(name) not in (None, usual)}
    tops = integer(tree, "top_logprobs")
    choice = tree.get("tool_choice")
    return Request(
        dialect="responses",
        model=text(tree, "model"),
        messages=_instructions(tree) + _input(tree.get("input")),
        stream=flag(tree, "stream") or False,
        wants_usage=True,
        max_tokens=integer(tree, "max_output_tokens"),
        temperature=number(tree, "temperature"),
        top_p=number(tree, "top_p"),
        logprobs=bool(tops) or "message.output_text.logprobs" in include,
        top_logprobs=tops or None,
        tools=[tool for at, one in enumerate(items(tree, "tools")) for tool in _tools(one, f"tools[{at}]")],
        tool_choice=None if choice is None else _tool_choice(choice),
        parallel_tools=flag(tree, "parallel_tool_calls"),
        format=_format(config.get("format")),
        reasoning=_reasoning(tree.get("reasoning")),
        service_tier=text(tree, "service_tier"),
        user=text(tree, "user"),
        metadata=expect(tree.get("metadata") or {}, dict, "metadata") or None,
        verbosity=text(config, "verbosity", "text"),
        extra=rest,
    )


def _instructions(tree: Tree) -> list[Message]:
    said = text(tree, "instructions")
    return [Message(role="system", parts=[Text(text=said)])] if said else []


def _input(given: Any) -> list[Message]:
    """The conversation; items of one turn are one message."""
    if isinstance(given, str):
        return [Message(role="user", parts=[Text(text=given)])]
    if not given:
        raise BadRequest("input: expected text or a list of items", code="missing_parameter", param="input")
    messages: list[Message] = []
    for at, one in enumerate(expect(given, list, "input")):
        where = f"input[{at}]"
        role, parts = _item(expect(one, dict, where), where)
        if messages and messages[-1].role == role and role in {"assistant", "tool"}:
            messages[-1].parts += parts
        else:
            messages.append(Message(role=role, parts=parts))
    return messages


def _item(tree: Tree, where: str) -> tuple[str, list[Part]]:
    """Whose turn an item belongs to, and what it says."""
    kind = text(tree, "type", where) or "message"
    if kind == "message":
        said = text(tree, "role", where)
        role = _ROLES.get(said)
        if role is None:
            raise BadRequest(f"{where}.role: {said!r} is not known", code="invalid_request", param=f"{where}.role")
        return role, _parts(tree.get("content"), f"{where}.content")
    if kind in {"function_call", "custom_tool_call"}:
        is_custom = kind == "custom_tool_call"
        use = ToolUse(id=text(tree, "call_id", where), name=_named(tree, where), arguments="", is_custom=is_custom)
        use.arguments = text(tree, "input" if is_custom else "arguments", where)
        return "assistant", [use]
    if kind in {"function_call_output", "custom_tool_call_output"}:
        return "tool", [ToolResult(id=text(tree, "call_id", where), parts=_parts(tree.get("output"), f"{where}.output"))]
    if kind == "reasoning":
        shown = [_shown(tree, name, where) for name in ("summary", "content")]
        return "assistant", [thinking_of("".join(shown), text(tree, "encrypted_content", where))]
    if kind == "item_reference":
        raise BadRequest(f"{where}: the endpoint keeps no items to refer to", code="unsupported_parameter", param=where)
    return "assistant", [Raw(dialect="responses", kind=kind, value=tree)]


def _shown(tree: Tree, name: str, where: str) -> str:
    pieces = [text(expect(one, dict, f"{where}.{name}"), "text", f"{where}.{name}") for one in items(tree, name, where)]
    return "\n\n".join(pieces)


def _parts(content: Any, where: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(text=content)]
    found = expect(content, list, where)
    return [_part(expect(one, dict, f"{where}[{at}]"), f"{where}[{at}]") for at, one in enumerate(found)]


def _part(tree: Tree, where: str) -> Part:
    kind = text(tree, "type", where)
    if kind in {"input_text", "output_text", "text"}:
        return Text(text=text(tree, "text", where))
    if kind == "refusal":
        return Refusal(text=text(tree, "refusal", where))
    if kind == "input_image":
        detail = text(tree, "detail", where).replace("auto", "")
        if text(tree, "file_id", where):
            return Media(kind="image", file_id=tree["file_id"], detail=detail)
        return _linked("image", text(tree, "image_url", where), detail=detail)
    if kind == "input_file":
        return _file(tree, where)
    if kind == "input_audio":
        audio = expect(tree.get("input_audio"), dict, f"{where}.input_audio")
        form = text(audio, "format", f"{where}.input_audio")
        return Media(kind="audio", media_type=f"audio/{form or 'wav'}", data=text(audio, "data", f"{where}.input_audio"))
    return Raw(dialect="responses", kind=kind, value=tree)


def _linked(kind: str, url: str, *, detail: str = "", name: str = "") -> Media:
    """Media behind a URL, which may carry its data itself (RFC 2397)."""
    if url[:5].lower() == _DATA_URL:
        head, _, data = url[5:].partition(",")
        return Media(kind=kind, media_type=head.partition(";")[0], data=data, detail=detail, name=name)
    return Media(kind=kind, url=url, detail=detail, name=name)


def _file(tree: Tree, where: str) -> Media:
    name = text(tree, "filename", where)
    url = text(tree, "file_data", where) or text(tree, "file_url", where)
    if not url:
        return Media(kind="document", file_id=text(tree, "file_id", where), name=name)
    if url[:5].lower() == _DATA_URL or url.startswith(("http://", "https://")):
        return _linked("document", url, name=name)
    return Media(kind="document", media_type="application/pdf", data=url, name=name)


def _named(tree: Tree, where: str) -> str:
    """A tool's name, with that of its namespace where it has one."""
    return flat(text(tree, "namespace", where), text(tree, "name", where))


def _tools(given: Any, where: str) -> list[Tool]:
    """A tool, or those of a namespace: its description stands before that of the first, as there is no other place for it."""
    tree = expect(given, dict, where)
    if text(tree, "type", where) != "namespace":
        return [_tool(tree, where)]
    space, about = text(tree, "name", where), text(tree, "description", where)
    found = []
    for at, one in enumerate(items(tree, "tools", where)):
        inside = f"{where}.tools[{at}]"
        tool = expect(one, dict, inside)
        said = text(tool, "description", inside)
        known = {"description": f"{about}\n\n{said}".strip()} if about and about != said and not at else {}
        found.append(_tool(tool | known | {"name": flat(space, text(tool, "name", inside))}, inside))
    return found


def _tool(tree: Tree, where: str) -> Tool:
    kind = text(tree, "type", where)
    name = text(tree, "name", where)
    if kind == "custom":
        inside = {key: value for key, value in tree.items() if key != "type"}
        return Tool(name=name, raw=Raw(dialect="chat", kind=kind, value={"type": kind, "custom": _nested(inside)}))
    if kind != "function":
        return Tool(name=name or kind, raw=Raw(dialect="responses", kind=kind, value=tree))
    if not name:
        raise BadRequest(f"{where}.name: missing", code="missing_parameter", param=f"{where}.name")
    schema = tree.get("parameters")
    return Tool(
        name=name,
        description=text(tree, "description", where),
        schema=None if schema is None else expect(schema, dict, f"{where}.parameters"),
        strict=flag(tree, "strict", where),
    )


def _nested(custom: Tree) -> Tree:
    """A custom tool as chat completions have it: there a grammar stands one level deeper."""
    form = custom.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar" and "grammar" not in form:
        inside = {key: value for key, value in form.items() if key != "type"}
        return custom | {"format": {"type": "grammar", "grammar": inside}}
    return custom


def _tool_choice(choice: Any) -> ToolChoice:
    if isinstance(choice, str):
        if choice not in {"auto", "none", "required"}:
            raise BadRequest(f"tool_choice: {choice!r} is not known", code="invalid_request", param="tool_choice")
        return ToolChoice(mode=choice)
    kind = text(expect(choice, dict, "tool_choice"), "type", "tool_choice")
    if kind == "allowed_tools":
        tools = [expect(one, dict, "tool_choice.tools") for one in items(choice, "tools", "tool_choice")]
        names = [_named(one, "tool_choice.tools") for one in tools]
        return ToolChoice(mode=text(choice, "mode", "tool_choice") or "auto", names=[name for name in names if name])
    return ToolChoice(mode="tool", name=_named(choice, "tool_choice") or kind)


def _format(tree: Any) -> Format | None:
    if tree is None:
        return None
    where = "text.format"
    kind = text(expect(tree, dict, where), "type", where)
    if kind in {"", "text"}:
        return None
    if kind == "json_object":
        return Format(kind="json")
    if kind != "json_schema":
        raise BadRequest(f"{where}.type: {kind!r} is not known", code="invalid_request", param=f"{where}.type")
    return Format(
        kind="schema",
        schema=expect(tree.get("schema") or {}, dict, f"{where}.schema"),
        name=text(tree, "name", where),
        strict=flag(tree, "strict", where),
        description=text(tree, "description", where),
    )


def _reasoning(tree: Any) -> Reasoning | None:
    if tree is None:
        return None
    effort = text(expect(tree, dict, "reasoning"), "effort", "reasoning")
    summary = tree.get("summary") or tree.get("generate_summary")
    return Reasoning(effort=effort, is_shown=True if summary else None) if effort or summary else None
