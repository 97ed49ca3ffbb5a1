"""Cohere's chat, version 2 (https://docs.cohere.com/reference/chat).

Requests are written and answers are read. What comes in this dialect is passed on as it is, and goes nowhere else.
"""

from __future__ import annotations

__all__: list[str] = []
