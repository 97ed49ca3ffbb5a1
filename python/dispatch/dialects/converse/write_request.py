"""A Converse request, written from the form: what each model understands in the same way. Its messages: `turns`.

What only some models have (thinking, `top_k`) goes into `additionalModelRequestFields` in the words of the model's maker, who is told
by the model's name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from dispatch.dialects.converse.turns import cache_point, system_of, turns_of
from dispatch.dialects.messages.write_request import put_thinking
from dispatch.dialects.target import Wishes
from dispatch.dialects.unsaid import name_unsaid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.dialects import Tree
    from dispatch.dialects.form import Format, Reasoning, Request, Tool, ToolChoice
    from dispatch.dialects.target import Losses, Target

__all__ = ["write_request"]

KNOWN = frozenset(
    (
        *("guardrailConfig", "additionalModelRequestFields", "additionalModelResponseFieldPaths", "performanceConfig"),
        *("promptVariables", "requestMetadata", "serviceTier", "outputConfig"),
    )
)
"""Fields of the API that have no place in the form."""
HINTS = frozenset(
    (
        *("store", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "labels", "include", "moderation", "prediction"),
        *(
            "truncation",
            "cache_control",
            "container",
            "context_management",
            "inference_geo",
            "speed",
            "betas",
            "diagnostics",
            "guardContent",
        ),
    )
)
"""Fields of other dialects that change nothing in an answer's content."""

KEEPS = frozenset(
    ("cache_control", "citations", "context", "is_error", "strict", "description", "thinking", "signature", "redacted_thinking")
)
"""What `unsaid` need not name."""
_CLAUDE = re.compile(r"(^|[./])anthropic\.claude")
_NOVA = re.compile(r"(^|[./])amazon\.nova")
_EFFORT = re.compile(r"(^|[./])openai\.")
_CONFIG = re.compile(r"(^|[./])(qwen|deepseek|moonshot|zai|minimax|nvidia)\.")
"""Makers whose models take a reasoning effort, each in a field of its own."""
_LEVELS = {"minimal": "low", "xhigh": "high", "max": "high"}
_TIERS = frozenset(("default", "priority", "flex"))
_FEW = ("n", "logprobs", "logit_bias", "top_logprobs", "verbosity", "modalities")
_FEWER = Wishes(_FEW)
_WISHES = Wishes((*_FEW, "seed", "presence_penalty", "frequency_penalty"))


def write_request(request: Request, target: Target, losses: Losses) -> bytes:
    """Write the body; the model stands in the path.

    Raises:
        BadRequest: something has no equal here.
    """
    name_unsaid(request, "converse", KEEPS, losses)
    model = target.model or request.model
    body: Tree = {"messages": turns_of(request.messages, losses)}
    system = system_of(request.messages, losses)
    if system:
        body["system"] = system
    more: Tree = {}
    _put_sampling(body, more, model, request, losses)
    _put_tools(body, request, losses)
    _put_output(body, more, model, request, target, losses)
    if request.user:
        losses.mention("user")
    if request.metadata:
        body["requestMetadata"] = {name: str(value) for name, value in request.metadata.items()}
    if request.service_tier in _TIERS:
        body["serviceTier"] = {"type": request.service_tier}
    _put_rest(body, more, request, target, losses)
    if more:
        body["additionalModelRequestFields"] = more | body.get("additionalModelRequestFields", {})
    return msgspec.json.encode(target.body | body)


def _put_rest(body: Tree, more: Tree, request: Request, target: Target, losses: Losses) -> None:
    """The fields without a place in the form. What a client of this API asked of the model itself is asked so again."""
    extra = request.extra
    if request.dialect == "converse":
        own = ("seed", "presence_penalty", "frequency_penalty")
        more |= {name: value for name in own if (value := getattr(request, name)) is not None}
        more |= {name: value for name, value in extra.items() if name not in KNOWN | HINTS}
        extra = {name: value for name, value in extra.items() if name not in more}
    if "guardrailConfig" in target.body and extra.get("guardrailConfig") is not None:
        # The configured one holds for everybody.
        losses.cannot("guardrailConfig", "the endpoint has a guardrail of its own")
        extra = {name: value for name, value in extra.items() if name != "guardrailConfig"}
    body |= losses.rest(extra, KNOWN, HINTS, target.provider)


def _put_sampling(body: Tree, more: Tree, model: str, request: Request, losses: Losses) -> None:
    config: Tree = {}
    for name, value in (("maxTokens", request.max_tokens), ("temperature", request.temperature), ("topP", request.top_p)):
        if value is not None:
            config[name] = value
    if (request.temperature or 0) > 1:
        losses.cannot("temperature", "above 1 it has no equal")
        config["temperature"] = 1
    if request.stop:
        config["stopSequences"] = request.stop
    if config:
        body["inferenceConfig"] = config
    if request.top_k is not None:
        if _CLAUDE.search(model):
            more["top_k"] = request.top_k
        elif _NOVA.search(model):
            more["inferenceConfig"] = {"topK": request.top_k}
        else:
            losses.cannot("top_k", "this model has no such field")
    (_FEWER if request.dialect == "converse" else _WISHES).name(request, losses)


