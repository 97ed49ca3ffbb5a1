"""Tokens of a conversation counted exactly, by OpenAI's own tokenizer: `pip install dispatch-llm[tiktoken]`.

Off the path: tiktoken fetches a vocabulary at its first use, and counting costs more than sending. What the path reserves by is
`policy.cost.estimate_tokens`; the provider's count corrects it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tiktoken import Encoding

__all__ = ["count_tokens"]

_PER_MESSAGE = 3
_PER_NAME = 1
_PRIMING = 3
"""https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb"""


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
