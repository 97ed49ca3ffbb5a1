"""Together (https://docs.together.ai/reference)."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike(
    "together", "https://api.together.xyz/v1", "chat completions embeddings rerank images speech transcriptions audio_translations"
)
