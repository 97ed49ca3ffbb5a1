"""Groq (https://console.groq.com/docs)."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike(
    "groq",
    "https://api.groq.com/openai/v1",
    "chat responses speech transcriptions audio_translations",
    target={"max_tokens_field": "max_completion_tokens"},
)
