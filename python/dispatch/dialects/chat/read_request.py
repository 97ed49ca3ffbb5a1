"""A chat completions request, read into the form."""

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

__all__ = ["read_request"]

_PLACED = frozenset(
    (
        *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "n"),
        *("seed", "stop", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "tools", "functions"),
        *("tool_choice", "function_call", "parallel_tool_calls", "response_format", "reasoning_effort", "reasoning", "service_tier"),
        *("user", "metadata", "verbosity", "modalities", "thinking"),
    )
)

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}
_DATA_URL = "data:"


def read_request(body: bytes) -> Request:
    """Read a request.

    Raises:
        BadRequest: a field has the wrong type; it is named.
    """
    tree = request_tree(body)
    options = expect(tree.get("stream_options") or {}, dict, "stream_options")
    modalities = strings(tree, "modalities")
    completion = integer(tree, "max_completion_tokens")
    return Request(
        dialect="chat",
        model=text(tree, "model"),
        messages=_messages(items(tree, "messages")),
        stream=flag(tree, "stream") or False,
        wants_usage=options.get("include_usage") is True,
        max_tokens=integer(tree, "max_tokens") if completion is None else completion,
        temperature=number(tree, "temperature"),
        top_p=number(tree, "top_p"),
        top_k=integer(tree, "top_k"),
        n=integer(tree, "n"),
        seed=integer(tree, "seed"),
        stop=strings(tree, "stop"),
        presence_penalty=number(tree, "presence_penalty"),
        frequency_penalty=number(tree, "frequency_penalty"),
        logit_bias=expect(tree.get("logit_bias") or {}, dict, "logit_bias") or None,
        logprobs=flag(tree, "logprobs") or False,
        top_logprobs=integer(tree, "top_logprobs"),
        tools=_tools(tree),
        tool_choice=_tool_choice(tree),
        parallel_tools=flag(tree, "parallel_tool_calls"),
        format=_format(tree.get("response_format")),
        reasoning=_reasoning(tree),
        service_tier=text(tree, "service_tier"),
        user=text(tree, "user"),
        metadata=expect(tree.get("metadata") or {}, dict, "metadata") or None,
        verbosity=text(tree, "verbosity"),
        modalities=[] if modalities == ["text"] else modalities,
        extra={name: value for name, value in tree.items() if name not in _PLACED},
    )


def _messages(given: list[Any]) -> list[Message]:
    if not given:
        raise BadRequest("messages: expected at least one", code="missing_parameter", param="messages")
    return [_message(expect(one, dict, f"messages[{at}]"), f"messages[{at}]") for at, one in enumerate(given)]


def _message(tree: Tree, where: str) -> Message:
    said = text(tree, "role", where)
    role = _ROLES.get(said)
    if role is None:
        raise BadRequest(f"{where}.role: {said!r} is not known", code="invalid_request", param=f"{where}.role")
    name = text(tree, "name", where)
    parts = _parts(tree.get("content"), f"{where}.content")
    if role == "tool":
        # A function's result, before there were tools, is known by the function's name.
        place = text(tree, "tool_call_id", where) or name
        return Message(role=role, parts=[ToolResult(id=place, name=name, parts=parts)])
    if role == "assistant":
        parts = [*_thinking(tree, where), *parts, *_said(tree, where), *_calls(tree, where)]
    cache = tree.get("cache_control")
    if isinstance(cache, dict) and parts and isinstance(parts[-1], Text | Media | ToolUse):
        parts[-1].cache = cache
    return Message(role=role, parts=parts, name=name)


def _parts(content: Any, where: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(text=content)]
    found = expect(content, list, where)
    return [_part(expect(one, dict, f"{where}[{at}]"), f"{where}[{at}]") for at, one in enumerate(found)]


def _part(tree: Tree, where: str) -> Part:
    kind = text(tree, "type", where)
    cache = tree.get("cache_control")
    if kind == "text":
        return Text(text=text(tree, "text", where), cache=cache)
    if kind == "image_url":
        image = tree.get("image_url")
        image = {"url": image} if isinstance(image, str) else expect(image, dict, f"{where}.image_url")
        url = text(image, "url", f"{where}.image_url")
        return _linked("image", url, detail=text(image, "detail", f"{where}.image_url"), cache=cache)
    if kind == "input_audio":
        audio = expect(tree.get("input_audio"), dict, f"{where}.input_audio")
        form = text(audio, "format", f"{where}.input_audio")
        return Media(kind="audio", media_type=f"audio/{form or 'wav'}", data=text(audio, "data", f"{where}.input_audio"), cache=cache)
    if kind == "file":
        return _file(expect(tree.get("file"), dict, f"{where}.file"), f"{where}.file", cache)
    if kind == "video_url":
        video = expect(tree.get("video_url"), dict, f"{where}.video_url")
        return _linked("video", text(video, "url", f"{where}.video_url"), cache=cache)
    if kind == "refusal":
        return Refusal(text=text(tree, "refusal", where))
    return Raw(dialect="chat", kind=kind, value=tree)


