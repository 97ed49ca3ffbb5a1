"""Static embeddings: a table with a vector for each token of a vocabulary; a text is the mean of its tokens' (`dispatch-llm[embed]`).

The package model2vec reads the table, and applies it to many texts; no network is asked for anything. Of one text most of the time goes to
cut it into tokens, which the core does for common tokenizers (`cutter`); of a long one only as much is read as the model's own limit allows
(512 tokens if it names none).
"""

from __future__ import annotations

import os
from array import array
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatch.errors import ConfigError
from dispatch.retrieve.cutter import Cutter

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Static", "load"]

_BATCH = 1024


def load(folder: str, path: str) -> Static:
    """Read the model in `folder`; one that was read before, and has not changed since, is the same.

    Raises:
        ConfigError: at `path`; the extra is not installed, or there is no such model.
    """
    # With several of them, threads of tokenizers are no help to one short text, and they do not survive a fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        package = import_module("model2vec")
    except ModuleNotFoundError:
        raise ConfigError(path, "needs the package model2vec: pip install 'dispatch-llm[embed]'") from None
    place = Path(folder)
    if not place.is_dir():
        # The package would take what is no folder for the name of a model on a hub.
        raise ConfigError(path, f"found {folder!r}, expected a folder with a static model (config.json, tokenizer.json, model.safetensors)")
    try:
        age_ns = max((file.stat().st_mtime_ns for file in place.iterdir()), default=0)
        return _read(package, str(place.resolve()), age_ns)
    except Exception as error:  # noqa: BLE001  # whatever the readers of its three files raise: there is no model to use
        raise ConfigError(path, f"no static model in {folder}: {error}") from None


@lru_cache(maxsize=8)
def _read(package: Any, folder: str, age_ns: int) -> Static:  # noqa: ANN401  # of a package that may not be there
    del age_ns  # A part of the key.
    # Of its `force_download`: there is nothing to download, and nothing may be.
    return Static(folder, package.StaticModel.from_pretrained(folder, force_download=False))


class Static:
    """A model. Used by one thread at a time.

    Attributes:
        folder: where it stands.
        dims: of its vectors.
    """

    __slots__ = ("_chars", "_cutter", "_model", "_table", "dims", "folder")

    def __init__(self, folder: str, model: Any) -> None:  # noqa: ANN401  # as above
        self._model = model
        self.folder = folder
        self.dims = int(model.dim)
        # Tokens that share rows, or have weights, are the package's own affair.
        is_plain = model.token_mapping is None and model.weights is None
        self._table = model.embedding if is_plain else None
        self._cutter = Cutter(model.tokenizer, model.unk_token_id)
        self._chars = None if model.max_length is None else model.max_length * model.median_token_length

    def rows(self, texts: Sequence[str]) -> bytes:
        """Return the vectors of texts as little-endian float32, one after the other. A text without a known token has zeros."""
        found = self._model.encode([*texts], batch_size=_BATCH, use_multiprocessing=False)
        return bytes(found.astype("<f4", copy=False).tobytes())

    def row(self, text: str) -> bytes:
        """Return the vector of one text, as `rows` but for its length: without what batches need, in a third of the time and less."""
        if self._table is None:
            return self.rows([text])
        found = self._cutter.cut(text[: self._chars])
        # A sum has the direction of the mean; of no token it is zero.
        return bytes(self._table.take(found, 0).sum(axis=0, dtype="<f4").tobytes()) if found else bytes(4 * self.dims)

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of texts."""
        flat = array("f", self.rows(texts))
        return [flat[at : at + self.dims].tolist() for at in range(0, len(flat), self.dims)]
