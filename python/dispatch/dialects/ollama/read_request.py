"""A request to `/api/chat` or `/api/generate`, read into the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import (
    Format,
    Media,
    Message,
    Part,
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

__all__ = ["image_of", "read_generate_request", "read_request"]

_PLACED = frozenset(("model", "messages", "tools", "stream", "format", "options", "think", "logprobs", "top_logprobs"))
_PROMPT = frozenset(("prompt", "system", "images"))
_OPTIONS = frozenset(("num_predict", "temperature", "top_p", "top_k", "seed", "stop", "presence_penalty", "frequency_penalty"))
_ROLES = frozenset(("system", "user", "assistant", "tool"))
_MAGIC = (("/9j/", "image/jpeg"), ("iVBOR", "image/png"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"))
"""How the base64 of a picture begins. Nothing else tells what it is."""


def read_request(body: bytes) -> Request:
    """Read a request to `/api/chat`.

    Raises:
        BadRequest: a field has the wrong type; it is named.
    """
    tree = request_tree(body)
    given = items(tree, "messages")
    if not given:
        raise BadRequest("messages: expected at least one", code="missing_parameter", param="messages")
    calls: list[ToolUse] = []
    messages = [_message(expect(one, dict, f"messages[{at}]"), f"messages[{at}]", calls) for at, one in enumerate(given)]
    return _request("ollama", tree, messages, _PLACED)


def read_generate_request(body: bytes) -> Request:
    """Read a request to `/api/generate`: one prompt, and what stands before it.

    Raises:
        BadRequest: a field has the wrong type; it is named.
    """
    tree = request_tree(body)
    system = text(tree, "system")
    messages = [Message(role="system", parts=[Text(text=system)])] if system else []
    messages.append(Message(role="user", parts=[Text(text=text(tree, "prompt")), *_images(tree, "")]))
    return _request("ollama_generate", tree, messages, _PLACED | _PROMPT)


def _request(dialect: str, tree: Tree, messages: list[Message], placed: frozenset[str]) -> Request:
    options = expect(tree.get("options") or {}, dict, "options")
    where = "options"
    # Clients fill in what they do not mean: `context: []`, `raw: false`, `template: ""`.
    rest = {name: value for name, value in tree.items() if name not in placed and value}
    rest |= {f"options.{name}": value for name, value in options.items() if name not in _OPTIONS and value is not None}
    limit = integer(options, "num_predict", where)
    return Request(
        dialect=dialect,
        model=text(tree, "model"),
        messages=messages,
        stream=flag(tree, "stream") is not False,
        wants_usage=True,
        # -1 is without end, -2 as far as the context goes.
        max_tokens=None if limit is None or limit < 0 else limit,
        temperature=number(options, "temperature", where),
        top_p=number(options, "top_p", where),
        top_k=integer(options, "top_k", where),
        seed=integer(options, "seed", where),
        stop=strings(options, "stop", where),
        presence_penalty=number(options, "presence_penalty", where),
        frequency_penalty=number(options, "frequency_penalty", where),
        logprobs=flag(tree, "logprobs") or False,
        top_logprobs=integer(tree, "top_logprobs") or None,
        tools=[_tool(expect(one, dict, f"tools[{at}]"), f"tools[{at}]") for at, one in enumerate(items(tree, "tools"))],
        tool_choice=ToolChoice(mode="auto") if tree.get("tools") else None,
        format=_format(tree.get("format")),
        reasoning=_reasoning(tree.get("think")),
        extra=rest,
    )


def _message(tree: Tree, where: str, calls: list[ToolUse]) -> Message:
    """One turn; `calls` are those that have no result yet."""
    role = text(tree, "role", where)
    if role not in _ROLES:
        raise BadRequest(f"{where}.role: {role!r} is not known", code="invalid_request", param=f"{where}.role")
    content = text(tree, "content", where)
    parts: list[Part] = [Text(text=content)] if content else []
    parts += _images(tree, where)
    if role == "tool":
        return Message(role=role, parts=[_result(tree, where, parts, calls)])
    thought = text(tree, "thinking", where)
    if thought and role == "assistant":
        parts.insert(0, Thinking(text=thought))
    for at, one in enumerate(items(tree, "tool_calls", where)):
        place = f"{where}.tool_calls[{at}]"
        calls.append(_call(expect(one, dict, place), place, number=len(calls), owner=where))
        parts.append(calls[-1])
    return Message(role=role, parts=parts)


def _call(tree: Tree, where: str, *, number: int, owner: str) -> ToolUse:
    function = expect(tree.get("function"), dict, f"{where}.function")
    arguments = expect(function.get("arguments") or {}, dict, f"{where}.function.arguments")
    made_up = f"call_{owner.removeprefix('messages[').removesuffix(']')}_{number}"
    name = text(function, "name", f"{where}.function")
    return ToolUse(id=text(tree, "id", where) or made_up, name=name, arguments=msgspec.json.encode(arguments).decode())


def _result(tree: Tree, where: str, parts: list[Part], calls: list[ToolUse]) -> ToolResult:
    """A result names its call, or only its tool, or, before version 0.10, nothing: then it is that of the first call without one."""
    place = text(tree, "tool_call_id", where)
    name = text(tree, "tool_name", where) or text(tree, "name", where)
    matching = (call for call in calls if (call.id == place if place else call.name == name if name else True))
    call = next(matching, None)
    if call is not None:
        calls.remove(call)
    place = place or (call.id if call is not None else name or "call_0")
    return ToolResult(id=place, name=name or (call.name if call is not None else ""), parts=parts)


def _images(tree: Tree, where: str) -> list[Media]:
    found = items(tree, "images", where)
    place = f"{where}.images" if where else "images"
    return [image_of(expect(one, str, f"{place}[{at}]")) for at, one in enumerate(found)]


def image_of(data: str) -> Media:
    """A picture by its base64."""
    kind = next((kind for begin, kind in _MAGIC if data.startswith(begin)), "image/png")
    return Media(kind="image", media_type=kind, data=data)


def _tool(tree: Tree, where: str) -> Tool:
    function = expect(tree.get("function"), dict, f"{where}.function")
    name = text(function, "name", f"{where}.function")
    if not name:
        raise BadRequest(f"{where}.function.name: missing", code="missing_parameter", param=f"{where}.function.name")
    schema = function.get("parameters")
    return Tool(
        name=name,
        description=text(function, "description", f"{where}.function"),
        schema=None if schema is None else expect(schema, dict, f"{where}.function.parameters"),
    )


def _format(given: Any) -> Format | None:
    if not given:
        return None
    if isinstance(given, dict):
        return Format(kind="schema", schema=given, name="answer")
    if given != "json":
        raise BadRequest("format: expected json or a JSON schema", code="invalid_request", param="format")
    return Format(kind="json")


def _reasoning(given: Any) -> Reasoning | None:
    if given is None or given == "":
        return None
    if isinstance(given, bool):
        return Reasoning(effort="medium" if given else "none", is_shown=given)
    return Reasoning(effort=expect(given, str, "think"), is_shown=True)
