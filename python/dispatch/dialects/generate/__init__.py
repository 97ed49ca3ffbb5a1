"""Google's Gemini API, `generateContent` (https://ai.google.dev/api/generate-content).

Model and stream stand in the path there; the door writes them into the body as `model` and `stream`, as everybody else has them.
"""

from __future__ import annotations

__all__: list[str] = []
