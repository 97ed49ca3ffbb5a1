"""A Messages request, written from the form."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import msgspec

from dispatch.dialects.form import Media, Reasoning, Refusal, Text, Thinking, ToolResult, ToolUse
from dispatch.dialects.shape import json_object
from dispatch.dialects.target import Wishes
from dispatch.dialects.unsaid import name_unsaid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.dialects import Tree
    from dispatch.dialects.form import Message, Part, Request, Tool
    from dispatch.dialects.target import Losses, Target

__all__ = ["hosted_body", "put_thinking", "thinks_by_budget", "write_request"]

KNOWN = frozenset(("cache_control", "container", "context_management", "mcp_servers", "inference_geo", "speed", "betas", "diagnostics"))
"""Fields of the API that have no place in the form."""
HINTS = frozenset(
    (
        *("store", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "labels"),
        *("include", "moderation", "prediction", "truncation"),
    )
)
"""Fields of other dialects that change nothing in an answer's content."""

BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 49_152}
"""Thinking tokens for an effort; the API takes at least 1,024."""
_EFFORTS = {"minimal": "low"}
MIN_BUDGET = 1_024

_BY_BUDGET = re.compile(r"claude-(3|(opus|sonnet|haiku)-4(-[015]\b|-[015]-|-2|@|$))")
"""Models before adaptive thinking: Claude 3.7 to 4.5."""

_KEEPS = frozenset(("cache_control", "is_error", "strict", "thinking", "signature", "redacted_thinking", "extra"))
_TIERS = {"auto": "auto", "default": "standard_only"}
_CHOICES = {"auto": "auto", "none": "none", "required": "any", "tool": "tool"}
_NO_PENALTY = "there is no such penalty"
_WISHES = Wishes(
    ("n", "logprobs", "presence_penalty", "frequency_penalty", "logit_bias", "seed", "top_logprobs", "verbosity", "modalities"),
    reasons={"presence_penalty": _NO_PENALTY, "frequency_penalty": _NO_PENALTY},
)


def write_request(request: Request, target: Target, losses: Losses) -> bytes:
    """Write the body.

    Raises:
        BadRequest: something has no equal here.
    """
    name_unsaid(request, "messages", _KEEPS, losses)
    body: Tree = {"model": target.model or request.model}
    body["max_tokens"] = request.max_tokens or target.default_max_tokens
    system, turns = _turns(request.messages, losses)
    if system:
        body["system"] = system
    body["messages"] = turns
    _put_sampling(body, request, losses)
    _put_tools(body, request, losses)
    _put_output(body, request, target, losses)
    if request.user:
        body["metadata"] = {"user_id": request.user}
    if request.metadata:
        losses.mention("metadata")
    if request.service_tier in _TIERS:
        body["service_tier"] = _TIERS[request.service_tier]
    elif request.service_tier:
        losses.mention("service_tier")
    if request.extra:
        body |= losses.rest(request.extra, KNOWN, HINTS, target.provider)
    if request.stream:
        body["stream"] = True
    return msgspec.json.encode(hosted_body(body, target) if target.version else body)


def hosted_body(body: Tree, target: Target) -> Tree:
    """The same at another host: the path says the model, and of Bedrock also whether it is a stream; the body says the version."""
    body.pop("model", None)
    if target.version.startswith("bedrock"):
        body.pop("stream", None)
    return {"anthropic_version": target.version} | body


def _put_sampling(body: Tree, request: Request, losses: Losses) -> None:
    if request.temperature is not None:
        if request.temperature > 1:
            losses.cannot("temperature", "above 1 it has no equal")
        body["temperature"] = min(request.temperature, 1)
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.top_k is not None:
        body["top_k"] = request.top_k
    if request.stop:
        body["stop_sequences"] = request.stop
    _WISHES.name(request, losses)


def _put_tools(body: Tree, request: Request, losses: Losses) -> None:
    if not request.tools:
        return
    tools = [tree for at, tool in enumerate(request.tools) if (tree := _tool(tool, f"tools[{at}]", losses)) is not None]
    if tools:
        body["tools"] = tools
    choice = request.tool_choice
    mode = "auto" if choice is None else choice.mode
    if not tools or (choice is None and request.parallel_tools is not False):
        return
    if choice is not None and choice.names:
        allowed = set(choice.names)
        body["tools"] = [tree for tree in tools if tree.get("name") in allowed]
    written: Tree = {"type": _CHOICES[mode]}
    if mode == "tool" and choice is not None:
        written["name"] = choice.name
    if request.parallel_tools is False and mode != "none":
        written["disable_parallel_tool_use"] = True
    body["tool_choice"] = written


def _tool(tool: Tool, where: str, losses: Losses) -> Tree | None:
    if tool.raw is not None:
        if tool.raw.dialect == "messages":
            return tool.raw.value  # type: ignore[no-any-return]  # a tree, as it came
        losses.cannot(where, f"a tool of the kind {tool.raw.kind!r} has no equal")
        return None
    tree: Tree = {"name": tool.name, "input_schema": tool.schema or {"type": "object", "properties": {}}}
    if "type" not in tree["input_schema"]:
        tree["input_schema"] = {"type": "object", **tree["input_schema"]}
    if tool.description:
        tree["description"] = tool.description
    if tool.strict:
        tree["strict"] = True
    if tool.cache is not None:
        tree["cache_control"] = tool.cache
    return tree | tool.extra


