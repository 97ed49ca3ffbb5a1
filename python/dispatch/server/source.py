"""Where the settings of workers come from: the configuration file, the environment, the rows of the board given so far."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dispatch.config import load, resolve
from dispatch.routing import Sizes, Slots
from dispatch.server.channel import Settings
from dispatch.server.process import default_workers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from dispatch.config import Config

__all__ = ["WATCH_S", "Source", "needs_restart"]

WATCH_S = 0.5
"""How often the file is looked at. A change counts once two looks agree: a file that is just being written is left alone."""

_FIXED = ("host", "port", "unix", "tls")
"""Keys of `server` that hold for the life of the process; so does `workers`."""

_Stamp = tuple[int, int, int]


class Source:
    """Reads settings, and notices when there are others to read.

    Args:
        path: the file; None takes what the machine offers.
        overrides: what flags say, as `config.load` takes it.
    """

    def __init__(self, path: Path | None, overrides: Mapping[str, Any]) -> None:
        self.path = path
        self._overrides = dict(overrides)
        self._seen = self._applied = self._stamp()

    def first(self) -> tuple[Settings, int]:
        """Return the settings to start with, and the number of workers.

        Raises:
            ConfigError: the first thing that is wrong; a missing secret is named by the path of its key.
        """
        config = load(self.path, os.environ, self._overrides)
        secrets = resolve(config, os.environ)
        workers = config.server.workers or default_workers()
        slots = Slots.of(config, Sizes.of(config, workers))
        return Settings(generation=1, config=config, secrets=secrets, slots=slots), workers

    def next(self, before: Settings) -> Settings:
        """Return the settings to go on with.

        Raises:
            ConfigError: what is wrong, or does not fit the board; the settings before hold on.
        """
        self._applied = self._seen = self._stamp()
        config = load(self.path, os.environ, self._overrides)
        secrets = resolve(config, os.environ)
        slots = Slots.of(config, before.slots.sizes, before.slots)
        return Settings(generation=before.generation + 1, config=config, secrets=secrets, slots=slots)

    def has_changed(self) -> bool:
        """Whether the file is another than the one last read, and at rest. To be asked every `WATCH_S`."""
        stamp = self._stamp()
        at_rest, self._seen = stamp == self._seen, stamp
        return at_rest and stamp is not None and stamp != self._applied

    def _stamp(self) -> _Stamp | None:
        """Tell one content of the file from another. A file that is away for a moment, as while an editor swaps it, has no content."""
        if self.path is None:
            return None
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def needs_restart(before: Config, after: Config, workers: int) -> list[str]:
    """Return the keys that a reload cannot change, though the file does.

    Args:
        before: the configuration at the start.
        after: the one to go on with.
        workers: processes that run.
    """
    changed = [f"server.{name}" for name in _FIXED if getattr(before.server, name) != getattr(after.server, name)]
    if (after.server.workers or default_workers()) != workers:
        changed.append("server.workers")
    return changed
