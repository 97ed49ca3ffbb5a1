"""llama.cpp's server (https://github.com/ggml-org/llama.cpp/tree/master/tools/server)."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike("llamacpp", "http://127.0.0.1:8080/v1", "chat completions embeddings responses", needs_key=False)