def _put_output(body: Tree, request: Request, target: Target, losses: Losses) -> None:
    config: Tree = {}
    if request.format is not None:
        if request.format.kind == "schema":
            config["format"] = {"type": "json_schema", "schema": request.format.schema or {"type": "object"}}
        else:
            losses.cannot("response_format", "JSON needs a schema here")
    if request.reasoning is not None:
        put_thinking(body, config, request, target, losses)
        if request.max_tokens is None:
            # Our own limit is for the answer; thinking comes on top.
            body["max_tokens"] += body.get("thinking", {}).get("budget_tokens", 0)
    if config:
        body["output_config"] = config


def thinks_by_budget(target: Target, model: str) -> bool:
    """Whether thinking is asked for in tokens, or left to the model's own measure of an effort."""
    if target.thinking == "auto":
        return _BY_BUDGET.search(model) is not None
    return target.thinking == "budget"


def put_thinking(body: Tree, config: Tree, request: Request, target: Target, losses: Losses) -> None:
    """Ask for thinking: in `body`, whose model, limit and temperature are set, and an effort in `config`."""
    reasoning = request.reasoning or Reasoning()
    effort = reasoning.effort
    if effort == "none" or reasoning.budget == 0:
        body["thinking"] = {"type": "disabled"}
        return
    if not thinks_by_budget(target, body["model"]):
        effort = effort or _nearest(reasoning.budget)
        body["thinking"] = {"type": "adaptive"}
        if reasoning.is_shown is False:
            body["thinking"]["display"] = "omitted"
        if effort:
            config["effort"] = _EFFORTS.get(effort, effort)
        return
    budget = reasoning.budget if reasoning.budget and reasoning.budget > 0 else BUDGETS.get(effort or "medium", BUDGETS["medium"])
    budget = max(MIN_BUDGET, budget)
    if request.max_tokens is not None:
        budget = max(MIN_BUDGET, min(budget, request.max_tokens - 1))
        if budget >= request.max_tokens:
            losses.mention("reasoning")
            return
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    if body.get("temperature", 1) != 1:
        del body["temperature"]
        losses.mention("temperature")


def _nearest(budget: int | None) -> str:
    if budget is None or budget < 0:
        return ""
    return next((word for word, tokens in BUDGETS.items() if word != "minimal" and budget <= tokens), "max")


def _turns(messages: Iterable[Message], losses: Losses) -> tuple[str | list[Tree], list[Tree]]:
    """The system prompt, and turns in which what follows each other from one side is one message.

    System messages amid the conversation go to the front, as in Anthropic's own OpenAI door.
    """
    system: list[Tree] = []
    turns: list[Tree] = []
    for message in messages:
        if message.role == "system":
            system += _blocks(message.parts, losses)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message.parts, losses)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        if turn["role"] == "user" and len(turn["content"]) > 1:
            # Results must come first in the turn that follows their calls.
            turn["content"].sort(key=lambda block: block.get("type") != "tool_result")
    plain = len(system) == 1 and "cache_control" not in system[0]
    return (system[0]["text"] if plain else system), turns


def _blocks(parts: Iterable[Part], losses: Losses) -> list[Tree]:
    return [block for part in parts if (block := _block(part, losses)) is not None]


def _block(part: Part, losses: Losses) -> Tree | None:
    if isinstance(part, Text):
        # The API refuses empty text.
        return _cached({"type": "text", "text": part.text}, part.cache) if part.text else None
    if isinstance(part, Media):
        return _media(part, losses)
    if isinstance(part, ToolUse):
        return _cached({"type": "tool_use", "id": part.id, "name": part.name, "input": json_object(part.arguments)}, part.cache)
    if isinstance(part, ToolResult):
        return _result(part, losses)
    if isinstance(part, Thinking):
        return _thinking(part)
    if isinstance(part, Refusal):
        return {"type": "text", "text": part.text} if part.text else None
    if part.dialect == "messages":
        return part.value  # type: ignore[no-any-return]  # a tree, as it came
    losses.cannot(part.kind, "this part of a message has no equal")
    return None


def _cached(block: Tree, cache: Tree | None) -> Tree:
    if cache is not None:
        block["cache_control"] = cache
    return block


def _thinking(part: Thinking) -> Tree | None:
    if part.is_redacted:
        return {"type": "redacted_thinking", "data": part.signature}
    # Without its signature the API refuses it; the model does without.
    return {"type": "thinking", "thinking": part.text, "signature": part.signature} if part.signature else None


def _result(part: ToolResult, losses: Losses) -> Tree:
    blocks = _blocks(part.parts, losses)
    tree: Tree = {"type": "tool_result", "tool_use_id": part.id}
    if len(blocks) == 1 and blocks[0].get("type") == "text" and "cache_control" not in blocks[0]:
        tree["content"] = blocks[0]["text"]
    elif blocks:
        tree["content"] = blocks
    if part.is_error:
        tree["is_error"] = True
    return _cached(tree, part.cache)


def _media(part: Media, losses: Losses) -> Tree | None:
    if part.kind not in {"image", "document"}:
        losses.cannot(part.kind, "only images and documents are read")
        return None
    if part.file_id:
        source: Tree = {"type": "file", "file_id": part.file_id}
    elif part.url:
        source = {"type": "url", "url": part.url}
    elif part.text or part.media_type == "text/plain":
        source = {"type": "text", "media_type": "text/plain", "data": part.text or _decoded(part.data)}
    else:
        source = {"type": "base64", "media_type": part.media_type or "application/pdf", "data": part.data}
    tree: Tree = {"type": part.kind, "source": source}
    if part.name and part.kind == "document":
        tree["title"] = part.name
    return _cached(tree | part.extra, part.cache)


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode("utf-8", "replace")
