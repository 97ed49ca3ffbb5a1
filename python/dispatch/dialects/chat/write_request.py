"""A chat completions request, written from the form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.chat.read_request import FIELDS
from dispatch.dialects.form import Media, Message, Raw, Refusal, Text, Thinking, ToolResult, ToolUse
from dispatch.dialects.target import CONVERSES
from dispatch.dialects.unsaid import name_unsaid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.dialects import Tree
    from dispatch.dialects.form import Format, Part, Reasoning, Request, Tool, ToolChoice
    from dispatch.dialects.target import Losses, Target

__all__ = ["EFFORTS", "effort_of", "write_request"]

KNOWN = frozenset(
    (
        *("store", "audio", "prediction", "web_search_options", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"),
        *("moderation",),
    )
)
"""Fields of the API that have no place in the form."""
HINTS = frozenset(
    ("store", "cache_control", "context_management", "container", "inference_geo", "speed", "diagnostics", "betas", "labels", "include")
)
"""Fields of other dialects that change nothing in an answer's content."""

EFFORTS = ((0, "none"), (1_024, "minimal"), (4_096, "low"), (12_288, "medium"), (1 << 62, "high"))
"""Thinking budgets, up to so many tokens, and what effort is nearest to them."""

_REASONS = re.compile(
    r"(^|/)(o\d|gpt-[5-9]|gpt-oss|codex|deepseek-r|deepseek-v[4-9]|grok-[3-9]|qwq|qwen3|magistral|kimi-k2-think|glm-[4-9])"
)
"""Models that take `reasoning_effort`; the others' servers answer 400."""

_KEEPS = frozenset(("name", "detail", "strict", "custom", "description", "thinking", "unsigned_thinking", "thoughtSignature"))
_PLAIN = ("temperature", "top_p", "n", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "top_logprobs", "metadata")
_WORDS = ("service_tier", "user", "verbosity")
_FORMATS = {"audio/mpeg": "mp3", "audio/x-wav": "wav", "audio/wave": "wav"}


def write_request(request: Request, target: Target, losses: Losses) -> bytes:
    """Write the body.

    Raises:
        BadRequest: something has no equal here.
    """
    name_unsaid(request, "chat", _KEEPS, losses)
    messages: list[Tree] = []
    for message in request.messages:
        messages += _message(message, losses)
    body: Tree = {"model": target.model or request.model, "messages": messages}
    for name in _PLAIN:
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    body |= {name: value for name in _WORDS if (value := getattr(request, name))}
    if request.max_tokens is not None:
        body[target.max_tokens_field] = request.max_tokens
    if request.stop:
        body["stop"] = request.stop
    if request.logprobs:
        body["logprobs"] = True
    if request.modalities:
        body["modalities"] = request.modalities
    if request.top_k is not None:
        if target.unknown_ok:
            body["top_k"] = request.top_k
        else:
            losses.cannot("top_k", f"{target.provider} has no such field")
    _put_tools(body, request, losses)
    _put_rest(body, request, target, losses)
    for ours, theirs in target.renames:
        if ours in body:
            body[theirs] = body.pop(ours)
    return msgspec.json.encode(body)


def _put_tools(body: Tree, request: Request, losses: Losses) -> None:
    tools = [tree for at, tool in enumerate(request.tools) if (tree := _tool(tool, f"tools[{at}]", losses)) is not None]
    if tools:
        body["tools"] = tools
        if request.parallel_tools is not None:
            body["parallel_tool_calls"] = request.parallel_tools
    if request.tool_choice is not None and tools:
        body["tool_choice"] = _tool_choice(request.tool_choice)


def _put_rest(body: Tree, request: Request, target: Target, losses: Losses) -> None:
    if request.format is not None and (form := _format(request.format, losses)) is not None:
        body["response_format"] = form
    effort = effort_of(request.reasoning)
    if effort:
        takes = target.takes_reasoning
        if takes or (takes is None and _REASONS.search(body["model"])):
            body["reasoning_effort"] = effort
        elif effort != "none":
            # Whether a model thinks is its own nature here; agents ask everyone for it.
            losses.mention("reasoning")
    known = request.extra if target.unknown_ok and request.dialect == "chat" else KNOWN
    if request.dialect == "converse" and target.unknown_ok:
        # Its `additionalModelRequestFields`.
        known = KNOWN | (request.extra.keys() - FIELDS.keys() - CONVERSES)
    if request.dialect == "responses":
        # A completion that is stored is none of the responses that could be asked for by id.
        known = KNOWN - {"store"}
    body |= losses.rest(request.extra, known, HINTS, target.provider)
    if request.stream:
        body["stream"] = True
        if target.stream_usage:
            body["stream_options"] = {"include_usage": True}


def effort_of(reasoning: Reasoning | None) -> str:
    """The effort that is asked for, or the one nearest to the budget; empty for none of both."""
    if reasoning is None:
        return ""
    if reasoning.effort:
        return {"max": "xhigh"}.get(reasoning.effort, reasoning.effort)
    if reasoning.budget is None:
        return ""
    if reasoning.budget < 0:
        return "medium"
    return next(word for most, word in EFFORTS if reasoning.budget <= most)


