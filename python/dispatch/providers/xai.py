"""xAI (https://docs.x.ai/docs/api-reference)."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike("xai", "https://api.x.ai/v1", "chat completions embeddings responses")
