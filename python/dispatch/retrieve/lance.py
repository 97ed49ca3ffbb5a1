"""Passages in a table of LanceDB (the extra `dispatch-llm[lancedb]`): a folder on disk, found by vectors without a server.

All workers, and other programs, may read and write it at once: a search sees what was there when it began. Where the table has an index of
its own for vectors, it is used, and is approximate; without one every row is looked at.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatch.errors import ConfigError
from dispatch.retrieve.fields import name_of, passage_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config.plans.retrieve import Lance as Config
    from dispatch.retrieve.store import Passage

__all__ = ["Table", "connect"]


def connect(config: Config, path: str) -> Table:
    """Open the folder; the table in it may be made later.

    Raises:
        ConfigError: the extra is not installed, or the folder cannot be one.
    """
    try:
        package = import_module("lancedb")
    except ModuleNotFoundError:
        raise ConfigError(path, "needs the package lancedb: pip install 'dispatch-llm[lancedb]'") from None
    try:
        return Table(package.connect(Path(config.folder)), config)
    except Exception as error:  # noqa: BLE001  # whatever the package raises: there is nothing to read
        raise ConfigError(f"{path}.folder", f"cannot open {config.folder}: {error}") from None


class Table:
    """A table. Safe to use from several threads; blocks while it reads."""

    dims = 0
    """Vectors of any size may be asked for: the table knows which it has."""
    has_words = False
    """Nothing is found without a vector."""

    def __init__(self, base: Any, config: Config) -> None:  # noqa: ANN401  # of a package that may not be there
        self._base = base
        self._config = config

    def search(self, words: str, vector: Sequence[float] | None, most: int) -> list[Passage]:
        """Return the passages whose vectors are nearest to `vector` by cosine, best first; none without one.

        Raises:
            LookupError: there is no such table, or its vectors have another size.
        """
        del words
        if vector is None:
            return []
        config = self._config
        try:
            table = self._base.open_table(config.table)
            query = table.search([*vector], vector_column_name=config.vector).distance_type("cosine")
            found = query.select([config.text, config.source, "_distance"]).limit(most).to_list()
        except Exception as error:
            # Whatever the package raises: there are no passages.
            raise LookupError(f"{config.table}: {error}") from error
        return [passage_of(row, config) for row in found]

    def add(self, passages: Sequence[tuple[Passage, Sequence[float]]]) -> int:
        """Add passages, and make the table if there is none. Returns how many there are in it.

        Raises:
            LookupError: it cannot be written, or has vectors of another size.
        """
        config = self._config
        rows = {
            (name := name_of(passage)): {
                "id": name,
                config.vector: [*vector],
                config.text: passage.text,
                config.source: passage.source,
            }
            for passage, vector in passages
        }
        try:
            try:
                table = self._base.open_table(config.table)
            except (ValueError, OSError):
                table = self._base.create_table(config.table, data=[*rows.values()], schema=_schema(config, len(passages[0][1])))
            else:
                table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute([*rows.values()])
            return int(table.count_rows())
        except Exception as error:
            raise LookupError(f"{config.table}: {error}") from error


def _schema(config: Config, dims: int) -> object:
    """The columns of a new table: left to itself, the package takes no column for vectors but one that is called so."""
    arrow = import_module("pyarrow")
    texts = [(name, arrow.string()) for name in ("id", config.text, config.source)]
    return arrow.schema([*texts, (config.vector, arrow.list_(arrow.float32(), dims))])
