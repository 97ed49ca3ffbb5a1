"""Tokens of a conversation counted exactly, by OpenAI's own tokenizer: `pip install dispatch-llm[tiktoken]`.

Off the path: tiktoken fetches a vocabulary at its first use, and counting costs more than sending. What the path reserves by is
`policy.cost.estimate_tokens`; the provider's count corrects it.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import Text, ToolResult, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tiktoken import Encoding

    from dispatch.dialects.form import Part, Request

__all__ = ["count_request", "count_tokens", "is_installed"]

_PER_MESSAGE = 3
_PER_NAME = 1
_PRIMING = 3
"""https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb"""


@cache
def is_installed() -> bool:
    """Whether the extra is there."""
    return find_spec("tiktoken") is not None


def count_tokens(messages: Iterable[Mapping[str, Any]], model: str, encoding: Encoding | None = None) -> int:
    """Count what a chat of text costs as input.

    Args:
        messages: as in a chat completions request; parts that are not text count nothing.
        model: OpenAI's name, by which the encoding is found.
        encoding: another one.

    Raises:
        KeyError: tiktoken does not know the model.
        ModuleNotFoundError: the extra is not installed.
    """
    if encoding is None:
        import tiktoken  # noqa: PLC0415  # an extra

        encoding = tiktoken.encoding_for_model(model)
    total = _PRIMING
    for message in messages:
        total += _PER_MESSAGE
        for key, value in message.items():
            parts = value if isinstance(value, list) else [{"text": value}]
            total += sum(len(encoding.encode(part["text"], disallowed_special=())) for part in parts if isinstance(part.get("text"), str))
            total += _PER_NAME if key == "name" else 0
    return total


def count_request(request: Request, models: Iterable[str]) -> tuple[int, bool] | None:
    """Count what a request costs as input, and say whether that is exact; slow at first, see the module.

    Exact are conversations of text. How tools are written out for a model is known to its maker alone: they count as their JSON.

    Args:
        request: in the form of all dialects.
        models: the names that may get it, at their providers; they must have one encoding.

    Returns:
        None where tiktoken knows none of them, or they differ, or what is asked is more than text and tools.

    Raises:
        OSError: the vocabulary cannot be fetched.
    """
    import tiktoken  # noqa: PLC0415  # an extra

    try:
        names = {tiktoken.encoding_name_for_model(model.rpartition("/")[2]) for model in models}
    except KeyError:
        return None
    texts = [(message.role, [_text(part) for part in message.parts]) for message in request.messages]
    if len(names) != 1 or any(text is None for _, parts in texts for text in parts):
        return None
    encoding = tiktoken.get_encoding(names.pop())
    chat = [{"role": role, "content": [{"text": text} for text in parts]} for role, parts in texts]
    tools = msgspec.json.encode([(tool.name, tool.description, tool.schema) for tool in request.tools]).decode() if request.tools else ""
    tokens = count_tokens(chat, "", encoding) + len(encoding.encode(tools, disallowed_special=()))
    is_plain = all(isinstance(part, Text) for message in request.messages for part in message.parts)
    return tokens, is_plain and not request.tools and request.format is None


def _text(part: Part) -> str | None:
    """What a part says; None for what is no text."""
    if isinstance(part, Text):
        return part.text
    if isinstance(part, ToolUse):
        return f"{part.name}{part.arguments}"
    if isinstance(part, ToolResult):
        said = [_text(one) for one in part.parts]
        return None if None in said else "".join(one for one in said if one is not None)
    return None
