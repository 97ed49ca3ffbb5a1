"""What a request, an answer, a piece of a stream and a bill look like to users of the library, whatever the provider's dialect.

The passthrough path never builds these: there, bytes stay bytes. Everything is frozen, so a hook or a retry cannot change
what another attempt sees.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

__all__ = ["Delta", "HttpCall", "Origin", "Request", "Response", "ToolCall", "Usage"]


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens of one answer, by the provider's count unless `estimated`."""

    input_tokens: int = 0
    """All prompt tokens, cached ones included."""
    output_tokens: int = 0
    """All generated tokens, reasoning included."""
    cached_tokens: int = 0
    """Prompt tokens that the provider read from its cache."""
    reasoning_tokens: int = 0
    estimated: bool = False
    """True where the provider sent no count and the text's length stands in."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class ToolCall(Struct, frozen=True, kw_only=True):
    """One call of a tool; in a `Delta`, a piece of one."""

    index: int = 0
    """Place among the calls of one answer; pieces with one index belong together."""
    id: str = ""
    name: str = ""
    arguments: str = ""
    """JSON text as the model wrote it, which need not be valid JSON."""


class Request(Struct, frozen=True, kw_only=True):
    """A chat request. What has no field of its own goes through `extra` untouched."""

    model: str
    messages: tuple[dict[str, Any], ...]
    """OpenAI's form: `{"role": ..., "content": ...}`, content as text or as a list of parts."""
    stream: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    user: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields of the provider's own body."""


class Response(Struct, frozen=True, kw_only=True):
    """A whole answer."""

    text: str
    """Text of the first choice; empty when it only calls tools."""
    model: str = ""
    """The model as the provider names it."""
    id: str = ""
    finish_reason: str = ""
    """`stop`, `length`, `tool_calls`, `content_filter`, or the provider's own word."""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    endpoint: str = ""
    """The endpoint that answered."""
    attempts: int = 1
    """Tries that were made, this one included."""
    decision: str = ""
    """Id of the decision behind it, where its model decides."""
    body: bytes = b""
    """The provider's answer as it came."""


class Delta(Struct, frozen=True, kw_only=True):
    """A piece of a streamed answer."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    index: int = 0
    """The choice that the piece belongs to."""
    finish_reason: str = ""
    """Set in the last piece of a choice."""
    usage: Usage | None = None
    """Set once, near the end, if the provider counts."""


class Origin(Struct, frozen=True):
    """Where connections go; endpoints of one origin share a pool of them."""

    scheme: str
    """`http`, `https`, `builtin` for an answer that is made in process, or `program` for one that a handler makes."""
    host: str
    """Name or address, without brackets."""
    port: int


class HttpCall(Struct, frozen=True, kw_only=True):
    """One HTTP request before it has a connection."""

    method: str = "POST"
    path: str
    """Path and query, from the first slash."""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
