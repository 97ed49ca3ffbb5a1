"""The mean of embeddings."""

from __future__ import annotations

import base64
from array import array
from math import sqrt
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.errors import PlanFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["mean_of"]


def mean_of(bodies: Sequence[bytes], weights: Sequence[float]) -> bytes:
    """One answer of the embeddings API with the weighted mean of the vectors, each of length 1 before and after.

    Raises:
        PlanFailed: they are not of one shape.
    """
    trees = [msgspec.json.decode(body) for body in bodies]
    rows = [[_vector(item["embedding"]) for item in tree["data"]] for tree in trees]
    if len({tuple(len(vector) for vector in vectors) for vectors in rows}) != 1:
        shapes = ", ".join(str([len(vector) for vector in vectors][:3]) for vectors in rows)
        raise PlanFailed(f"embeddings of different sizes have no mean: {shapes}")
    data: list[dict[str, Any]] = []
    for at, item in enumerate(trees[0]["data"]):
        mean = _unit(
            [sum(values) for values in zip(*(_scaled(vectors[at], w) for vectors, w in zip(rows, weights, strict=True)), strict=True)]
        )
        is_text = isinstance(item["embedding"], str)
        data.append({**item, "embedding": base64.b64encode(array("f", mean).tobytes()).decode() if is_text else mean})
    return msgspec.json.encode({**trees[0], "data": data})


def _vector(told: str | list[float]) -> list[float]:
    """As numbers, or as base64 of little-endian float32, which SDKs ask for."""
    if isinstance(told, str):
        return array("f", base64.b64decode(told)).tolist()
    return told


def _scaled(vector: list[float], weight: float) -> list[float]:
    return [weight * value for value in _unit(vector)]


def _unit(vector: list[float]) -> list[float]:
    length = sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
