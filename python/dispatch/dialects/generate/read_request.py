"""A `generateContent` request, read into the form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import (
    Format,
    Media,
    Message,
    Part,
    Raw,
    Reasoning,
    Request,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from dispatch.dialects.generate.signatures import URL_SAFE, thinking_of
from dispatch.dialects.shape import expect, flag, integer, items, number, request_tree, strings, text
from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from dispatch.dialects import Tree

__all__ = ["UNSIGNED", "WRAPPERS", "media_of", "plain_schema", "read_request"]

UNSIGNED = "skip_thought_signature_validator"
"""Google's own word for calls that another model made: https://ai.google.dev/gemini-api/docs/thought-signatures."""
WRAPPERS = ("result", "output", "error")
"""A result has to be an object: under these names stands what is none."""

_PLACED = frozenset(("model", "stream", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig"))
_CONFIG = frozenset(
    (
        *("temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "seed", "presencePenalty"),
        *("frequencyPenalty", "responseMimeType", "responseSchema", "responseJsonSchema", "responseLogprobs", "logprobs"),
        *("thinkingConfig", "responseModalities"),
    )
)
_SNAKES = re.compile(rb'"[a-z]+_[a-z_]+"\s*:')
"""A name as in protocol buffers. Clients mix both: google-genai writes dictionaries as they are given (`parameters_json_schema`)."""
_OPAQUE = frozenset(("args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "labels"))
_MODES = {"AUTO": "auto", "NONE": "none", "ANY": "required", "VALIDATED": "auto", "MODE_UNSPECIFIED": "auto"}
_LEVELS = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}


def read_request(body: bytes) -> Request:
    """Read a request.

    Raises:
        BadRequest: a field has the wrong type; it is named.
    """
    tree = request_tree(body)
    if _SNAKES.search(body):
        tree = _camel(tree)
    config = expect(tree.get("generationConfig") or {}, dict, "generationConfig")
    where = "generationConfig"
    system = tree.get("systemInstruction")
    rest = {name: value for name, value in tree.items() if name not in _PLACED}
    rest |= {f"generationConfig.{name}": value for name, value in config.items() if name not in _CONFIG}
    modalities = [one.lower() for one in strings(config, "responseModalities", where)]
    return Request(
        dialect="generate",
        model=text(tree, "model"),
        messages=_system(system) + _contents(_listed(tree, "contents")),
        stream=flag(tree, "stream") or False,
        wants_usage=True,
        max_tokens=integer(config, "maxOutputTokens", where),
        temperature=number(config, "temperature", where),
        top_p=number(config, "topP", where),
        top_k=integer(config, "topK", where),
        n=integer(config, "candidateCount", where),
        seed=integer(config, "seed", where),
        stop=strings(config, "stopSequences", where),
        presence_penalty=number(config, "presencePenalty", where),
        frequency_penalty=number(config, "frequencyPenalty", where),
        logprobs=flag(config, "responseLogprobs", where) or False,
        top_logprobs=integer(config, "logprobs", where),
        tools=[tool for at, one in enumerate(_listed(tree, "tools")) for tool in _tools(expect(one, dict, f"tools[{at}]"), f"tools[{at}]")],
        tool_choice=_tool_choice(tree.get("toolConfig")),
        format=_format(config),
        reasoning=_reasoning(config.get("thinkingConfig")),
        modalities=[] if modalities == ["text"] else modalities,
        extra=rest,
    )


def _listed(tree: Tree, key: str) -> list[Any]:
    """A list; Google takes its only item for it."""
    value = tree.get(key)
    return [value] if isinstance(value, dict) else items(tree, key)


def _camel(tree: Any) -> Any:
    """Names as in the REST reference: Google takes those of its protocol buffers as well, `inline_data` for `inlineData`."""
    if isinstance(tree, list):
        return [_camel(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    found = {}
    for key, value in tree.items():
        first, *rest = key.split("_")
        name = first + "".join(part.capitalize() for part in rest)
        # What stands below these is the client's own.
        found[name] = value if name in _OPAQUE else _camel(value)
    return found


def _system(tree: Any) -> list[Message]:
    if not tree:
        return []
    if isinstance(tree, str):
        return [Message(role="system", parts=[Text(text=tree)])]
    found: list[Part] = []
    _read_parts(found, expect(tree, dict, "systemInstruction"), "systemInstruction", _Calls())
    return [Message(role="system", parts=found)]


def _contents(given: list[Any]) -> list[Message]:
    if not given:
        raise BadRequest("contents: expected at least one", code="missing_parameter", param="contents")
    calls = _Calls()
    messages: list[Message] = []
    for at, one in enumerate(given):
        where = f"contents[{at}]"
        tree = expect(one, dict, where)
        role = "assistant" if tree.get("role") == "model" else "user"
        if role == "user" or not messages or messages[-1].role == "user":
            messages.append(Message(role=role, parts=[]))
        # Google's own SDK keeps a stream as one content for each chunk: they are one turn.
        _read_parts(messages[-1].parts, tree, where, calls)
    return messages


class _Calls:
    """The calls of a conversation. They need no id here; where there is none, their place among all stands for it."""

    __slots__ = ("_made", "_open")

    def __init__(self) -> None:
        self._made = 0
        self._open: list[ToolUse] = []

    def add(self, call: ToolUse) -> None:
        """A call was made."""
        call.id = call.id or f"call_{self._made}"
        self._made += 1
        self._open.append(call)

    def answered(self, known: str, name: str) -> str:
        """The id of the call that a result belongs to: the first of that name that has none yet, unless the result says it."""
        place = known or next((call.id for call in self._open if call.name == name), name)
        at = next((at for at, call in enumerate(self._open) if call.id == place), None)
        if at is not None:
            del self._open[at]
        return place


def _read_parts(found: list[Part], tree: Tree, where: str, calls: _Calls) -> None:
    for at, one in enumerate(items(tree, "parts", where)):
        place = f"{where}.parts[{at}]"
        part = _part(expect(one, dict, place), place, calls)
        if isinstance(part, ToolUse):
            calls.add(part)
        if isinstance(part, Thinking) and found and _goes_on(found[-1]):
            # The signature comes with the last piece.
            part.text = found.pop().text + part.text  # type: ignore[union-attr]  # it is reasoning
        found.append(part)


def _goes_on(part: Part) -> bool:
    """Whether it is reasoning whose signature may be still to come."""
    return isinstance(part, Thinking) and not part.signature


def _part(tree: Tree, where: str, calls: _Calls) -> Part:
    signature = text(tree, "thoughtSignature", where)
    signature = "" if signature == UNSIGNED else signature
    if "text" in tree:
        shown = text(tree, "text", where)
        if flag(tree, "thought", where):
            return thinking_of(shown, signature)
        return Text(text=shown, signature=signature)
    if "inlineData" in tree or "fileData" in tree:
        return media_of(tree)
    call = tree.get("functionCall")
    if isinstance(call, dict):
        arguments = msgspec.json.encode(call.get("args") or {}).decode()
        return ToolUse(id=text(call, "id", where), name=text(call, "name", where), arguments=arguments, signature=signature)
    given = tree.get("functionResponse")
    if isinstance(given, dict):
        return _result(given, where, calls)
    kind = next(iter(tree), "nothing")
    return Raw(dialect="generate", kind=kind, value=tree)


def _result(tree: Tree, where: str, calls: _Calls) -> ToolResult:
    name = text(tree, "name", where)
    place = calls.answered(text(tree, "id", where), name)
    response = tree.get("response")
    wrapper, inside = next(iter(response.items())) if isinstance(response, dict) and len(response) == 1 else ("", None)
    plain = inside if wrapper in WRAPPERS and isinstance(inside, str) else None
    shown = msgspec.json.encode(response).decode() if plain is None else plain
    parts: list[Part] = [Text(text=shown)]
    parts += [media_of(one) for one in items(tree, "parts", where) if isinstance(one, dict)]
    return ToolResult(id=place, name=name, parts=parts, is_error=plain is not None and wrapper == "error")


def media_of(tree: Tree) -> Part:
    """An inline or linked file."""
    inline = tree.get("inlineData")
    linked = tree.get("fileData")
    source = inline if isinstance(inline, dict) else linked
    if not isinstance(source, dict):
        return Raw(dialect="generate", kind=next(iter(tree), "nothing"), value=tree)
    media_type = text(source, "mimeType")
    kind = media_type.partition("/")[0]
    kind = kind if kind in {"image", "audio", "video"} else "document"
    data = text(source, "data")
    if "-" in data or "_" in data:
        # google-genai writes base64 by RFC 4648 section 5, which nobody else takes.
        data = data.translate(URL_SAFE)
    return Media(kind=kind, media_type=media_type, data=data, url=text(source, "fileUri"), name=text(source, "displayName"))


def _tools(tree: Tree, where: str) -> list[Tool]:
    found = []
    for at, one in enumerate(items(tree, "functionDeclarations", where)):
        place = f"{where}.functionDeclarations[{at}]"
        function = expect(one, dict, place)
        schema = function.get("parametersJsonSchema")
        if schema is None and isinstance(function.get("parameters"), dict):
            schema = plain_schema(function["parameters"])
        found.append(Tool(name=text(function, "name", place), description=text(function, "description", place), schema=schema))
    kinds = [kind for kind in tree if kind != "functionDeclarations"]
    return found + [Tool(name=kind, raw=Raw(dialect="generate", kind=kind, value={kind: tree[kind]})) for kind in kinds]


def plain_schema(schema: Any) -> Any:
    """Gemini's schema, whose types are in capitals and may be nullable, as JSON Schema."""
    if isinstance(schema, list):
        return [plain_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain_member(key, value) for key, value in schema.items() if key not in {"nullable", "propertyOrdering"}}
    if schema.get("nullable") is True and isinstance(plain.get("type"), str):
        plain["type"] = [plain["type"], "null"]
    return plain


def _plain_member(key: str, value: Any) -> Any:
    if key == "type" and isinstance(value, str):
        return value.lower()
    if key == "properties" and isinstance(value, dict):
        return {name: plain_schema(one) for name, one in value.items()}
    if key in {"minItems", "maxItems", "minLength", "maxLength"} and isinstance(value, str) and value.isdigit():
        return int(value)
    return plain_schema(value) if key in {"items", "anyOf", "additionalProperties"} else value


def _tool_choice(tree: Any) -> ToolChoice | None:
    config = tree.get("functionCallingConfig") if isinstance(tree, dict) else None
    if not isinstance(config, dict):
        return None
    names = strings(config, "allowedFunctionNames", "toolConfig.functionCallingConfig")
    mode = _MODES.get(text(config, "mode", "toolConfig.functionCallingConfig") or "AUTO", "auto")
    if mode == "required" and len(names) == 1:
        return ToolChoice(mode="tool", name=names[0])
    return ToolChoice(mode=mode, names=names)


def _format(config: Tree) -> Format | None:
    kind = text(config, "responseMimeType", "generationConfig")
    schema = config.get("responseJsonSchema")
    if schema is None and config.get("responseSchema") is not None:
        schema = plain_schema(config["responseSchema"])
    if isinstance(schema, dict) and kind in {"application/json", ""}:
        return Format(kind="schema", schema=schema, name="answer")
    if kind in {"", "text/plain"}:
        return None
    return Format(kind="json" if kind == "application/json" else "other", schema=schema, media_type=kind)


def _reasoning(tree: Any) -> Reasoning | None:
    if not isinstance(tree, dict):
        return None
    where = "generationConfig.thinkingConfig"
    level = text(tree, "thinkingLevel", where).upper()
    return Reasoning(
        effort=_LEVELS.get(level, ""), budget=integer(tree, "thinkingBudget", where), is_shown=flag(tree, "includeThoughts", where)
    )
