"""What feedback and budgets have taught learned routes, kept over reloads, and over restarts where a ledger is kept: in a file beside it.

One file a worker, as of the ledger: `PATH.learned.0`. It is replaced as a whole, so that whoever dies while writing leaves the one before.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Known", "Remembered", "Stood"]

PAUSE_S = 1.0
"""Between two writes; what was learned since the last one is lost with its worker."""
FORM = 1


class Known(Struct):
    """How far off a router is about one candidate: the weight of the scores that were seen, and the sum of their errors, both fading."""

    weight: float = 0.0
    error: float = 0.0


class Stood(Struct):
    """How the pacer of a budget stood: windows of budget that were left, and the logarithm of the price at none."""

    windows: float = 0.0
    base: float = 0.0


class _File(Struct):
    form: int = FORM
    routes: dict[str, dict[str, Known]] = field(default_factory=dict)
    """By model and path, by candidate."""
    paces: dict[str, Stood] = field(default_factory=dict)
    """By model and path."""


class Remembered:
    """See the module.

    Attributes:
        path: of the file; None: nothing outlives the process.
        fault: why what was there could not be read, or the last one not be written; empty: it could.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.fault = ""
        self._timer: asyncio.TimerHandle | None = None
        self._file = self._read()

    @classmethod
    def beside(cls, ledger: str | None, worker: int, before: Remembered | None) -> Remembered:
        """Return that of a worker: the one there is, unless its file is to be another one."""
        path = None if ledger is None else Path(f"{ledger}.learned.{worker}")
        return before if before is not None and before.path == path else cls(path)

    def of(self, route: str, candidate: str) -> Known:
        """Return what is known of a candidate of a route, to be changed in place."""
        return self._file.routes.setdefault(route, {}).setdefault(candidate, Known())

    def pace(self, route: str) -> Stood:
        """Return how the pacer of a route stood, to be changed in place."""
        return self._file.paces.setdefault(route, Stood())

    def changed(self) -> None:
        """Have it written, soon."""
        if self.path is None or self._timer is not None:
            return
        self._later(self.write)

    def write(self) -> None:
        """Replace the file."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.path is None:
            return
        fresh = self.path.with_name(f"{self.path.name}.new")
        try:
            fresh.write_bytes(msgspec.json.encode(self._file))
            fresh.replace(self.path)
            self.fault = ""
        except OSError as error:
            self.fault = str(error)

    def _later(self, then: Callable[[], None]) -> None:
        try:
            self._timer = asyncio.get_running_loop().call_later(PAUSE_S, then)
        except RuntimeError:
            then()

    def _read(self) -> _File:
        if self.path is None or not self.path.exists():
            return _File()
        try:
            found = msgspec.json.decode(self.path.read_bytes(), type=_File)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self.fault = f"{self.path}: {error}; what feedback taught begins anew"
            return _File()
        return found if found.form == FORM else _File()
