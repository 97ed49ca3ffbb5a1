"""Sidecars of several workers: what the tests of their life share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dispatch.testing import MockProvider

__all__ = ["BUSY", "ECHO", "MANY", "TWO", "behind"]

ECHO = {"endpoints": [{"name": "e", "provider": "echo"}], "models": {"say": "e"}}
TWO = ("--workers", "2")
BUSY = 5
"""How many times slower than a quiet machine one may be that has other work."""
MANY = 24
"""Connections by which each of two workers gets some: the chance that one gets none is 2^-23."""


def behind(mock: MockProvider, **server: Any) -> dict[str, Any]:
    """Return the configuration of a sidecar with that one provider, as the model `say`."""
    return {
        "server": {"drain_s": 0, **server},
        "endpoints": [{"name": "up", "provider": "openai_compatible", "model": "m", "base_url": mock.base_url}],
        "models": {"say": "up"},
    }
