"""Ollama's own API (https://docs.ollama.com/api): `/api/chat`, and `/api/generate`, which is the same with one prompt.

Streams are JSON lines. A call's arguments are an object, and calls had no ids before version 0.13, so that those are made up by place.
"""

from __future__ import annotations

__all__: list[str] = []
