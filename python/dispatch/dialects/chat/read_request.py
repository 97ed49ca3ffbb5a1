"""A chat completions request, read into the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dispatch.dialects.chat.read_messages import read_messages
from dispatch.dialects.form import Format, Raw, Reasoning, Request, Tool, ToolChoice
from dispatch.dialects.shape import expect, flag, integer, items, number, request_tree, strings, text
from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.dialects import Tree

__all__ = ["FIELDS", "read_request"]


def read_request(body: bytes) -> Request:
    """Read a request.

    Raises:
        BadRequest: a field has the wrong type; it is named.
    """
    tree = request_tree(body)
    found: Tree = {}
    rest: Tree = {}
    # By what is there, since of thirty fields most requests have five.
    for name, value in tree.items():
        place = FIELDS.get(name)
        if place is None:
            rest[name] = value
        elif value is not None:
            ours, reader = place
            found[ours] = reader(tree, name)
    found.pop("", None)
    if "limit" in found:
        found["max_tokens"] = found.pop("limit")
    if not _SWITCHES.isdisjoint(tree):
        found["reasoning"] = _reasoning(tree)
    return Request(dialect="chat", model=found.pop("model", ""), messages=read_messages(found.pop("messages", [])), extra=rest, **found)


def _wants_usage(tree: Tree, name: str) -> bool:
    return expect(tree[name], dict, name).get("include_usage") is True


def _modalities(tree: Tree, name: str) -> list[str]:
    modalities = strings(tree, name)
    return [] if modalities == ["text"] else modalities


def _object(tree: Tree, name: str) -> Tree | None:
    return expect(tree[name] or {}, dict, name) or None


def _tools(tree: Tree, _: str) -> list[Tool]:
    tools = [_tool(expect(one, dict, f"tools[{at}]"), f"tools[{at}]") for at, one in enumerate(items(tree, "tools"))]
    return tools + [_function(expect(one, dict, f"functions[{at}]"), f"functions[{at}]") for at, one in enumerate(items(tree, "functions"))]


def _tool(tree: Tree, where: str) -> Tool:
    kind = text(tree, "type", where) or "function"
    if kind != "function":
        named = tree.get(kind)
        name = named.get("name") if isinstance(named, dict) else tree.get("name")
        return Tool(name=name if isinstance(name, str) else kind, raw=Raw(dialect="chat", kind=kind, value=tree))
    tool = _function(expect(tree.get("function"), dict, f"{where}.function"), f"{where}.function")
    tool.cache = tree.get("cache_control") or tree["function"].get("cache_control")
    return tool


def _function(tree: Tree, where: str) -> Tool:
    name = text(tree, "name", where)
    if not name:
        raise BadRequest(f"{where}.name: missing", code="missing_parameter", param=f"{where}.name")
    schema = tree.get("parameters")
    return Tool(
        name=name,
        description=text(tree, "description", where),
        schema=None if schema is None else expect(schema, dict, f"{where}.parameters"),
        strict=flag(tree, "strict", where),
    )


def _tool_choice(tree: Tree, _: str) -> ToolChoice | None:
    choice = tree.get("tool_choice", tree.get("function_call"))
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in {"auto", "none", "required", "any"}:
            raise BadRequest(f"tool_choice: {choice!r} is not known", code="invalid_request", param="tool_choice")
        return ToolChoice(mode="required" if choice == "any" else choice)
    expect(choice, dict, "tool_choice")
    kind = choice.get("type") or "function"
    if kind == "allowed_tools":
        inside = expect(choice.get("allowed_tools") or choice, dict, "tool_choice.allowed_tools")
        names = [
            _named(expect(one, dict, "tool_choice.allowed_tools.tools")) for one in items(inside, "tools", "tool_choice.allowed_tools")
        ]
        return ToolChoice(mode=inside.get("mode") or "auto", names=names)
    return ToolChoice(mode="tool", name=_named(choice))


def _named(tree: Tree) -> str:
    inside = tree.get(str(tree.get("type") or "function"))
    return text(inside if isinstance(inside, dict) else tree, "name", "tool_choice")


def _format(whole: Tree, name: str) -> Format | None:
    tree = expect(whole[name], dict, name)
    kind = text(tree, "type", name)
    if kind == "text":
        return None
    if kind == "json_object":
        schema = tree.get("schema")
        return Format(kind="schema" if isinstance(schema, dict) else "json", schema=schema)
    if kind != "json_schema":
        raise BadRequest(f"response_format.type: {kind!r} is not known", code="invalid_request", param="response_format.type")
    where = "response_format.json_schema"
    inside = expect(tree.get("json_schema"), dict, where)
    return Format(
        kind="schema",
        schema=expect(inside.get("schema") or {}, dict, f"{where}.schema"),
        name=text(inside, "name", where),
        strict=flag(inside, "strict", where),
        description=text(inside, "description", where),
    )


def _reasoning(tree: Tree) -> Reasoning | None:
    """`reasoning_effort`, or OpenRouter's `reasoning`."""
    effort = text(tree, "reasoning_effort")
    given = tree.get("reasoning", _switched(tree.get("thinking")))
    if not isinstance(given, dict):
        return Reasoning(effort=effort) if effort else None
    shown = given.get("exclude")
    effort = effort or text(given, "effort", "reasoning") or ("medium" if given.get("enabled") is True else "")
    if given.get("enabled") is False:
        effort = "none"
    return Reasoning(effort=effort, budget=integer(given, "max_tokens", "reasoning"), is_shown=None if shown is None else not shown)


def _switched(thinking: Any) -> Tree | None:
    """`thinking`, by which DeepSeek's and Z.ai's models and Anthropic's own OpenAI door are told, as `reasoning`."""
    if not isinstance(thinking, dict):
        return None
    if thinking.get("type") == "disabled":
        return {"enabled": False}
    budget = thinking.get("budget_tokens")
    return {"enabled": True} if budget is None else {"max_tokens": budget}


def _nothing(tree: Tree, name: str) -> None:
    """Read with others of its kind."""


_SWITCHES = frozenset(("reasoning_effort", "reasoning", "thinking"))
FIELDS: Final[dict[str, tuple[str, Callable[[Tree, str], Any]]]] = {
    **{name: (name, text) for name in ("model", "service_tier", "user", "verbosity")},
    **{name: (name, integer) for name in ("max_tokens", "top_k", "n", "seed", "top_logprobs")},
    **{name: (name, number) for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty")},
    **{name: (name, flag) for name in ("stream", "logprobs")},
    **{name: (name, _object) for name in ("logit_bias", "metadata")},
    **dict.fromkeys(("tools", "functions"), ("tools", _tools)),
    **dict.fromkeys(("tool_choice", "function_call"), ("tool_choice", _tool_choice)),
    **dict.fromkeys(_SWITCHES, ("", _nothing)),
    "messages": ("messages", items),
    "stream_options": ("wants_usage", _wants_usage),
    "max_completion_tokens": ("limit", integer),
    "stop": ("stop", strings),
    "parallel_tool_calls": ("parallel_tools", flag),
    "response_format": ("format", _format),
    "modalities": ("modalities", _modalities),
}
"""By the field's name, where it goes and how it is read."""
