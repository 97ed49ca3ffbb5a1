"""What an answer says, before a dialect gives it form: text or a tool call, in JSON-escaped pieces of a token each."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from dispatch.mock.ask import Tool
from dispatch.mock.faults import Fault
from dispatch.mock.passage import filler, pieces_of
from dispatch.mock.sample import sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from dispatch.mock.ask import Ask
    from dispatch.mock.scenario import Behaviour

__all__ = ["Content", "compose"]


_LOOKUP: Final = Tool("lookup", {"type": "object", "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}}})
"""Called where a fault needs a tool call and the request offers no tool."""


class Content(Struct, frozen=True):
    """One answer, `n` of which may be asked for."""

    pieces: tuple[bytes, ...]
    """JSON-escaped, one event each: of the text, or of a tool call's arguments."""
    tool: str
    """Name of the function that is called; empty for text."""
    finish: str
    """`stop`, `length` or `tool_calls`."""
    tokens: int
    logprob: float | None = None
    """Of each token, nats; None: it is not told."""

    @property
    def quoted(self) -> bytes:
        """The whole as a JSON string, quotes included."""
        return b'"' + b"".join(self.pieces) + b'"'


def compose(ask: Ask, behaviour: Behaviour, number: int, rng: Callable[[], Random], fault: Fault | None = None) -> Content:
    """Decide what the answer says.

    Args:
        ask: what is asked for.
        behaviour: what the scenario says.
        number: of the request; varies the text unless the request has a seed.
        rng: gives the request's generator; asked only where there is chance.
        fault: what the answer will suffer; some faults need an answer of their own kind.
    """
    if fault is Fault.HUGE_ANSWER:
        return Content((b"x" * behaviour.huge_bytes,), "", "stop", max(1, behaviour.huge_bytes // 4))
    if fault is Fault.HALF_TOOL_CALL:
        ask = replace(ask, tools=ask.tools or [_LOOKUP], tool_choice="required")
    tool = _tool(ask, behaviour)
    if tool is not None:
        arguments = json.dumps(sample(tool.parameters or {"type": "object"}))
        pieces = pieces_of(arguments)
        return Content(_grouped(pieces, behaviour.chunk_tokens), tool.name, "tool_calls", len(pieces) + 4)
    if behaviour.reply is not None or behaviour.echo or ask.schema is not None:
        return _prescribed(ask, behaviour)
    length = behaviour.output_tokens
    tokens = max(1, round(length.constant if length.constant is not None else length.sample(rng())))
    finish = "stop"
    if ask.max_tokens and tokens > ask.max_tokens:
        tokens, finish = ask.max_tokens, "length"
    start = number * 7 if ask.seed is None else zlib.crc32(f"{ask.seed}:{ask.last_text}".encode())
    return _text(filler(start % 64, tokens), finish, ask, behaviour)


def _prescribed(ask: Ask, behaviour: Behaviour) -> Content:
    if behaviour.reply is not None:
        text = behaviour.reply
    elif ask.schema is not None:
        text = json.dumps(sample(ask.schema or {"type": "object", "properties": {"answer": {"type": "string"}}}))
    else:
        text = ask.last_text
    pieces = pieces_of(text)
    finish = "stop"
    if ask.max_tokens and len(pieces) > ask.max_tokens:
        pieces, finish = pieces[: ask.max_tokens], "length"
    return _text(pieces, finish, ask, behaviour)


def _text(tokens: tuple[bytes, ...], finish: str, ask: Ask, behaviour: Behaviour) -> Content:
    logprob = behaviour.logprob if ask.tells_logprobs else None
    return Content(_grouped(tokens, behaviour.chunk_tokens), "", finish, max(1, len(tokens)), logprob)


def _tool(ask: Ask, behaviour: Behaviour) -> Tool | None:
    if not ask.tools or ask.tool_choice == "none" or behaviour.tool_calls == "never":
        return None
    if ask.tool_choice.startswith("="):
        name = ask.tool_choice[1:]
        return next((tool for tool in ask.tools if tool.name == name), None)
    if ask.tool_choice == "required" or (behaviour.tool_calls == "auto" and not ask.after_tool):
        return ask.tools[0]
    return None


def _grouped(pieces: tuple[bytes, ...], size: int) -> tuple[bytes, ...]:
    if size == 1:
        return pieces
    return tuple(b"".join(pieces[at : at + size]) for at in range(0, len(pieces), size))
