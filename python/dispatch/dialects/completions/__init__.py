"""OpenAI's first API (https://platform.openai.com/docs/api-reference/completions), where a prompt can be one message of a chat."""

from __future__ import annotations

__all__: list[str] = []
