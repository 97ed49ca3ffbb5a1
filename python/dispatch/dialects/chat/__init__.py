"""OpenAI's chat completions, and the many servers that speak them (https://platform.openai.com/docs/api-reference/chat).

Of what vendors added to it, the forms that several of them share are read and written: `reasoning_content` (DeepSeek, vLLM, Mistral),
`reasoning_details` with signatures (OpenRouter), `cache_control` on parts, and `extra_content` with Google's thought signatures.
"""

from __future__ import annotations

__all__: list[str] = []
