"""A `generateContent` request, written from the form. The model and whether it is a stream stand in the path: the provider's business."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import Media, Refusal, Text, Thinking, ToolResult, ToolUse
from dispatch.dialects.generate.read_request import UNSIGNED, WRAPPERS
from dispatch.dialects.shape import json_object
from dispatch.dialects.target import Wishes
from dispatch.dialects.unsaid import name_unsaid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatch.dialects import Tree
    from dispatch.dialects.form import Message, Part, Reasoning, Request, Tool, ToolChoice
    from dispatch.dialects.target import Losses, Target

__all__ = ["write_request"]

KNOWN = frozenset(("safetySettings", "cachedContent", "labels", "generationConfig"))
"""Fields of the API that have no place in the form."""
HINTS = frozenset(
    (
        *(
            "store",
            "prompt_cache_key",
            "prompt_cache_retention",
            "safety_identifier",
            "include",
            "moderation",
            "prediction",
            "cache_control",
        ),
        *("context_management", "container", "inference_geo", "speed", "diagnostics", "betas"),
    )
)

_PLAIN = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "max_tokens": "maxOutputTokens",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
_KEEPS = frozenset(("is_error", "thoughtSignature", "text.thoughtSignature"))
_WISHES = Wishes(("logit_bias",), ("user", "metadata", "service_tier", "verbosity"))

_BY_LEVEL = re.compile(r"gemini-([3-9]|\d\d)")
"""Models that are told how much to think by a level, not in tokens, and that want signatures back with calls."""
_LEVELS = {"none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_BUDGETS = {"none": 0, "minimal": 512, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 24_576, "max": 24_576}


def write_request(request: Request, target: Target, losses: Losses) -> bytes:
    """Write the body.

    Raises:
        BadRequest: something has no equal here.
    """
    signs = _BY_LEVEL.search(target.model or request.model) is not None
    name_unsaid(request, "generate", _KEEPS, losses)
    system, contents = _contents(request.messages, losses, signs=signs)
    body: Tree = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    config: Tree = {}
    for name, written in _PLAIN.items():
        value = getattr(request, name)
        if value is not None:
            config[written] = value
    _put_config(config, request, losses)
    if request.reasoning is not None:
        config["thinkingConfig"] = _thinking(request.reasoning, by_level=signs)
    _put_tools(body, request, losses)
    _WISHES.name(request, losses)
    rest = losses.rest(request.extra, KNOWN, HINTS, target.provider)
    config |= rest.pop("generationConfig", {})
    if config:
        body["generationConfig"] = config
    return msgspec.json.encode(body | rest)


def _put_config(config: Tree, request: Request, losses: Losses) -> None:
    if request.stop:
        config["stopSequences"] = request.stop
    if request.logprobs:
        config["responseLogprobs"] = True
        if request.top_logprobs:
            config["logprobs"] = request.top_logprobs
    if request.modalities:
        config["responseModalities"] = [one.upper() for one in request.modalities]
    form = request.format
    if form is None:
        return
    if form.kind in {"json", "schema"}:
        config["responseMimeType"] = "application/json"
        if form.schema:
            config["responseJsonSchema"] = form.schema
    else:
        losses.cannot("response_format", f"the form {form.kind!r} has no equal")


def _thinking(reasoning: Reasoning, *, by_level: bool) -> Tree:
    tree: Tree = {"includeThoughts": reasoning.is_shown is not False and reasoning.effort != "none" and reasoning.budget != 0}
    if by_level:
        level = _LEVELS.get(reasoning.effort) or _level(reasoning.budget)
        if level:
            tree["thinkingLevel"] = level
    elif reasoning.budget is not None:
        tree["thinkingBudget"] = reasoning.budget
    elif reasoning.effort in _BUDGETS:
        tree["thinkingBudget"] = _BUDGETS[reasoning.effort]
    return tree


def _level(budget: int | None) -> str:
    if budget is None or budget < 0:
        return ""
    return next((level for most, level in ((512, "minimal"), (4_096, "low"), (12_288, "medium")) if budget <= most), "high")


def _put_tools(body: Tree, request: Request, losses: Losses) -> None:
    functions: list[Tree] = []
    tools: list[Tree] = []
    for at, tool in enumerate(request.tools):
        if tool.raw is None:
            functions.append(_function(tool))
        elif tool.raw.dialect == "generate":
            tools.append(tool.raw.value)
        else:
            losses.cannot(f"tools[{at}]", f"a tool of the kind {tool.raw.kind!r} has no equal")
    if functions:
        tools.append({"functionDeclarations": functions})
    if tools:
        body["tools"] = tools
    if functions and request.tool_choice is not None:
        body["toolConfig"] = {"functionCallingConfig": _tool_choice(request.tool_choice)}
    if request.parallel_tools is False and functions:
        losses.mention("parallel_tool_calls")


def _function(tool: Tool) -> Tree:
    tree: Tree = {"name": tool.name}
    if tool.description:
        tree["description"] = tool.description
    if tool.schema:
        tree["parametersJsonSchema"] = tool.schema
    return tree


def _tool_choice(choice: ToolChoice) -> Tree:
    tree: Tree = {"mode": _MODES[choice.mode]}
    names = [choice.name] if choice.mode == "tool" else choice.names
    if names:
        # Names are taken only where calls are demanded.
        tree = {"mode": "ANY" if choice.mode != "auto" else "VALIDATED", "allowedFunctionNames": names}
    return tree


def _contents(messages: Iterable[Message], losses: Losses, *, signs: bool) -> tuple[list[Tree], list[Tree]]:
    """The system instruction, and turns in which what follows each other from one side is one."""
    system: list[Tree] = []
    turns: list[tuple[str, list[Part]]] = []
    calls: dict[str, tuple[int, str]] = {}
    for message in messages:
        if message.role == "system":
            system += _parts(message.parts, calls, losses)
            continue
        for part in message.parts:
            if isinstance(part, ToolUse):
                calls[part.id] = (len(calls), part.name)
        role = "model" if message.role == "assistant" else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(message.parts)
        else:
            turns.append((role, [*message.parts]))
    contents = [{"role": role, "parts": written} for role, parts in turns if (written := _turn(role, parts, calls, losses, signs=signs))]
    return system, contents


def _turn(role: str, parts: list[Part], calls: dict[str, tuple[int, str]], losses: Losses, *, signs: bool) -> list[Tree]:
    if role == "user":
        # Results have no id here: their order says to which call they belong.
        parts.sort(key=lambda part: calls.get(part.id, (-1, ""))[0] if isinstance(part, ToolResult) else len(calls))
    written = _parts(parts, calls, losses)
    if role == "model" and signs:
        _sign(written)
    return written


def _sign(parts: list[Tree]) -> None:
    """Only the first call of a turn needs its signature; a turn that another model made has none."""
    first = next((part for part in parts if "functionCall" in part), None)
    if first is not None and "thoughtSignature" not in first:
        first["thoughtSignature"] = UNSIGNED


def _parts(parts: Iterable[Part], calls: dict[str, tuple[int, str]], losses: Losses) -> list[Tree]:
    """Parts; the signature of reasoning whose text is not sent back goes to the part that it led to."""
    found: list[Tree] = []
    signature = ""
    for part in parts:
        if isinstance(part, Thinking):
            # A signature is opaque: only Google's own, which come back from other dialects without a text, are told by that.
            signature = part.signature if not part.text and not part.is_redacted else ""
            continue
        for tree in _part(part, calls, losses):
            own = part.signature if isinstance(part, Text | ToolUse) else ""
            if own or signature:
                tree["thoughtSignature"] = own or signature
                signature = ""
            found.append(tree)
    return found


def _part(part: Part, calls: dict[str, tuple[int, str]], losses: Losses) -> list[Tree]:
    if isinstance(part, Text | Refusal):
        return [{"text": part.text}] if part.text or (isinstance(part, Text) and part.signature) else []
    if isinstance(part, Media):
        return _media(part, losses)
    if isinstance(part, ToolUse):
        return [{"functionCall": {"name": part.name, "args": json_object(part.arguments)}}]
    if isinstance(part, ToolResult):
        return _result(part, calls, losses)
    if isinstance(part, Thinking):
        return []
    if part.dialect == "generate":
        return [part.value]
    losses.cannot(part.kind, "this part of a message has no equal")
    return []


def _result(part: ToolResult, calls: dict[str, tuple[int, str]], losses: Losses) -> list[Tree]:
    texts = [one.text for one in part.parts if isinstance(one, Text)]
    response: Any = {"error" if part.is_error else "result": "\n".join(texts)}
    if len(texts) == 1 and not part.is_error:
        found = json_object(texts[0]) if texts[0].lstrip().startswith("{") else {}
        # What is an object already is not put into another, unless it looks like one of ours.
        is_ours = len(found) == 1 and not found.keys().isdisjoint(WRAPPERS)
        response = found if found and "_raw" not in found and not is_ours else response
    shown = [tree for one in part.parts if isinstance(one, Media) for tree in _media(one, losses)]
    return [{"functionResponse": {"name": part.name or calls.get(part.id, (0, part.id))[1], "response": response}}, *shown]


def _media(part: Media, losses: Losses) -> list[Tree]:
    if part.text:
        return [{"text": part.text}]
    if part.data:
        return [{"inlineData": {"mimeType": part.media_type or "application/pdf", "data": part.data}}]
    if part.url:
        return [{"fileData": {"mimeType": part.media_type or _guess(part.url, part.kind), "fileUri": part.url}}]
    losses.cannot("file_id", "a file of another provider cannot be read here")
    return []


_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "pdf": "application/pdf",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "txt": "text/plain",
}
_USUAL = {"image": "image/jpeg", "audio": "audio/mp3", "video": "video/mp4", "document": "application/pdf"}


def _guess(url: str, kind: str) -> str:
    ending = url.partition("?")[0].rpartition(".")[2].lower()
    return _TYPES.get(ending) or _USUAL[kind]
