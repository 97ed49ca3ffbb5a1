"""vLLM (https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html)."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike("vllm", "http://127.0.0.1:8000/v1", "chat completions embeddings responses", needs_key=False)
