"""What turns texts into vectors, as data."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["Embedder", "Folder"]


class Folder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A static model on disk (`dispatch-llm[embed]`)."""

    folder: Annotated[str, Meta(min_length=1)]
    """With `config.json`, `tokenizer.json` and `model.safetensors`, as model2vec and sentence-transformers write them. Never downloaded."""


class Embedder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compares texts by what they mean, in the place of hashed words."""

    folder: Annotated[str, Meta(min_length=1)]
    """A static model on disk, as of `embed` of `retrieve` (`dispatch-llm[embed]`)."""
    threshold: Annotated[float, Meta(ge=-1, le=1)] = 0.3
    """Cosine below which the default is taken; it depends on the model, `dispatch route` shows that of a text."""
