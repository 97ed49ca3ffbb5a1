"""The embeddings door (https://platform.openai.com/docs/api-reference/embeddings): vectors that depend on the text alone."""

from __future__ import annotations

import base64
import math
import sys
import zlib
from array import array
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from dispatch.mock.ask import Ask

__all__ = ["embeddings_whole", "vector"]

_STARTS = 4096
"""Different vectors of one length: windows of one table, so that a vector costs a copy and not a thousand draws."""


@lru_cache(maxsize=8)
def _table(dimensions: int) -> array[float]:
    rng = Random(dimensions)
    scale = 1 / math.sqrt(dimensions)
    return array("f", (rng.gauss(0.0, scale) for _ in range(dimensions + _STARTS)))


def vector(text: str, dimensions: int) -> array[float]:
    """Give a vector of length about 1; the same text gives the same one."""
    start = zlib.crc32(text.encode()) % _STARTS
    return _table(dimensions)[start : start + dimensions]


def embeddings_whole(ask: Ask, default_dimensions: int) -> bytes:
    """Write the list of embeddings."""
    dimensions = min(ask.dimensions or default_dimensions, 8192)
    data: list[dict[str, Any]] = []
    for index, text in enumerate(ask.inputs):
        values = vector(text if isinstance(text, str) else repr(text), dimensions)
        data.append({"object": "embedding", "index": index, "embedding": _packed(values) if ask.is_base64 else values.tolist()})
    numbers = {"prompt_tokens": ask.tokens_in, "total_tokens": ask.tokens_in}
    return msgspec.json.encode({"object": "list", "data": data, "model": ask.model, "usage": numbers})


def _packed(values: array[float]) -> str:
    if sys.byteorder == "big":  # the wire is little-endian
        values = values[:]
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode()
