"""OpenRouter (https://openrouter.ai/docs/api-reference)."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike(
    "openrouter", "https://openrouter.ai/api/v1", "chat completions embeddings responses", target={"takes_reasoning": True}
)
