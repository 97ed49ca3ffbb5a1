"""What an embeddings model is asked and says, in OpenAI's form."""

from __future__ import annotations

import base64
from array import array
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["asked", "vectors_of"]


def asked(model: str, texts: str | Sequence[str]) -> dict[str, Any]:
    """The body that asks for vectors."""
    return {"model": model, "input": texts if isinstance(texts, str) else [*texts]}


def vectors_of(body: bytes) -> list[list[float]]:
    """The vectors of an answer, in the order of what was asked.

    Raises:
        KeyError, TypeError, ValueError: there are none in it.
    """
    found = msgspec.json.decode(body)["data"]
    return [_vector(one["embedding"]) for one in sorted(found, key=lambda one: int(one.get("index", 0)))]


def _vector(found: Any) -> list[float]:  # noqa: ANN401  # JSON
    return array("f", base64.b64decode(found)).tolist() if isinstance(found, str) else [float(value) for value in found]