def _message(message: Message, losses: Losses) -> list[Tree]:
    """One message; the results of tools become one each, and what they show follows as the user's."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    rest = [part for part in message.parts if not isinstance(part, ToolResult)]
    written: list[Tree] = []
    shown: list[Tree] = []
    written += [_result(result, shown, losses) for result in results]
    if message.role == "assistant":
        written.append(_assistant(rest, losses))
    elif rest or not results:
        content = _content(rest, losses)
        tree: Tree = {"role": "user" if message.role == "tool" else message.role, "content": _joined(shown, content)}
        if message.name:
            tree["name"] = message.name
        return [*written, tree]
    if shown:
        written.append({"role": "user", "content": shown})
    return written


def _joined(shown: list[Tree], content: str | list[Tree]) -> str | list[Tree]:
    if not shown:
        return content
    return shown + ([{"type": "text", "text": content}] if isinstance(content, str) else content)


def _result(result: ToolResult, shown: list[Tree], losses: Losses) -> Tree:
    """The API takes text as a result; images and files follow in a message of the user, named by their call."""
    texts = [part for part in result.parts if isinstance(part, Text)]
    others = [part for part in result.parts if not isinstance(part, Text)]
    if others:
        shown.append({"type": "text", "text": f"Result of {result.id}:"})
        shown += [tree for part in others if (tree := _part(part, losses)) is not None]
    content = texts[0].text if len(texts) == 1 else [{"type": "text", "text": part.text} for part in texts] or ""
    return {"role": "tool", "tool_call_id": result.id, "content": content}


def _content(parts: Sequence[Part], losses: Losses) -> str | list[Tree]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [tree for part in parts if (tree := _part(part, losses)) is not None]


def _part(part: Part, losses: Losses) -> Tree | None:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Media):
        return _media(part, losses)
    if isinstance(part, Raw) and part.dialect == "chat":
        return part.value  # type: ignore[no-any-return]  # a tree, as it came
    losses.cannot(part.kind if isinstance(part, Raw) else type(part).__name__.lower(), "this part of a message has no equal")
    return None


def _media(media: Media, losses: Losses) -> Tree | None:
    url = media.url or f"data:{media.media_type};base64,{media.data}"
    if media.kind == "image" and not media.file_id:
        image: Tree = {"url": url}
        if media.detail:
            image["detail"] = media.detail
        return {"type": "image_url", "image_url": image}
    if media.kind == "audio" and media.data:
        kind = _FORMATS.get(media.media_type) or media.media_type.partition("/")[2]
        return {"type": "input_audio", "input_audio": {"data": media.data, "format": kind}}
    if media.kind == "video" and not media.file_id:
        return {"type": "video_url", "video_url": {"url": url}}
    if media.kind == "document" or media.file_id:
        return _document(media, url, losses)
    losses.cannot(media.kind, "behind a URL it has no equal")
    return None


def _document(media: Media, url: str, losses: Losses) -> Tree | None:
    if media.text:
        return {"type": "text", "text": f"{media.name}\n{media.text}" if media.name else media.text}
    if media.file_id:
        return {"type": "file", "file": {"file_id": media.file_id}}
    if media.url:
        losses.cannot("document", "a document behind a URL has no equal")
        return None
    return {"type": "file", "file": {"filename": media.name or "document.pdf", "file_data": url}}


def _assistant(parts: Sequence[Part], losses: Losses) -> Tree:
    texts: list[Part] = []
    calls: list[Tree] = []
    tree: Tree = {"role": "assistant", "content": None}
    for part in parts:
        if isinstance(part, ToolUse):
            calls.append(_call(part))
        elif isinstance(part, Refusal):
            tree["refusal"] = part.text
        elif isinstance(part, Thinking):
            # Only servers that gave it back in this field take it; a signature of another provider means nothing here.
            if part.text:
                tree["reasoning_content"] = tree.get("reasoning_content", "") + part.text
        elif isinstance(part, Raw) and part.kind == "audio" and part.dialect == "chat":
            tree["audio"] = part.value
        elif isinstance(part, Raw) and part.dialect != "chat":
            # What another provider's own tools gave: there is nobody here who could read it.
            losses.mention(part.kind)
        else:
            texts.append(part)
    if texts:
        tree["content"] = _content(texts, losses)
    elif not calls:
        tree["content"] = ""
    if calls:
        tree["tool_calls"] = calls
    return tree


def _call(use: ToolUse) -> Tree:
    if use.is_custom:
        return {"id": use.id, "type": "custom", "custom": {"name": use.name, "input": use.arguments}}
    tree: Tree = {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": use.arguments or "{}"}}
    if use.signature:
        tree["extra_content"] = {"google": {"thought_signature": use.signature}}
    return tree


def _tool(tool: Tool, where: str, losses: Losses) -> Tree | None:
    if tool.raw is not None:
        if tool.raw.dialect == "chat":
            return tool.raw.value  # type: ignore[no-any-return]  # a tree, as it came
        losses.cannot(where, f"a tool of the kind {tool.raw.kind!r} has no equal")
        return None
    function: Tree = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.schema or {"type": "object", "properties": {}}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> str | Tree:
    if choice.mode == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    if choice.names:
        tools: list[Any] = [{"type": "function", "function": {"name": name}} for name in choice.names]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}}
    return choice.mode


def _format(form: Format, losses: Losses) -> Tree | None:
    if form.kind == "json":
        return {"type": "json_object"}
    if form.kind != "schema":
        losses.cannot("response_format", f"the form {form.media_type or form.kind!r} has no equal")
        return None
    inside: Tree = {"name": form.name or "answer", "schema": form.schema or {}}
    if form.strict is not None:
        inside["strict"] = form.strict
    if form.description:
        inside["description"] = form.description
    return {"type": "json_schema", "json_schema": inside}
