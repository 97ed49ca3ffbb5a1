"""Anthropic's Messages API (https://docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

__all__: list[str] = []
