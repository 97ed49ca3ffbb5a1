"""A request to `/api/chat`, written from the form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from dispatch.dialects.form import Media, Refusal, Text, Thinking, ToolResult, ToolUse
from dispatch.dialects.shape import json_object
from dispatch.dialects.target import WISHES, Wishes
from dispatch.dialects.unsaid import name_unsaid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.dialects import Tree
    from dispatch.dialects.form import Format, Message, Part, Reasoning, Request, Tool
    from dispatch.dialects.target import Losses, Target

__all__ = ["write_request"]

_OPTIONS = frozenset(
    (
        *("num_ctx", "num_keep", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "min_p", "typical_p", "tfs_z"),
        *("repeat_penalty", "repeat_last_n", "mirostat", "mirostat_tau", "mirostat_eta", "penalize_newline"),
    )
)
"""Fields that clients of other dialects put beside the known ones, and that stand in `options` here."""
KNOWN = frozenset(("options", "keep_alive", "truncate", "shift", *_OPTIONS))

_PLAIN = {
    "max_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
_KEEPS = frozenset(("thinking", "unsigned_thinking"))
_WISHES = Wishes(("n", "logit_bias", "modalities"), ("user", "metadata", "service_tier", "verbosity"))
_THINKS = re.compile(r"gpt-oss|deepseek-(r1|v3\.[1-9]|v[4-9])|qwen3|qwq|magistral|nemotron|kimi-k|glm-[4-9]|minimax-m|cogito|gemma[4-9]")
"""Models that take `think`; to others the server answers 400."""
_BY_LEVEL = re.compile(r"gpt-oss")
"""Models that are told how much to think; the others only whether to."""
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def write_request(request: Request, target: Target, losses: Losses) -> bytes:
    """Write the body.

    Raises:
        BadRequest: something has no equal here.
    """
    name_unsaid(request, "ollama", _KEEPS, losses)
    model = target.model or request.model
    body: Tree = {"model": model, "messages": _messages(request.messages, losses), "stream": request.stream}
    options = {written: value for name, written in _PLAIN.items() if (value := getattr(request, name)) is not None}
    if request.stop:
        options["stop"] = request.stop
    if request.logprobs:
        body["logprobs"] = True
        if request.top_logprobs:
            body["top_logprobs"] = request.top_logprobs
    _WISHES.name(request, losses)
    _put_tools(body, request, losses)
    if request.format is not None and (form := _format(request.format, losses)) is not None:
        body["format"] = form
    if request.reasoning is not None:
        _put_thinking(body, request.reasoning, target, losses)
    rest = losses.rest(request.extra, KNOWN, WISHES, target.provider)
    options |= rest.pop("options", {})
    options |= {name: rest.pop(name) for name in _OPTIONS & rest.keys()}
    given = {**target.body, **rest}
    options = {**given.pop("options", {}), **options}
    if options:
        body["options"] = options
    return msgspec.json.encode(body | given)


def _put_tools(body: Tree, request: Request, losses: Losses) -> None:
    choice = request.tool_choice
    if choice is not None and choice.mode == "none":
        # What is not offered cannot be called.
        return
    offered = None if choice is None or not choice.names else set(choice.names)
    tools: list[Tree] = []
    for at, tool in enumerate(request.tools):
        if tool.raw is not None:
            losses.cannot(f"tools[{at}]", f"a tool of the kind {tool.raw.kind!r} has no equal")
        elif offered is None or tool.name in offered:
            tools.append(_tool(tool))
    if not tools:
        return
    body["tools"] = tools
    if choice is not None and choice.mode in {"required", "tool"}:
        losses.cannot("tool_choice", "a call cannot be demanded")
    if request.parallel_tools is False:
        losses.mention("parallel_tool_calls")


def _tool(tool: Tool) -> Tree:
    parameters = tool.schema or {"type": "object", "properties": {}}
    return {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": parameters}}


def _format(form: Format, losses: Losses) -> Tree | str | None:
    if form.kind == "schema" and form.schema:
        return form.schema
    if form.kind in {"json", "schema"}:
        return "json"
    losses.cannot("response_format", f"the form {form.kind!r} has no equal")
    return None


def _put_thinking(body: Tree, reasoning: Reasoning, target: Target, losses: Losses) -> None:
    takes = target.takes_reasoning
    is_off = reasoning.effort == "none" or reasoning.budget == 0
    if takes is False or (takes is None and not _THINKS.search(body["model"])):
        if not is_off:
            losses.mention("reasoning")
    elif is_off:
        body["think"] = False
    elif _BY_LEVEL.search(body["model"]):
        body["think"] = _LEVELS.get(reasoning.effort) or _level(reasoning.budget)
    else:
        body["think"] = True


def _level(budget: int | None) -> str:
    if budget is None or budget < 0:
        return "medium"
    return "low" if budget <= 4_096 else "medium" if budget <= 12_288 else "high"


def _messages(messages: Iterable[Message], losses: Losses) -> list[Tree]:
    written: list[Tree] = []
    names: dict[str, str] = {}
    for message in messages:
        names |= {part.id: part.name for part in message.parts if isinstance(part, ToolUse)}
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        rest = [part for part in message.parts if not isinstance(part, ToolResult)]
        written += [_result(part, names, losses) for part in results]
        if rest or not results:
            written.append(_message("user" if message.role == "tool" else message.role, rest, losses))
    return written


def _message(role: str, parts: Iterable[Part], losses: Losses) -> Tree:
    texts: list[str] = []
    thoughts: list[str] = []
    images: list[str] = []
    calls: list[Tree] = []
    for part in parts:
        if isinstance(part, Text | Refusal):
            texts.append(part.text)
        elif isinstance(part, Thinking):
            thoughts.append(part.text)
        elif isinstance(part, ToolUse):
            calls.append({"id": part.id, "function": {"name": part.name, "arguments": json_object(part.arguments)}})
        elif isinstance(part, Media):
            _put_media(part, texts, images, losses)
        else:
            losses.cannot(getattr(part, "kind", "part"), "this part of a message has no equal")
    tree: Tree = {"role": role, "content": "\n".join(texts)}
    for name, value in (("thinking", "".join(thoughts)), ("images", images), ("tool_calls", calls)):
        if value:
            tree[name] = value
    return tree


def _result(result: ToolResult, names: dict[str, str], losses: Losses) -> Tree:
    tree = _message("tool", result.parts, losses)
    tree["tool_name"] = result.name or names.get(result.id, "")
    tree["tool_call_id"] = result.id
    return tree


def _put_media(media: Media, texts: list[str], images: list[str], losses: Losses) -> None:
    if media.text:
        texts.append(f"{media.name}\n{media.text}" if media.name else media.text)
    elif media.kind == "image" and media.data:
        images.append(media.data)
    elif media.kind == "image":
        losses.cannot("image_url", "an image must be sent with its data: nothing is fetched from a URL")
    else:
        losses.cannot(media.kind, "this part of a message has no equal")