def _linked(kind: str, url: str, detail: str = "", cache: Tree | None = None, name: str = "") -> Media:
    """Media behind a URL, which may carry its data itself (RFC 2397)."""
    if url[:5].lower() == _DATA_URL:
        head, _, data = url[5:].partition(",")
        return Media(kind=kind, media_type=head.partition(";")[0], data=data, detail=detail, cache=cache, name=name)
    return Media(kind=kind, url=url, detail=detail, cache=cache, name=name)


def _file(tree: Tree, where: str, cache: Tree | None) -> Media:
    name = text(tree, "filename", where)
    data = text(tree, "file_data", where)
    if not data:
        return Media(kind="document", file_id=text(tree, "file_id", where), name=name, cache=cache)
    if data[:5].lower() == _DATA_URL or data.startswith(("http://", "https://")):
        return _linked("document", data, cache=cache, name=name)
    return Media(kind="document", media_type="application/pdf", data=data, name=name, cache=cache)


def _thinking(tree: Tree, where: str) -> list[Part]:
    """Reasoning that a client sends back, in whichever form it kept it."""
    details = tree.get("reasoning_details")
    if isinstance(details, list) and details:
        return [_detail(expect(one, dict, f"{where}.reasoning_details")) for one in details]
    blocks = tree.get("thinking_blocks")
    if isinstance(blocks, list) and blocks:
        return [
            Thinking(
                text=block.get("thinking") or "", signature=block.get("signature") or block.get("data") or "", is_redacted="data" in block
            )
            for block in blocks
            if isinstance(block, dict)
        ]
    shown = text(tree, "reasoning_content", where) or text(tree, "reasoning", where)
    return [Thinking(text=shown)] if shown else []


def _detail(tree: Tree) -> Thinking:
    if tree.get("type") == "reasoning.encrypted":
        return Thinking(signature=text(tree, "data"), is_redacted=True)
    return Thinking(text=text(tree, "text") or text(tree, "summary"), signature=text(tree, "signature"))


def _said(tree: Tree, where: str) -> list[Part]:
    refusal = text(tree, "refusal", where)
    audio = tree.get("audio")
    found: list[Part] = [Refusal(text=refusal)] if refusal else []
    if isinstance(audio, dict):
        found.append(Raw(dialect="chat", kind="audio", value=audio))
    return found


def _calls(tree: Tree, where: str) -> list[Part]:
    calls: list[Part] = []
    for at, call in enumerate(items(tree, "tool_calls", where)):
        place = f"{where}.tool_calls[{at}]"
        expect(call, dict, place)
        if call.get("type") == "custom":
            custom = expect(call.get("custom"), dict, f"{place}.custom")
            calls.append(ToolUse(id=text(call, "id", place), name=text(custom, "name"), arguments=text(custom, "input"), is_custom=True))
            continue
        function = expect(call.get("function"), dict, f"{place}.function")
        use = ToolUse(
            id=text(call, "id", place),
            name=text(function, "name", f"{place}.function"),
            arguments=text(function, "arguments", f"{place}.function"),
            signature=_google(call),
        )
        use.cache = call.get("cache_control")
        calls.append(use)
    legacy = tree.get("function_call")
    if isinstance(legacy, dict):
        name = text(legacy, "name", where)
        calls.append(ToolUse(id=name, name=name, arguments=text(legacy, "arguments", where)))
    return calls


def _google(call: Tree) -> str:
    """Google's thought signature, where its own OpenAI door puts it."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else ""


def _tools(tree: Tree) -> list[Tool]:
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


def _tool_choice(tree: Tree) -> ToolChoice | None:
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


def _format(tree: Any) -> Format | None:
    if tree is None:
        return None
    kind = text(expect(tree, dict, "response_format"), "type", "response_format")
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
