"""DeepSeek (https://api-docs.deepseek.com)."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike("deepseek", "https://api.deepseek.com/v1", "chat responses")
