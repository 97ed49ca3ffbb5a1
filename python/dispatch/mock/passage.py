"""The text of answers that nobody prescribed: tokens of a fixed passage, so that no answer costs a draw per word."""

from __future__ import annotations

import re
from functools import lru_cache
from random import Random
from typing import Final

import msgspec

__all__ = ["count_tokens", "escape", "filler", "pieces_of"]

_TEXT: Final = (
    "the a of and to in is that it was for on are with as at be this have from or one had by word but not what all were we "
    "when your can said there use an each which she do how their if will up other about out many then them these so some her "
    "would make like him into time has look two more write go see number no way could people my than first water been call "
    "who oil its now find long down day did get come made may part river stone light harbour winter engine letter garden "
    "copper signal bridge morning paper window market"
)
_PASSAGE_TOKENS: Final = 4096
_PIECE: Final = re.compile(r"\s*\S+|\s+")
_ENCODER: Final = msgspec.json.Encoder()


def _passage() -> tuple[bytes, ...]:
    words, rng = _TEXT.split(), Random(2)  # any constant: the passage is the same in every process
    tokens = []
    for index in range(_PASSAGE_TOKENS):
        word = rng.choice(words)
        tokens.append((f" {word}," if index % 11 == 10 else f" {word}").encode())
    return tuple(tokens)


_PASSAGE: Final = _passage()


@lru_cache(maxsize=4096)
def filler(start: int, tokens: int) -> tuple[bytes, ...]:
    """Give `tokens` pieces of the passage from `start` on, JSON-escaped, the first without its space."""
    start %= 64  # few starts, so that the cache works
    pieces = [_PASSAGE[(start + index) % _PASSAGE_TOKENS] for index in range(tokens)]
    if pieces:
        pieces[0] = pieces[0].lstrip()
    return tuple(pieces)


def escape(text: str) -> bytes:
    """Encode as the inside of a JSON string."""
    return _ENCODER.encode(text)[1:-1]


def pieces_of(text: str) -> tuple[bytes, ...]:
    """Split a given text into token-like, JSON-escaped pieces; joined they are the text."""
    return tuple(escape(piece) for piece in _PIECE.findall(text))


def count_tokens(text_bytes: int) -> int:
    """Estimate tokens from the length of a text: four bytes each, at least one."""
    return max(1, (text_bytes + 3) // 4)
