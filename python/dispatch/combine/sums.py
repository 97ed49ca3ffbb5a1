"""What an answer says that it used, where other answers went into it: the sum of all of them, as its client pays for all of them.

Only numbers that the answer tells are changed: they grow by what the other answers used. An answer that tells nothing stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dispatch.replies import framed
from dispatch.wire.sse import LAST_CHUNK

if TYPE_CHECKING:
    from dispatch.dialects import Tree
    from dispatch.dialects.form import Answer as Form

__all__ = ["Sum", "Tokens", "more_than"]

Tokens = tuple[int, int, int, int]
"""Input with what was cached, output with reasoning, cached, reasoning."""


class _Report(Struct, frozen=True):
    """Where a dialect tells usage.

    Attributes:
        mark: stands in every body or event that has it.
        places: of the object, as paths; the first that is there.
        grow: by the member without which nothing is told: each member's path and by what it grows (`_amounts`).
        known: members that grow where they are, and are not made.
    """

    mark: bytes
    places: tuple[tuple[str, ...], ...]
    grow: Mapping[str, Mapping[str, str]]
    known: frozenset[str] = frozenset()


_SENT = {"prompt_tokens": "input", "total_tokens": "total", "prompt_tokens_details.cached_tokens": "cached"}
_HITS = {"prompt_cache_hit_tokens": "cached", "prompt_cache_miss_tokens": "fresh"}
_MADE = {"completion_tokens": "output", "completion_tokens_details.reasoning_tokens": "reasoning"}
_OPENAI = _Report(b'"usage"', (("usage",),), {"prompt_tokens": _SENT | _HITS, "completion_tokens": _MADE}, frozenset(_HITS))
_RESPONSE = {"input_tokens": "input", "input_tokens_details.cached_tokens": "cached", "total_tokens": "total"}
_RESPONSE |= {"output_tokens": "output", "output_tokens_details.reasoning_tokens": "reasoning"}
_GOOGLE = {"promptTokenCount": "input", "candidatesTokenCount": "said", "thoughtsTokenCount": "reasoning"}
_GOOGLE |= {"cachedContentTokenCount": "cached", "totalTokenCount": "total"}
_BEDROCK = {"inputTokens": "fresh", "outputTokens": "output", "totalTokens": "total", "cacheReadInputTokens": "cached"}
_MESSAGE = {
    "input_tokens": {"input_tokens": "fresh", "cache_read_input_tokens": "cached"},
    "output_tokens": {"output_tokens": "output"},
}
_OLLAMA = _Report(b'eval_count"', ((),), {"eval_count": {"prompt_eval_count": "input", "eval_count": "output"}})
_REPORTS: Mapping[str, _Report] = {
    "chat": _OPENAI,
    "completions": _OPENAI,
    "embeddings": _OPENAI,
    "responses": _Report(b'"usage"', (("usage",), ("response", "usage")), {"input_tokens": _RESPONSE}),
    "messages": _Report(b'"usage"', (("usage",), ("message", "usage")), _MESSAGE),
    "generate": _Report(b'"usageMetadata"', (("usageMetadata",),), {"promptTokenCount": _GOOGLE}),
    "converse": _Report(b'"usage"', (("usage",), ("metadata", "usage")), {"inputTokens": _BEDROCK}),
    "ollama": _OLLAMA,
    "ollama_generate": _OLLAMA,
    "ollama_embed": _Report(b'eval_count"', ((),), {"prompt_eval_count": {"prompt_eval_count": "input"}}),
}
_OBJECT = re.compile(rb"(?m)^((?:data: ?)?)(\{.*\})")
"""An event's data, or a line of JSON."""


def more_than(own: Tokens, all_of_them: Tokens) -> Tokens:
    """What was used beside `own`."""
    first, second, third, fourth = (max(0, one - other) for one, other in zip(all_of_them, own, strict=True))
    return first, second, third, fourth


class Sum:
    """Adds to what answers tell.

    Args:
        door: by which the client gets them.
        more: what the other answers used.
    """

    __slots__ = ("_amounts", "_more", "_report")

    def __init__(self, door: str, more: Tokens) -> None:
        self._report = _REPORTS.get(door) if any(more) else None
        self._more = more
        read, written, cached, reasoning = more
        self._amounts = {"input": read, "output": written, "cached": cached, "reasoning": reasoning}
        self._amounts |= {"fresh": read - cached, "said": written - reasoning, "total": read + written}

    def body(self, data: bytes) -> bytes:
        """A whole answer, or what is one event of a stream, with the sum in it."""
        report = self._report
        if report is None or report.mark not in data:
            return data
        try:
            tree = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return data
        grown = [self._grow(found) for place in report.places if (found := _at(tree, place)) is not None]
        return msgspec.json.encode(tree) if any(grown) else data

    def stream(self, data: bytes, *, is_chunked: bool) -> bytes:
        """Whole events of a stream."""
        report = self._report
        if report is None or report.mark not in data:
            return data
        if not is_chunked:
            return self._events(data)
        # As this process framed them: each event, or several, in a chunk.
        plain, at = [], 0
        while size := int(data[at : (end := data.index(b"\r\n", at))], 16):
            plain.append(data[end + 2 : end + 2 + size])
            at = end + size + 4
            if at == len(data):
                return framed(self._events(b"".join(plain)), chunked=True)
        return framed(self._events(b"".join(plain)), chunked=True) + LAST_CHUNK

    def form(self, answer: Form) -> Form:
        """An answer that is still to be written."""
        usage, (read, written, cached, reasoning) = answer.usage, self._more
        if usage is None or self._report is None:
            return answer
        more = {"input": usage.input + read, "output": usage.output + written}
        return replace(answer, usage=replace(usage, **more, cached=usage.cached + cached, reasoning=usage.reasoning + reasoning))

    def _events(self, data: bytes) -> bytes:
        return _OBJECT.sub(lambda found: found[1] + self.body(found[2]), data)

    def _grow(self, usage: Tree) -> bool:
        assert self._report is not None
        groups = [grow for anchor, grow in self._report.grow.items() if isinstance(usage.get(anchor), int)]
        for grow in groups:
            for path, amount in grow.items():
                self._add(usage, path, self._amounts[amount])
        return bool(groups)

    def _add(self, usage: Tree, path: str, amount: int) -> None:
        assert self._report is not None
        inside, _, name = path.rpartition(".")
        place = usage
        if inside:
            if not isinstance(usage.get(inside), dict):
                if not amount:
                    return
                usage[inside] = {}
            place = usage[inside]
        if isinstance(place.get(name), int) or (amount and path not in self._report.known):
            place[name] = (place.get(name) or 0) + amount


def _at(tree: Any, place: tuple[str, ...]) -> Tree | None:  # noqa: ANN401  # JSON
    for name in place:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else None
