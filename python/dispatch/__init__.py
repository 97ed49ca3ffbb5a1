"""dispatch: LLM requests to the right model, at the right provider, at the right moment.

The face of the library. Its names are loaded when they are first asked for: the sidecar's workers and `dispatch version` import
this package too, and need none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatch import errors
    from dispatch.client import Client
    from dispatch.schema import Delta, Request, Response

__all__ = ["Client", "Delta", "Request", "Response", "errors"]

_HOMES = {"Client": "dispatch.client", "Delta": "dispatch.schema", "Request": "dispatch.schema", "Response": "dispatch.schema"}


def __getattr__(name: str) -> object:
    if name == "errors":
        return import_module("dispatch.errors")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'dispatch' has no attribute {name!r}")
    found = getattr(import_module(home), name)
    # Where users find it, for tracebacks and help().
    found.__module__ = "dispatch"
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
