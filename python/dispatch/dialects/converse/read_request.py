"""A Converse request, read into the form. Its messages: `read_turns`.

`additionalModelRequestFields` are fields of the model's own API. Those with a place in the form go there, the rest stand beside the
request's other fields: the target takes them if its API has them, and refuses them by their names if not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.converse.read_turns import mark, messages_of, parts_of
from dispatch.dialects.form import Format, Message, Raw, Reasoning, Request, Tool, ToolChoice
from dispatch.dialects.messages.read_request import read_thinking
from dispatch.dialects.shape import expect, flag, integer, items, number, request_tree, strings, text
from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from dispatch.dialects import Tree

__all__ = ["read_request"]

_PLACED = frozenset(
    (
        *("model", "modelId", "messages", "system", "stream", "inferenceConfig", "toolConfig", "outputConfig", "requestMetadata"),
        *("serviceTier", "additionalModelRequestFields"),
    )
)
_OWN = frozenset(
    (
        *("thinking", "output_config", "reasoning_effort", "reasoning_config", "reasoningConfig", "inferenceConfig", "top_k", "seed"),
        *("presence_penalty", "frequency_penalty"),
    )
)
"""Of the models' own fields, those with a place in the form."""
_GUARDED = re.compile(rb'"guardContent"\s*:')


def read_request(body: bytes) -> Request:
    """Read a request.

    Raises:
        BadRequest: a field has the wrong type; it is named.
    """
    tree = request_tree(body)
    config = _inside(tree, "inferenceConfig")
    tools = _inside(tree, "toolConfig")
    output = _inside(tree, "outputConfig")
    own = _inside(tree, "additionalModelRequestFields")
    system = parts_of(items(tree, "system"), "system")
    metadata = _inside(tree, "requestMetadata")
    rest = {name: value for name, value in tree.items() if name not in _PLACED}
    rest |= {name: value for name, value in own.items() if name not in _OWN}
    rest |= {f"outputConfig.{name}": value for name, value in output.items() if name not in {"textFormat", "effort"}}
    if _GUARDED.search(body):
        rest["guardContent"] = True
    return Request(
        dialect="converse",
        model=text(tree, "model"),
        messages=([Message(role="system", parts=system)] if system else []) + messages_of(items(tree, "messages")),
        stream=flag(tree, "stream") or False,
        wants_usage=True,
        max_tokens=integer(config, "maxTokens", "inferenceConfig"),
        temperature=number(config, "temperature", "inferenceConfig"),
        top_p=number(config, "topP", "inferenceConfig"),
        top_k=_top_k(own),
        seed=integer(own, "seed", "additionalModelRequestFields"),
        presence_penalty=number(own, "presence_penalty", "additionalModelRequestFields"),
        frequency_penalty=number(own, "frequency_penalty", "additionalModelRequestFields"),
        stop=strings(config, "stopSequences", "inferenceConfig"),
        tools=_tools(items(tools, "tools", "toolConfig")),
        tool_choice=_tool_choice(_inside(tools, "toolChoice", "toolConfig")),
        format=_format(_inside(output, "textFormat", "outputConfig")),
        reasoning=_reasoning(own, output),
        service_tier=text(_inside(tree, "serviceTier"), "type", "serviceTier"),
        metadata=metadata or None,
        extra=rest,
    )


def _inside(tree: Tree, key: str, where: str = "") -> Tree:
    """A member that is an object; empty if it is absent or null."""
    value = tree.get(key)
    return {} if value is None else expect(value, dict, f"{where}.{key}" if where else key)


def _top_k(own: Tree) -> int | None:
    """Amazon's models have it in a configuration of their own."""
    found = integer(own, "top_k", "additionalModelRequestFields")
    where = "additionalModelRequestFields.inferenceConfig"
    return found if found is not None else integer(_inside(own, "inferenceConfig", "additionalModelRequestFields"), "topK", where)


def _tools(given: list[Any]) -> list[Tool]:
    tools: list[Tool] = []
    for at, one in enumerate(given):
        where = f"toolConfig.tools[{at}]"
        tree = expect(one, dict, where)
        spec = tree.get("toolSpec")
        if spec is not None:
            tools.append(_tool(expect(spec, dict, f"{where}.toolSpec"), f"{where}.toolSpec"))
        elif tree.get("cachePoint") is not None and tools:
            tools[-1].cache = mark(tree["cachePoint"], f"{where}.cachePoint")
        else:
            kind = next(iter(tree), "tool")
            tools.append(Tool(name=kind, raw=Raw(dialect="converse", kind=kind, value=tree)))
    return tools


def _tool(spec: Tree, where: str) -> Tool:
    name = text(spec, "name", where)
    if not name:
        raise BadRequest(f"{where}.name: missing", code="missing_parameter", param=f"{where}.name")
    schema = _inside(spec, "inputSchema", where).get("json")
    return Tool(
        name=name,
        description=text(spec, "description", where),
        schema=None if schema is None else expect(schema, dict, f"{where}.inputSchema.json"),
        strict=flag(spec, "strict", where),
    )


def _tool_choice(tree: Tree) -> ToolChoice | None:
    if tree.get("tool") is not None:
        where = "toolConfig.toolChoice.tool"
        return ToolChoice(mode="tool", name=text(expect(tree["tool"], dict, where), "name", where))
    if tree.get("any") is not None:
        return ToolChoice(mode="required")
    return ToolChoice(mode="auto") if tree.get("auto") is not None else None


def _format(tree: Tree) -> Format | None:
    if not tree:
        return None
    where = "outputConfig.textFormat.structure"
    given = _inside(_inside(tree, "structure", "outputConfig.textFormat"), "jsonSchema", where)
    try:
        schema = msgspec.json.decode(text(given, "schema", f"{where}.jsonSchema"), type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest(f"{where}.jsonSchema.schema: expected a JSON object in a string", param=f"{where}.jsonSchema.schema") from None
    name = text(given, "name", where)
    return Format(kind="schema", schema=schema, name=name or "answer", strict=True, description=text(given, "description", where))


def _reasoning(own: Tree, output: Tree) -> Reasoning | None:
    """Asked for in the words of each model's maker: Anthropic's, Amazon's, OpenAI's, those of the others."""
    where = "additionalModelRequestFields"
    effort = text(output, "effort", "outputConfig") or text(_inside(own, "output_config", where), "effort", f"{where}.output_config")
    amazon = _inside(own, "reasoningConfig", where)
    if amazon:
        off = amazon.get("type") == "disabled"
        effort = "none" if off else text(amazon, "maxReasoningEffort", f"{where}.reasoningConfig") or "medium"
    config = own.get("reasoning_config")
    effort = effort or text(own, "reasoning_effort", where) or (config if isinstance(config, str) else "")
    thinking = own.get("thinking", config if isinstance(config, dict) else None)
    return read_thinking(thinking, effort)
