"""What turns texts into vectors, as data."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

__all__ = ["Embedder", "Folder"]


class Folder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A static model on disk (`dispatch-llm[embed]`)."""

    folder: Annotated[str, Meta(min_length=1)]
    """With `config.json`, `tokenizer.json` and `model.safetensors`, as model2vec and sentence-transformers write them. Never downloaded."""


class Embedder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compares texts by what they mean, in the place of hashed words."""

    folder: str = ""
    """A static model on disk, as of `embed` of `retrieve` (`dispatch-llm[embed]`). This, or `model`."""
    model: Any = None
    """A plan that gives embeddings, asked before each choice; hashed words choose where it has no vector in time, or none yet of the
    utterances, which it is asked for when the first request comes."""
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 0.5
    """For how long `model` is waited for."""
    threshold: Annotated[float, Meta(ge=-1, le=1)] = 0.3
    """Cosine below which the default is taken; it depends on the model, `dispatch why` shows that of a request."""
