"""Cerebras (https://inference-docs.cerebras.ai)."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike("cerebras", "https://api.cerebras.ai/v1", "chat completions", target={"max_tokens_field": "max_completion_tokens"})
