"""Fireworks (https://docs.fireworks.ai)."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike("fireworks", "https://api.fireworks.ai/inference/v1", "chat completions embeddings responses")
