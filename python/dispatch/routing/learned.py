"""Router files: what `dispatch train` wrote, and the one that comes with us."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from dispatch._core import LearnedRouter
from dispatch.errors import ConfigError

__all__ = ["read_router"]


def read_router(path: str) -> LearnedRouter:
    """Read a router; an empty path: the one by which prompts are told easy from hard (`benches/difficulty.py`).

    Raises:
        ConfigError: it cannot be read, is damaged, or of another version.
    """
    if not path:
        return _difficulty()
    try:
        return LearnedRouter(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError("models", f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError("models", f"{path}: {error}") from None


@cache
def _difficulty() -> LearnedRouter:
    return LearnedRouter(Path(__file__).with_name("difficulty.bin").read_bytes())
