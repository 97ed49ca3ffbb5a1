"""A Responses request, written from the form. Nothing is to be stored: the whole conversation comes with each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.chat.write_request import effort_of
from dispatch.dialects.form import Media, Raw, Refusal, Text, Thinking, ToolResult, ToolUse
from dispatch.dialects.responses.answers import TIERS
from dispatch.dialects.responses.marks import item_of
from dispatch.dialects.target import Wishes
from dispatch.dialects.unsaid import name_unsaid

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Format, Message, Part, Reasoning, Request, Tool, ToolChoice
    from dispatch.dialects.target import Losses, Target

__all__ = ["write_request"]

KNOWN = frozenset(("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "moderation", "include", "truncation"))
"""Fields of the API that have no place in the form."""
HINTS = frozenset(
    (
        *("cache_control", "context_management", "container", "inference_geo", "speed", "diagnostics", "betas", "labels"),
        *("prediction", "store"),
    )
)
_KEEPS = frozenset(
    (
        *("detail", "strict", "custom", "description", "thinking", "signature", "unsigned_thinking", "redacted_thinking"),
        "thoughtSignature",
    )
)
"""Of what `unsaid` names, what has a place here, or is named where it is left out."""
_ENCRYPTED = "reasoning.encrypted_content"
_WISHES = Wishes(("stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "top_k", "n", "modalities"))


def write_request(request: Request, target: Target, losses: Losses) -> bytes:
    """Write the body.

    Raises:
        BadRequest: something has no equal here.
    """
    name_unsaid(request, "responses", _KEEPS, losses)
    items: list[Tree] = []
    for message in request.messages:
        items += _items(message, losses)
    body: Tree = {"model": target.model or request.model, "input": items, "store": False}
    for name, value in (("max_output_tokens", request.max_tokens), ("temperature", request.temperature), ("top_p", request.top_p)):
        if value is not None:
            body[name] = value
    if request.user:
        body["user"] = request.user
    if request.service_tier in TIERS:
        body["service_tier"] = request.service_tier
    elif request.service_tier:
        losses.mention("service_tier")
    if request.metadata:
        body["metadata"] = request.metadata
    _WISHES.name(request, losses)
    _put_tools(body, request, losses)
    _put_rest(body, request, target, losses)
    return msgspec.json.encode(body)


def _put_tools(body: Tree, request: Request, losses: Losses) -> None:
    tools = [tree for at, tool in enumerate(request.tools) if (tree := _tool(tool, f"tools[{at}]", losses)) is not None]
    if tools:
        body["tools"] = tools
        if request.parallel_tools is not None:
            body["parallel_tool_calls"] = request.parallel_tools
        if request.tool_choice is not None:
            body["tool_choice"] = _tool_choice(request.tool_choice)


def _put_rest(body: Tree, request: Request, target: Target, losses: Losses) -> None:
    config: Tree = {}
    if request.format is not None:
        config["format"] = _format(request.format, losses)
    if request.verbosity:
        config["verbosity"] = request.verbosity
    if config:
        body["text"] = config
    include: list[str] = []
    if request.reasoning is not None:
        body["reasoning"] = _reasoning(request.reasoning)
        include.append(_ENCRYPTED)
    if request.logprobs:
        include.append("message.output_text.logprobs")
        body["top_logprobs"] = request.top_logprobs or 0
    rest = losses.rest(request.extra, KNOWN, HINTS, target.provider)
    include += rest.pop("include", [])
    if include:
        body["include"] = include
    body |= rest
    if request.stream:
        body["stream"] = True


def _items(message: Message, losses: Losses) -> list[Tree]:
    """One message: what it says, and each call, result and reasoning as an item of its own, in their order."""
    items: list[Tree] = []
    said: list[Tree] = []
    is_own = message.role == "assistant"
    for part in message.parts:
        item = _item(part, losses)
        if item is not None:
            items += [*_said(message.role, said), item]
            said = []
        elif isinstance(part, Text):
            said.append({"type": "output_text" if is_own else "input_text", "text": part.text} | ({"annotations": []} if is_own else {}))
        elif isinstance(part, Refusal):
            said.append({"type": "refusal", "refusal": part.text})
        elif isinstance(part, Thinking):
            # Only what was encrypted here is taken back.
            losses.mention("thinking")
        elif (shown := _part(part, losses, is_own=is_own)) is not None:
            said.append(shown)
    return items + _said(message.role, said)


def _said(role: str, content: list[Tree]) -> list[Tree]:
    if not content:
        return []
    if role != "assistant":
        return [{"type": "message", "role": "user" if role == "tool" else role, "content": content}]
    # Text of an assistant that carries no id of a stored item is taken only in its short form.
    texts = [one["text"] for one in content if one["type"] == "output_text"]
    refusals = [one["refusal"] for one in content if one["type"] == "refusal"]
    return [{"role": role, "content": "".join([*texts, *refusals])}]


def _item(part: Part, losses: Losses) -> Tree | None:
    """What is an item of its own."""
    if isinstance(part, ToolUse):
        if part.signature:
            losses.mention("thoughtSignature")
        if part.is_custom:
            return {"type": "custom_tool_call", "call_id": part.id, "name": part.name, "input": part.arguments}
        return {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments or "{}"}
    if isinstance(part, ToolResult):
        return _result(part, losses)
    if isinstance(part, Thinking) and (kept := item_of(part.signature)) is not None:
        summary = [{"type": "summary_text", "text": part.text}] if part.text else []
        return {"type": "reasoning", "id": kept[0], "summary": summary, "encrypted_content": kept[1]}
    if isinstance(part, Raw) and part.dialect == "responses" and part.kind[-5:] == "_call":
        return part.value  # type: ignore[no-any-return]  # a tree, as it came
    return None


def _result(result: ToolResult, losses: Losses) -> Tree:
    texts = [part.text for part in result.parts if isinstance(part, Text)]
    output: Any = "".join(texts)
    if len(texts) != len(result.parts):
        output = [tree for part in result.parts if (tree := _part(part, losses, is_own=False)) is not None]
    return {"type": "function_call_output", "call_id": result.id, "output": output}


def _part(part: Part, losses: Losses, *, is_own: bool) -> Tree | None:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Media) and not is_own:
        return _media(part, losses)
    if isinstance(part, Raw) and part.dialect == "responses":
        return part.value  # type: ignore[no-any-return]  # a tree, as it came
    name = part.kind if isinstance(part, Raw | Media) else type(part).__name__.lower()
    if is_own:
        # What another provider's own tools gave: there is nobody here who could read it.
        losses.mention(name)
    else:
        losses.cannot(name, "this part of a message has no equal")
    return None


def _media(media: Media, losses: Losses) -> Tree | None:
    url = media.url or f"data:{media.media_type or 'application/pdf'};base64,{media.data}"
    if media.kind == "image":
        image: Tree = {"type": "input_image", "detail": media.detail or "auto"}
        return image | ({"file_id": media.file_id} if media.file_id else {"image_url": url})
    if media.kind == "document":
        if media.text:
            return {"type": "input_text", "text": f"{media.name}\n{media.text}" if media.name else media.text}
        if media.file_id:
            return {"type": "input_file", "file_id": media.file_id}
        if media.url:
            return {"type": "input_file", "file_url": media.url}
        return {"type": "input_file", "filename": media.name or "document.pdf", "file_data": url}
    losses.cannot(media.kind, "only text, images and documents are read")
    return None


def _tool(tool: Tool, where: str, losses: Losses) -> Tree | None:
    if tool.raw is not None:
        if tool.raw.dialect == "responses":
            return tool.raw.value  # type: ignore[no-any-return]  # a tree, as it came
        if tool.raw.kind == "custom" and tool.raw.dialect == "chat":
            return _flat(tool.raw.value.get("custom") or {})
        losses.cannot(where, f"a tool of the kind {tool.raw.kind!r} has no equal")
        return None
    schema = tool.schema or {"type": "object", "properties": {}}
    tree: Tree = {"type": "function", "name": tool.name, "parameters": schema, "strict": bool(tool.strict)}
    if tool.description:
        tree["description"] = tool.description
    return tree


def _flat(custom: Tree) -> Tree:
    """A custom tool as it is here: a grammar stands one level higher than in chat completions."""
    form = custom.get("format")
    inside = form.get("grammar") if isinstance(form, dict) else None
    if isinstance(inside, dict):
        return {"type": "custom", **custom, "format": {"type": "grammar", **inside}}
    return {"type": "custom", **custom}


def _tool_choice(choice: ToolChoice) -> str | Tree:
    if choice.mode == "tool":
        return {"type": "function", "name": choice.name}
    if choice.names:
        tools: list[Any] = [{"type": "function", "name": name} for name in choice.names]
        return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}
    return choice.mode


def _format(form: Format, losses: Losses) -> Tree:
    if form.kind == "json":
        return {"type": "json_object"}
    if form.kind != "schema":
        losses.cannot("response_format", f"the form {form.media_type or form.kind!r} has no equal")
        return {"type": "text"}
    tree: Tree = {"type": "json_schema", "name": form.name or "answer", "schema": form.schema or {}}
    if form.strict is not None:
        tree["strict"] = form.strict
    if form.description:
        tree["description"] = form.description
    return tree


def _reasoning(reasoning: Reasoning) -> Tree:
    tree: Tree = {}
    effort = effort_of(reasoning)
    if effort:
        tree["effort"] = effort
    if reasoning.is_shown:
        tree["summary"] = "auto"
    return tree
