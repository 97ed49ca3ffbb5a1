"""An index: one SQLite file with the passages, a full-text index over them (FTS5), and their vectors where an embedder was at hand.

What the full-text index reads is not the text itself (`terms`), so it keeps none. Words and meaning each rank; the two orders are
joined by the sum of 1 / (60 + rank) (Cormack et al. 2009, reciprocal rank fusion), which needs no common scale.
"""

from __future__ import annotations

import sqlite3
from array import array
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.retrieve.terms import TOKENIZER, indexed, question
from dispatch.routing import Vectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["Index", "Passage", "write"]

VERSION = 2
_SCHEMA = f"""
CREATE TABLE meta (version INTEGER NOT NULL, dims INTEGER NOT NULL);
CREATE TABLE passages (id INTEGER PRIMARY KEY, source TEXT NOT NULL, text TEXT NOT NULL, vector BLOB);
CREATE VIRTUAL TABLE words USING fts5 (text, content='', tokenize='{TOKENIZER}');
"""
_RANK = 60
_CANDIDATES = 50


class Passage(Struct, frozen=True):
    """A piece of a document."""

    source: str
    text: str


def write(path: Path, passages: Iterable[tuple[Passage, Sequence[float] | None]]) -> int:
    """Write a new index, and put it in the place of an old one when it is whole. Returns how many passages it has.

    Raises:
        ValueError: only some passages have a vector, or vectors have several sizes.
        OSError: the file cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        count = _fill(new, passages)
        new.replace(path)
    except sqlite3.Error as error:
        raise OSError(f"cannot write {path}: {error}") from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
    return count


def _fill(path: Path, passages: Iterable[tuple[Passage, Sequence[float] | None]]) -> int:
    """Write all passages into a new file."""
    sizes: set[int] = set()
    count = 0
    with closing(sqlite3.connect(path)) as base:
        base.executescript(_SCHEMA)
        for passage, vector in passages:
            sizes.add(0 if vector is None else len(vector))
            blob = None if vector is None else array("f", vector).tobytes()
            count += 1
            base.execute("INSERT INTO passages VALUES (?, ?, ?, ?)", (count, passage.source, passage.text, blob))
            base.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (count, indexed(passage.text)))
        if len(sizes) > 1:
            raise ValueError(f"vectors of several sizes: {sorted(sizes)}")
        base.execute("INSERT INTO meta VALUES (?, ?)", (VERSION, next(iter(sizes), 0)))
        base.execute("INSERT INTO words (words) VALUES ('optimize')")
        base.commit()
    return count


class Index:
    """An index that is read. Safe to use from several threads.

    Attributes:
        dims: of its vectors; 0: it has none.
        has_words: passages are found without a vector too.

    Raises:
        ValueError: there is none at `path`, or one of another version; says which.
    """

    has_words = True

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with self._open() as base:
                version, self.dims = base.execute("SELECT version, dims FROM meta").fetchone()
                self._ids = [row[0] for row in base.execute("SELECT id FROM passages ORDER BY id")]
                rows = base.execute("SELECT vector FROM passages ORDER BY id").fetchall() if self.dims else []
        except (sqlite3.Error, TypeError) as error:
            raise ValueError(f"no index at {path}: {error}; `dispatch index` makes one") from None
        if version != VERSION:
            raise ValueError(f"the index {path} has version {version}, this is {VERSION}: make it anew with `dispatch index`")
        self._vectors = Vectors(b"".join(row[0] for row in rows), self.dims) if self.dims else None

    def __len__(self) -> int:
        return len(self._ids)

    def search(self, words: str, vector: Sequence[float] | None, most: int) -> list[Passage]:
        """Return the passages that suit best, best first.

        Args:
            words: any text; passages that have some of its words are found.
            vector: of the same text, by the model that the index was made with.
            most: how many.
        """
        with self._open() as base:
            orders = [self._by_words(base, words)]
            if vector is not None and self._vectors is not None:
                found = self._vectors.nearest(array("f", vector).tobytes(), _CANDIDATES)
                orders.append([self._ids[at] for at, _ in found])
            scores: dict[int, float] = {}
            for order in orders:
                for rank, one in enumerate(order):
                    scores[one] = scores.get(one, 0.0) + 1 / (_RANK + rank)
            best = sorted(scores, key=lambda one: (-scores[one], one))[:most]
            return [Passage(*base.execute("SELECT source, text FROM passages WHERE id = ?", (one,)).fetchone()) for one in best]

    @staticmethod
    def _by_words(base: sqlite3.Connection, words: str) -> list[int]:
        asked = question(words)
        if not asked:
            return []
        rows = base.execute("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?", (asked, _CANDIDATES))
        return [row[0] for row in rows]

    def _open(self) -> _Opened:
        return _Opened(self._path)


class _Opened:
    """A connection for as long as a block."""

    def __init__(self, path: Path) -> None:
        self._uri = f"{path.resolve().as_uri()}?mode=ro"

    def __enter__(self) -> sqlite3.Connection:
        self._base = sqlite3.connect(self._uri, uri=True)
        return self._base

    def __exit__(self, *_: object) -> None:
        self._base.close()
