"""Configurations for tests of the library: simulated providers behind a model named `chat`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from dispatch.config import Config, load

if TYPE_CHECKING:
    from pathlib import Path

    from dispatch.testing import MockProvider

__all__ = ["config_of", "document"]


def document(*mocks: MockProvider, endpoint: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    """Name an endpoint for each mock, `east`, `west`, ..., all in one pool; `model` adds to or replaces the model's settings."""
    names = ["east", "west", "north", "south"][: len(mocks)]
    shared = {"provider": "openai_compatible", "model": "gpt-x", **(endpoint or {})}
    return {
        "endpoints": [{"name": name, "base_url": mock.base_url, **shared} for name, mock in zip(names, mocks, strict=True)],
        "models": {"chat": {"endpoints": names, "retry": {"base_s": 0.01}, **model}},
    }


def config_of(folder: Path, plain: dict[str, Any]) -> Config:
    """Load a configuration as a file would be."""
    path = folder / "dispatch.json"
    path.write_bytes(msgspec.json.encode(plain))
    return load(path, {})
