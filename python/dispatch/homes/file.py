"""The file in which all workers of a sidecar remember who gave which id: SQLite, some tens of microseconds for a write or a look.

It holds digests of ids, names of endpoints and times. Writes are not waited for to reach the disk: a crash of the machine may forget
the last ones, one of a worker does not. An id is forgotten when it has not been used for `KEPT_DAYS`, or is among the oldest of too many.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from dispatch.config import Server

__all__ = ["Ids", "default_path"]

KEPT_DAYS = 90
KEPT_MOST = 500_000
PRUNE_EVERY = 8_192
"""Ids added by one worker between two looks for old ones."""
LATE_MOST = 10_000
"""Ids that are held in memory because the file could not be written."""
_OPEN_S = 5.0
_BUSY_MS = 50
"""How long another worker's write is waited for; it takes a thousandth of that."""
_DAY_S = 86_400
_FORM = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS ids (id BLOB PRIMARY KEY, endpoint TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ids_at ON ids (at);
"""
# An id belongs for good to who gave it first: what a client writes into a later answer moves nothing.
_ADD = "INSERT INTO ids VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at"
_FIND = "SELECT endpoint, at FROM ids WHERE id = ?"
_PRUNE = "DELETE FROM ids WHERE at < max(?, coalesce((SELECT at FROM ids ORDER BY at DESC LIMIT 1 OFFSET ?), 0))"


def default_path(server: Server) -> Path | None:
    """Return where the workers of a sidecar remember ids unless they are told: below a folder that only this user can look into.

    It is the same after a restart that listens in the same place. None: there is no such folder.
    """
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"dispatch-{os.getuid()}"
    place = server.unix or f"{server.host}:{server.port or f'0:{os.getppid()}'}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    is_ours = found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder / f"ids-{blake2b(place.encode(), digest_size=8).hexdigest()}.sqlite" if is_ours else None


class Ids:
    """See the module.

    Args:
        path: of the file; empty: in memory.
        wanted: where it should have been, if elsewhere.

    Raises:
        OSError: it cannot be opened, or is something else.
    """

    def __init__(self, path: str, wanted: str | None = None) -> None:
        self.wanted = path if wanted is None else wanted
        self._late: dict[bytes, tuple[str, int]] = {}
        self._added = 0
        self._base = _open(path)

    def add(self, ids: Iterable[str], endpoint: str) -> None:
        """Remember that an endpoint gave these."""
        import sqlite3  # noqa: PLC0415  # loaded by now

        now_s = int(time())
        rows = [(_digest(name), endpoint, now_s) for name in ids]
        rows += [(name, *row) for name, row in self._late.items()]
        base = self._base
        try:
            base.execute("BEGIN IMMEDIATE")
            base.executemany(_ADD, rows)
            base.execute("COMMIT")
            self._late.clear()
            self._added += len(rows)
            if self._added >= PRUNE_EVERY:
                self._added = 0
                base.execute(_PRUNE, (now_s - KEPT_DAYS * _DAY_S, KEPT_MOST))
        except sqlite3.Error:
            # Full, or held by somebody else: this worker knows them, and tries again with the next ones.
            with suppress(sqlite3.Error):
                base.rollback()
            self._late = {name: (whose, at) for name, whose, at in rows[:LATE_MOST]}

    def endpoints(self, ids: Iterable[str]) -> dict[str, str]:
        """Return who gave each of these that are known."""
        import sqlite3  # noqa: PLC0415  # loaded by now

        found: dict[str, str] = {}
        now_s = int(time())
        for name in ids:
            digest = _digest(name)
            try:
                row = self._base.execute(_FIND, (digest,)).fetchone()
            except sqlite3.Error:
                row = None
            row = row or self._late.get(digest)
            if row is not None:
                found[name] = row[0]
                if now_s - row[1] > _DAY_S:
                    self.add((name,), row[0])
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def __del__(self) -> None:
        """Close what nobody has closed."""
        if hasattr(self, "_base"):
            self._base.close()


def _digest(name: str) -> bytes:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _open(path: str) -> sqlite3.Connection:
    import sqlite3  # noqa: PLC0415  # only who remembers ids needs it

    if path:
        # Created by us, so that nobody else can read it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        base = sqlite3.connect(path or ":memory:", timeout=_OPEN_S, isolation_level=None)
        try:
            _prepare(base)
        except BaseException:
            base.close()
            raise
    except sqlite3.Error as error:
        raise OSError(str(error)) from None
    return base


def _prepare(base: sqlite3.Connection) -> None:
    [form] = base.execute("PRAGMA user_version").fetchone()
    [others] = base.execute("SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'ids%' AND name NOT LIKE 'sqlite_%'").fetchone()
    if form not in (0, _FORM) or others:
        raise OSError("it is another program's, or of another version")
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = NORMAL")
    base.executescript(_TABLES)
    base.execute(f"PRAGMA user_version = {_FORM}")
    base.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
