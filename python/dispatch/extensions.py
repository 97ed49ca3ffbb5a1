"""Find what a folder and its entry point group offer: one module, one thing of that kind.

The kind's name is the module's name (`dispatch/providers/azure.py` is `provider: azure`), so that adding a thing adds one file and
changes none. Other distributions add theirs by an entry point in the group of the folder's dotted name; the built-in one wins a clash,
so that installing a package cannot change what a present configuration means.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint
    from types import ModuleType

__all__ = ["imported", "load", "names", "offers"]


def imported(module: str) -> ModuleType:
    """Import a user's own module by its name; the working directory is looked in as well, whatever command was started.

    Raises whatever the import does.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    return importlib.import_module(module)


def offers(group: str, name: str) -> bool:
    """Whether `group` has something of that name. Quicker than `names` for what is built in: nothing but the folder is looked at."""
    return name in _modules(group) or bool(_entry_points(group, name))


def names(group: str) -> tuple[str, ...]:
    """List what `group` (a package such as `dispatch.providers`) offers, sorted, without importing any of it.

    A package may name modules that are not of its kind in a tuple `SUPPORT`.
    """
    return tuple(sorted({*_modules(group), *(point.name for point in _entry_points(group))}))


def load(group: str, name: str, attribute: str) -> object:
    """Import `name` of `group` and return its `attribute` (for an entry point: what that points to).

    Raises:
        LookupError: nothing of that name; the message lists what there is.
        TypeError: the module lacks the attribute.
    """
    if name in _modules(group):
        module = importlib.import_module(f"{group}.{name}")
        try:
            return getattr(module, attribute)
        except AttributeError:
            raise TypeError(f"module {group}.{name} has no {attribute}") from None
    point = next(iter(_entry_points(group, name)), None)
    if point is None:
        raise LookupError(f"no {name!r} in {group}; there is: {', '.join(names(group))}")
    return point.load()


@cache
def _modules(group: str) -> frozenset[str]:
    package = importlib.import_module(group)
    support = getattr(package, "SUPPORT", ())
    return frozenset(info.name for info in pkgutil.iter_modules(package.__path__) if info.name not in support)


def _entry_points(group: str, name: str = "") -> Iterable[EntryPoint]:
    # Imported when first needed: it takes 30 ms and reads the metadata of every installed distribution; a plain start never comes here.
    from importlib.metadata import entry_points  # noqa: PLC0415  # see above

    return entry_points(group=group, name=name) if name else entry_points(group=group)
