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

__all__ = ["VECTOR_DOORS", "mean_of"]

_LISTS = {"embeddings": ("data", "embedding"), "ollama_embed": ("embeddings", ""), "gemini_embed_batch": ("embeddings", "values")}
"""Where answers have their vectors: the list's name, and that of the vector in an item, unless it is the item itself."""
_ONE = "gemini_embed"
"""Has one vector, at `embedding.values`."""
VECTOR_DOORS = frozenset((*_LISTS, _ONE))
"""Doors whose answers have a mean."""


def mean_of(bodies: Sequence[bytes], weights: Sequence[float], door: str) -> bytes:
    """One answer of `door` with the weighted mean of the vectors, each of length 1 before and after.

    Raises:
        PlanFailed: they are not of one shape, or no answers of this door.
    """
    try:
        trees = [msgspec.json.decode(body) for body in bodies]
        told = [_told(tree, door) for tree in trees]
        rows = [[_vector(value) for value in values] for values in told]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise PlanFailed(f"an answer has no vectors that could be read: {type(error).__name__}") from error
    if len({tuple(len(vector) for vector in vectors) for vectors in rows}) != 1:
        shapes = ", ".join(str([len(vector) for vector in vectors][:3]) for vectors in rows)
        raise PlanFailed(f"embeddings of different sizes have no mean: {shapes}")
    means: list[Any] = []
    for at, first in enumerate(told[0]):
        scaled = (_scaled(vectors[at], weight) for vectors, weight in zip(rows, weights, strict=True))
        mean = _unit([sum(values) for values in zip(*scaled, strict=True)])
        means.append(base64.b64encode(array("f", mean).tobytes()).decode() if isinstance(first, str) else mean)
    return msgspec.json.encode(_with(trees[0], door, means))


def _told(tree: dict[str, Any], door: str) -> list[Any]:
    """The vectors of an answer, as it has them."""
    if door == _ONE:
        return [tree["embedding"]["values"]]
    name, inner = _LISTS[door]
    return [item[inner] if inner else item for item in tree[name]]


def _with(tree: dict[str, Any], door: str, vectors: list[Any]) -> dict[str, Any]:
    """The same answer with other vectors."""
    if door == _ONE:
        return tree | {"embedding": tree["embedding"] | {"values": vectors[0]}}
    name, inner = _LISTS[door]
    items = [item | {inner: vector} for item, vector in zip(tree[name], vectors, strict=True)] if inner else vectors
    return tree | {name: items}


def _vector(told: str | list[float]) -> list[float]:
    """As numbers, or as base64 of little-endian float32, which SDKs ask for."""
    if isinstance(told, str):
        return array("f", base64.b64decode(told)).tolist()
    return [*map(float, told)]


def _scaled(vector: list[float], weight: float) -> list[float]:
    return [weight * value for value in _unit(vector)]


def _unit(vector: list[float]) -> list[float]:
    length = sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
