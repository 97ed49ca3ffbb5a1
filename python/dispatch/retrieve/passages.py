"""Documents cut into passages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cut"]

_ENDS = ("\n", ". ", "\u3002", "\uff01", "\uff1f", " ")
"""Of lines, of sentences (those of Chinese and Japanese have no space behind them), of words."""


def cut(text: str, max_chars: int) -> Iterator[str]:
    """Yield passages of whole paragraphs of at most `max_chars`; a longer paragraph is cut at ends of lines, sentences or words."""
    passage = ""
    for paragraph in text.replace("\r\n", "\n").split("\n\n"):
        for piece in _short(paragraph.strip(), max_chars):
            if passage and len(passage) + len(piece) + 2 > max_chars:
                yield passage
                passage = ""
            passage = f"{passage}\n\n{piece}" if passage else piece
    if passage:
        yield passage


def _short(text: str, max_chars: int) -> Iterator[str]:
    while len(text) > max_chars:
        places = (text.rfind(mark, max_chars // 2, max_chars) + len(mark) for mark in _ENDS)
        at = next((place for place in places if place > max_chars // 2), max_chars)
        yield text[:at].strip()
        text = text[at:].strip()
    if text:
        yield text
