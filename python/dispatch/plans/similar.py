"""Which route a text is most like by what it means: the nearest example utterance, by the vectors of an embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.retrieve.static import load
from dispatch.routing import Vectors, read_question

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config import Route
    from dispatch.routing import Judge, Signals

__all__ = ["Similar"]


class Similar:
    """Reads requests like a `Judge`, and compares their texts by vectors.

    Args:
        judge: reads everything else.
        config: of the route.
        path: of the embedder, in the configuration.

    Raises:
        ConfigError: there is no such embedder.
    """

    __slots__ = ("_judge", "_model", "_routes", "_rows")

    def __init__(self, judge: Judge, config: Route, path: str) -> None:
        assert config.embedder is not None
        utterances = config.utterances
        self._judge = judge
        self._model = load(config.embedder.folder, f"{path}.folder")
        self._routes = [route for route, texts in enumerate(utterances) for _ in texts]
        self._rows = Vectors(self._model.rows([text for texts in utterances for text in texts]), self._model.dims)

    def read(self, body: bytes, declared: Sequence[tuple[str, str]]) -> Signals:
        """Read a body. `declared`: what header fields say."""
        signals = self._judge.read(body, declared)
        text = read_question(body)
        if not text:
            return signals
        at, cosine = self._rows.nearest(self._model.row(text), 1)[0]
        return signals.near(self._routes[at], cosine)
