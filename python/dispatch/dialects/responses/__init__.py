"""OpenAI's Responses API (https://platform.openai.com/docs/api-reference/responses), as far as it keeps nothing between requests.

Reasoning comes back from clients as items whose `encrypted_content` only its maker reads. What another provider signed is marked
as such there (`marks.py`), so that it is given back to nobody else.
"""

from __future__ import annotations

__all__: list[str] = []
