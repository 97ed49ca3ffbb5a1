"""A request to `/v2/chat`, written from the form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from dispatch.dialects.form import Media, Refusal, Text, Thinking, ToolResult, ToolUse
from dispatch.dialects.target import WISHES, Wishes
from dispatch.dialects.unsaid import name_unsaid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.dialects import Tree
    from dispatch.dialects.form import Format, Message, Reasoning, Request, Tool
    from dispatch.dialects.target import Losses, Target

__all__ = ["write_request"]

KNOWN = frozenset(("documents", "citation_options", "safety_mode", "strict_tools", "priority"))
"""Fields of the API that have no place in the form."""

_PLAIN = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "p",
    "top_k": "k",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
_KEEPS = frozenset(("thinking", "unsigned_thinking", "detail", "strict"))
_WISHES = Wishes(
    ("n", "logit_bias", "top_logprobs", "modalities"),
    ("user", "metadata", "service_tier", "verbosity"),
    {"top_logprobs": "only the tokens that were chosen are told"},
)
_THINKS = re.compile(r"reasoning|command-a-(0[4-9]|1\d|plus)|north")
"""Models that take `thinking`; to others the API answers 400."""
_BUDGETS = {"minimal": 512, "low": 1_024, "medium": 8_192, "high": 24_576}
_MODES = {"none": "NONE", "required": "REQUIRED", "tool": "REQUIRED"}


def write_request(request: Request, target: Target, losses: Losses) -> bytes:
    """Write the body.

    Raises:
        BadRequest: something has no equal here.
    """
    name_unsaid(request, "cohere", _KEEPS, losses)
    documents: list[Tree] = []
    messages = _messages(request.messages, documents, losses)
    body: Tree = {"model": target.model or request.model, "messages": messages, "stream": request.stream}
    for name, written in _PLAIN.items():
        value = getattr(request, name)
        if value is not None:
            body[written] = value
    if request.stop:
        body["stop_sequences"] = request.stop
    if request.logprobs:
        body["logprobs"] = True
    _WISHES.name(request, losses)
    _put_tools(body, request, losses)
    if request.format is not None and (form := _format(request.format, losses)) is not None:
        body["response_format"] = form
    if request.reasoning is not None:
        _put_thinking(body, request.reasoning, target, losses)
    rest = losses.rest(request.extra, KNOWN, WISHES, target.provider)
    if documents:
        rest["documents"] = [*rest.get("documents", ()), *documents]
    return msgspec.json.encode(body | rest)


def _put_tools(body: Tree, request: Request, losses: Losses) -> None:
    choice = request.tool_choice
    names = set() if choice is None else {choice.name} if choice.mode == "tool" else set(choice.names)
    tools: list[Tree] = []
    for at, tool in enumerate(request.tools):
        if tool.raw is not None:
            losses.cannot(f"tools[{at}]", f"a tool of the kind {tool.raw.kind!r} has no equal")
        elif not names or tool.name in names:
            # A tool that must be called is the only one that is offered.
            tools.append(_tool(tool))
    if not tools:
        return
    body["tools"] = tools
    if any(tool.strict for tool in request.tools):
        body["strict_tools"] = True
    if choice is not None and choice.mode in _MODES:
        body["tool_choice"] = _MODES[choice.mode]
    if request.parallel_tools is False:
        losses.mention("parallel_tool_calls")


def _tool(tool: Tool) -> Tree:
    function: Tree = {"name": tool.name, "parameters": tool.schema or {"type": "object", "properties": {}}}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _format(form: Format, losses: Losses) -> Tree | None:
    if form.kind not in {"json", "schema"}:
        losses.cannot("response_format", f"the form {form.kind!r} has no equal")
        return None
    tree: Tree = {"type": "json_object"}
    if form.schema:
        tree["json_schema"] = form.schema
    return tree


def _put_thinking(body: Tree, reasoning: Reasoning, target: Target, losses: Losses) -> None:
    takes = target.takes_reasoning
    is_off = reasoning.effort == "none" or reasoning.budget == 0
    if takes is False or (takes is None and not _THINKS.search(body["model"])):
        if not is_off:
            losses.mention("reasoning")
        return
    tree: Tree = {"type": "disabled" if is_off else "enabled"}
    budget = reasoning.budget if reasoning.budget is not None else _BUDGETS.get(reasoning.effort)
    if not is_off and budget is not None and budget > 0:
        tree["token_budget"] = budget
    body["thinking"] = tree


def _messages(messages: Iterable[Message], documents: list[Tree], losses: Losses) -> list[Tree]:
    written: list[Tree] = []
    for message in messages:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        written += [_result(part, losses) for part in results]
        if message.role == "assistant":
            written.append(_assistant(message, losses))
        elif len(results) < len(message.parts) or not results:
            role = "user" if message.role == "tool" else message.role
            content = _content(message, documents, losses)
            if role == "system" and not isinstance(content, str):
                content = "\n".join(tree["text"] for tree in content if "text" in tree)
            written.append({"role": role, "content": content})
    return written


def _content(message: Message, documents: list[Tree], losses: Losses) -> str | list[Tree]:
    found: list[Tree] = []
    for part in message.parts:
        if isinstance(part, Text | Refusal):
            found.append({"type": "text", "text": part.text})
        elif isinstance(part, Media):
            found += _media(part, documents, losses)
        elif not isinstance(part, ToolResult):
            losses.cannot(getattr(part, "kind", "part"), "this part of a message has no equal")
    if len(found) == 1 and "text" in found[0]:
        return str(found[0]["text"])
    return found


def _media(media: Media, documents: list[Tree], losses: Losses) -> list[Tree]:
    if media.kind == "image" and not media.file_id:
        image: Tree = {"url": media.url or f"data:{media.media_type or 'image/png'};base64,{media.data}"}
        if media.detail:
            image["detail"] = media.detail
        return [{"type": "image_url", "image_url": image}]
    if not media.text:
        losses.cannot(media.kind, "this part of a message has no equal")
        return []
    if (media.extra.get("citations") or {}).get("enabled"):
        # What is to be cited stands beside the messages.
        data = {"title": media.name, "text": media.text} if media.name else {"text": media.text}
        documents.append({"id": f"doc:{len(documents)}", "data": data})
        return []
    return [{"type": "text", "text": f"{media.name}\n{media.text}" if media.name else media.text}]


def _assistant(message: Message, losses: Losses) -> Tree:
    tree: Tree = {"role": "assistant"}
    calls = [part for part in message.parts if isinstance(part, ToolUse)]
    content: list[Tree] = []
    for part in message.parts:
        if isinstance(part, Text | Refusal):
            content.append({"type": "text", "text": part.text})
        elif isinstance(part, Thinking):
            if part.text and calls:
                tree["tool_plan"] = tree.get("tool_plan", "") + part.text
            elif part.text:
                content.append({"type": "thinking", "thinking": part.text})
        elif not isinstance(part, ToolUse):
            losses.mention(getattr(part, "kind", "part"))
    if calls:
        tree["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}} for call in calls
        ]
    if len(content) == 1 and "text" in content[0]:
        tree["content"] = content[0]["text"]
    elif content or not calls:
        tree["content"] = content or ""
    return tree


def _result(result: ToolResult, losses: Losses) -> Tree:
    texts: list[str] = []
    for part in result.parts:
        if isinstance(part, Text | Refusal | Media) and part.text:
            texts.append(part.text)
        elif not isinstance(part, Text | Refusal):
            losses.cannot(getattr(part, "kind", "part"), "the result of a tool is text")
    return {"role": "tool", "tool_call_id": result.id, "content": "\n".join(texts)}
