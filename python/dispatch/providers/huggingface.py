"""Hugging Face's router of inference providers (https://huggingface.co/docs/inference-providers)."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike("huggingface", "https://router.huggingface.co/v1", "chat responses")
