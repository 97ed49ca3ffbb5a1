"""Mistral (https://docs.mistral.ai/api). Its streams tell their usage unasked, and its seed has another name."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike(
    "mistral", "https://api.mistral.ai/v1", "chat embeddings", stream_usage=False, target={"renames": (("seed", "random_seed"),)}
)
