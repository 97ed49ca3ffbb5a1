"""Perplexity (https://docs.perplexity.ai/api-reference). Each event of its streams tells the usage."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike("perplexity", "https://api.perplexity.ai", "chat", stream_usage=False)
