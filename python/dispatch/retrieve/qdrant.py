"""Passages in a collection of a Qdrant server (the extra `dispatch-llm[qdrant]`), found by their vectors.

The server is asked at the time of a search: one that is down, or has no such collection, is found out then, and the plan answers without
passages. What of a payload is not text is taken as empty.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dispatch.errors import ConfigError
from dispatch.retrieve.fields import name_of, passage_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config.plans.retrieve import Qdrant as Config
    from dispatch.retrieve.store import Passage

__all__ = ["Collection", "connect"]

_BATCH = 256


def connect(config: Config, api_key: str, path: str) -> Collection:
    """Make a client; nothing is asked yet. Raises `ConfigError`: the extra is not installed, or `url` is none."""
    try:
        package = import_module("qdrant_client")
    except ModuleNotFoundError:
        raise ConfigError(path, "needs the package qdrant-client: pip install 'dispatch-llm[qdrant]'") from None
    try:
        # The default of the port is Qdrant's own, not that of the URL's scheme.
        client = package.QdrantClient(
            url=config.url, port=None, api_key=api_key or None, timeout=config.timeout_s, check_compatibility=False
        )
    except ValueError as error:
        raise ConfigError(f"{path}.url", f"found {config.url!r}: {error}") from None
    return Collection(client, config)


class Collection:
    """A collection. Safe to use from several threads; blocks while the server works."""

    dims = 0
    """Vectors of any size may be asked for: only the server knows."""
    has_words = False
    """Nothing is found without a vector."""

    def __init__(self, client: Any, config: Config) -> None:  # noqa: ANN401  # of a package that may not be there
        self._client = client
        self._config = config

    def search(self, words: str, vector: Sequence[float] | None, most: int) -> list[Passage]:
        """Return the passages whose vectors are nearest to `vector`, best first; none without one.

        Raises:
            LookupError: the server cannot be asked, has no such collection, or its vectors have another size.
        """
        del words
        if vector is None:
            return []
        config = self._config
        try:
            found = self._client.query_points(
                config.collection, query=[*vector], using=config.vector or None, limit=most, with_payload=[config.text, config.source]
            )
        except Exception as error:
            # Whatever its client, its transport or the server raise: there are no passages.
            raise LookupError(f"{config.collection}: {error}") from error
        return [passage_of(point.payload or {}, config) for point in found.points]

    def add(self, passages: Sequence[tuple[Passage, Sequence[float]]]) -> int:
        """Add passages, and make the collection if there is none. Returns how many there are in it.

        Raises:
            LookupError: the server cannot be asked, or has vectors of another size.
        """
        models, config, client = import_module("qdrant_client.models"), self._config, self._client
        try:
            if not client.collection_exists(config.collection):
                size = len(passages[0][1])
                params = models.VectorParams(size=size, distance=models.Distance.COSINE)
                client.create_collection(config.collection, vectors_config={config.vector: params} if config.vector else params)
            for at in range(0, len(passages), _BATCH):
                points = [_point(models, passage, vector, config) for passage, vector in passages[at : at + _BATCH]]
                client.upsert(config.collection, points=points, wait=True)
            return int(client.count(config.collection).count)
        except Exception as error:
            raise LookupError(f"{config.collection}: {error}") from error


def _point(models: Any, passage: Passage, vector: Sequence[float], config: Config) -> object:  # noqa: ANN401  # as above
    place = name_of(passage)
    payload = {config.source: passage.source, config.text: passage.text}
    return models.PointStruct(id=place, vector={config.vector: [*vector]} if config.vector else [*vector], payload=payload)
