"""`dispatch bench`: an open-loop load generator."""

from __future__ import annotations

__all__: list[str] = []
