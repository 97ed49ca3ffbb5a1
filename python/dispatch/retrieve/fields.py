"""A passage in the fields of somebody else's base: their names are the configuration's, and a row is named after what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from dispatch.retrieve.store import Passage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config.plans.retrieve import Lance, Qdrant

__all__ = ["name_of", "passage_of"]

_OURS = UUID("7c0b7a52-6a0c-4b0e-9d0f-6c1c5a0d7b11")


def name_of(passage: Passage) -> str:
    """Return a UUID that is the same for the same passage, so that it is there once, however often it is added."""
    return str(uuid5(_OURS, f"{passage.source}\n{passage.text}"))


def passage_of(row: Mapping[str, Any], names: Lance | Qdrant) -> Passage:
    """Read a row. What is not text is taken as empty: others write there too."""
    source, text = (row.get(name) for name in (names.source, names.text))
    return Passage(source if isinstance(source, str) else "", text if isinstance(text, str) else "")
