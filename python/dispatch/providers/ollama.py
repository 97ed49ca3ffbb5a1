"""Ollama, by its OpenAI doors (https://docs.ollama.com/api/openai-compatibility). `base_url` is what its own SDK takes, without `/v1`."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike("ollama", "http://127.0.0.1:11434", "chat completions embeddings responses", prefix="/v1", needs_key=False)