def _put_tools(body: Tree, request: Request, losses: Losses) -> None:
    choice = request.tool_choice
    tools = request.tools
    if choice is not None and choice.names:
        tools = [tool for tool in tools if tool.name in choice.names]
    written = [tree for at, tool in enumerate(tools) for tree in _tool(tool, f"tools[{at}]", losses)]
    if not written:
        return
    if choice is not None and choice.mode == "none":
        # Nobody can be told not to call a tool; who knows of none will not, unless the conversation shows some.
        if not _mentions_tools(body["messages"]):
            return
        losses.cannot("tool_choice", "tools that may not be called have no equal")
    config: Tree = {"tools": written}
    body["toolConfig"] = config
    if request.parallel_tools is False:
        losses.cannot("parallel_tool_calls", "calls cannot be held to one")
    if choice is not None and choice.mode != "none":
        config["toolChoice"] = _tool_choice(choice)


def _tool_choice(choice: ToolChoice) -> Tree:
    if choice.mode == "tool":
        return {"tool": {"name": choice.name}}
    return {"any": {}} if choice.mode == "required" else {"auto": {}}


def _mentions_tools(turns: Iterable[Tree]) -> bool:
    return any("toolUse" in block or "toolResult" in block for turn in turns for block in turn["content"])


def _tool(tool: Tool, where: str, losses: Losses) -> list[Tree]:
    if tool.raw is not None:
        if tool.raw.dialect == "converse":
            return [tool.raw.value]
        losses.cannot(where, f"a tool of the kind {tool.raw.kind!r} has no equal")
        return []
    schema = tool.schema or {"type": "object", "properties": {}}
    spec: Tree = {"name": tool.name, "inputSchema": {"json": schema if "type" in schema else {"type": "object", **schema}}}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict:
        spec["strict"] = True
    return [{"toolSpec": spec}, *cache_point(tool.cache)]


def _put_output(body: Tree, more: Tree, model: str, request: Request, target: Target, losses: Losses) -> None:
    config: Tree = {}
    if request.format is not None:
        if request.format.kind == "schema":
            config["textFormat"] = _format(request.format)
        else:
            losses.cannot("response_format", "JSON needs a schema here")
    if request.reasoning is not None:
        _put_reasoning(body, more, config, model, request, target, losses)
    if config:
        body["outputConfig"] = config


def _format(form: Format) -> Tree:
    schema: Tree = {"name": form.name or "answer", "schema": msgspec.json.encode(form.schema or {"type": "object"}).decode()}
    if form.description:
        schema["description"] = form.description
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _put_reasoning(body: Tree, more: Tree, config: Tree, model: str, request: Request, target: Target, losses: Losses) -> None:
    reasoning = request.reasoning
    assert reasoning is not None  # noqa: S101  # the caller has looked
    if _CLAUDE.search(model):
        own: Tree = {"model": model, "max_tokens": request.max_tokens or target.default_max_tokens}
        inference = body.get("inferenceConfig", {})
        if "temperature" in inference:
            own["temperature"] = inference["temperature"]
        put_thinking(own, config, request, target, losses)
        if "thinking" in own:
            more["thinking"] = own["thinking"]
            if "budget_tokens" in own["thinking"] and request.max_tokens is None:
                # Our own limit is for the answer; thinking comes on top.
                body.setdefault("inferenceConfig", {})["maxTokens"] = own["max_tokens"] + own["thinking"]["budget_tokens"]
        if "temperature" in inference and "temperature" not in own:
            del inference["temperature"]
        return
    effort = _effort(reasoning)
    if not effort:
        return
    if _NOVA.search(model):
        off = effort == "none"
        more["reasoningConfig"] = {"type": "disabled"} if off else {"type": "enabled", "maxReasoningEffort": _LEVELS.get(effort, effort)}
    elif target.takes_reasoning is not False and effort != "none" and _EFFORT.search(model):
        more["reasoning_effort"] = _LEVELS.get(effort, effort)
    elif target.takes_reasoning is not False and effort != "none" and _CONFIG.search(model):
        more["reasoning_config"] = _LEVELS.get(effort, effort)
    elif effort != "none":
        losses.mention("reasoning")


def _effort(reasoning: Reasoning) -> str:
    if reasoning.effort:
        return reasoning.effort
    if reasoning.budget is None:
        return ""
    if reasoning.budget == 0:
        return "none"
    return "medium" if reasoning.budget < 0 else "low" if reasoning.budget <= 4_096 else "medium" if reasoning.budget <= 12_288 else "high"
