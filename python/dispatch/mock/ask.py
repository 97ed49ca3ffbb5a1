"""A request as the mock reads it: the few fields that shape an answer, the same for every door.

A door is a kind of path: `chat`, `completions`, `embeddings`, `responses`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from dispatch.mock.passage import count_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Ask", "BadAsk", "Tool", "digest_of", "parse"]


Json: TypeAlias = Any
"""Whatever a JSON text may hold."""


class BadAsk(Exception):
    """A request that a provider answers by 400.

    Attributes:
        param: the field at fault, None for the body itself.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class Tool(Struct, frozen=True):
    """A function that the request offers."""

    name: str
    parameters: Any


class _Body(Struct):
    model: str = ""
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    messages: list[Any] | None = None
    prompt: Any = None
    input: Any = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    seed: int | None = None
    logprobs: bool | int | None = None
    top_logprobs: int | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    dimensions: int | None = None
    encoding_format: str | None = None


class Ask(Struct, kw_only=True):
    """What is asked for."""

    door: str
    model: str
    stream: bool
    include_usage: bool
    max_tokens: int
    """0: none given."""
    n: int
    seed: int | None
    last_text: str
    """Text of the last user message, or the prompt."""
    after_tool: bool
    """The last message is a tool's result."""
    tools: list[Tool]
    tool_choice: str
    """`none`, `auto`, `required`, or `=NAME` for one function."""
    schema: Any
    """JSON schema of the answer; None for plain text, `{}` for any object."""
    inputs: list[Any]
    """What to embed."""
    dimensions: int
    is_base64: bool
    tells_logprobs: bool
    """At the door of chat; the others tell none."""
    top_logprobs: int
    tokens_in: int
    digest: str
    """Names the prompt: the first 16 hex digits of the SHA-256 of the last user text."""


_DECODER: Final = msgspec.json.Decoder(_Body)
_REQUIRED: Final = {"chat": "messages", "completions": "prompt", "embeddings": "input", "responses": "input"}
_MOST_TOPS: Final = 20
"""As OpenAI's."""


def parse(door: str, body: bytes, deployment: str = "") -> Ask:
    """Read a body; `deployment` is Azure's model name in the path.

    Raises:
        BadAsk: not JSON, a wrong type, or a required field is missing.
    """
    try:
        raw = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `")
        raise BadAsk(f"Invalid type: {reason}", path.removesuffix("`").removeprefix("$.") or None) from None
    except msgspec.DecodeError as error:
        raise BadAsk(f"We could not parse the JSON body of your request: {error}") from None
    model = raw.model or deployment
    if not model:
        raise BadAsk("you must provide a model parameter", "model")
    required = _REQUIRED[door]
    given = getattr(raw, required)
    if given is None:
        raise BadAsk(f"Missing required parameter: '{required}'.", required)
    return _ask(door, model, raw, given)


def _ask(door: str, model: str, raw: _Body, given: Json) -> Ask:
    turns = [turn for turn in given if isinstance(turn, dict)] if isinstance(given, list) else []
    text_bytes, last_text = _texts(given, turns)
    last = turns[-1] if turns else {}
    max_tokens = raw.max_completion_tokens or raw.max_tokens or raw.max_output_tokens or 0
    is_list = isinstance(given, list) and not (given and isinstance(given[0], int))
    return Ask(
        door=door,
        model=model,
        stream=bool(raw.stream),
        include_usage=bool((raw.stream_options or {}).get("include_usage")),
        max_tokens=max_tokens,
        n=max(1, raw.n or 1),
        seed=raw.seed,
        last_text=last_text,
        after_tool=last.get("role") == "tool" or last.get("type") == "function_call_output",
        tools=[_tool(tool) for tool in raw.tools or () if isinstance(tool, dict) and tool.get("type", "function") == "function"],
        tool_choice=_choice(raw.tool_choice),
        schema=_schema(raw.response_format or (raw.text or {}).get("format") or {}),
        inputs=list(given) if is_list else [given],
        dimensions=raw.dimensions or 0,
        is_base64=raw.encoding_format == "base64",
        tells_logprobs=door == "chat" and raw.logprobs is True,
        top_logprobs=_tops(raw) if door == "chat" else 0,
        tokens_in=count_tokens(text_bytes),
        digest=digest_of(last_text),
    )


def _tops(raw: _Body) -> int:
    tops = raw.top_logprobs or 0
    if not 0 <= tops <= _MOST_TOPS:
        raise BadAsk(f"Invalid 'top_logprobs': integer out of range. Expected 0 to {_MOST_TOPS}, got {tops}.", "top_logprobs")
    if tops and raw.logprobs is not True:
        raise BadAsk("'top_logprobs' is only allowed when 'logprobs' is true.", "top_logprobs")
    return tops


def digest_of(text: str) -> str:
    """Give the name under which the journal knows a prompt by its last user text."""
    return sha256(text.encode()).hexdigest()[:16]


def _texts(given: Json, turns: list[dict[str, Any]]) -> tuple[int, str]:
    """Count the bytes of all text, and find the last user text."""
    if not turns:
        texts = list(_strings(given))
        return sum(map(len, texts)), texts[-1] if texts else ""
    total, last = 0, ""
    for turn in turns:
        text = "".join(_strings(turn.get("content", turn.get("output"))))
        total += len(text)
        if turn.get("role", "user") == "user":
            last = text
    return total, last


def _strings(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict) and isinstance(value.get("text"), str):
        yield value["text"]
    elif isinstance(value, int):
        yield "xxxx"  # a token id counts as one token


def _tool(tool: dict[str, Any]) -> Tool:
    function = tool.get("function", tool)
    return Tool(str(function.get("name", "")), function.get("parameters") or {})


def _choice(choice: Json) -> str:
    if isinstance(choice, dict):
        name = choice.get("name") or (choice.get("function") or {}).get("name")
        return f"={name}" if name else "required"
    return str(choice or "auto")


def _schema(form: dict[str, Any]) -> Json:
    kind = form.get("type")
    if kind == "json_object":
        return {}
    if kind == "json_schema":
        return (form.get("json_schema") or form).get("schema") or {}
    return None
