"""Writer (https://dev.writer.com/api-reference/completion-api/chat-completion): OpenAI's chat at a path of its own."""

from __future__ import annotations

from dispatch.providers.openai_like import OpenAILike

__all__ = ["PROVIDER"]

PROVIDER = OpenAILike("writer", "https://api.writer.com/v1", "chat", paths={"chat": "/chat"})
