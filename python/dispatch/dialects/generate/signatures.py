"""Signatures of other providers' reasoning on their way through Gemini's API.

Its clients take `thoughtSignature` for bytes in base64, and send it back in the other alphabet of base64 or without its padding. So what
another provider signed is encoded once more, behind a mark, and taken out again when it comes back. Google's own stays as it is.
"""

from __future__ import annotations

import base64
import binascii

from dispatch.dialects.form import Thinking

__all__ = ["URL_SAFE", "hidden", "thinking_of"]

# As many bytes as end with a sign of base64: what begins with a mark can be told without decoding it.
_THINKING = b"thinking:"
_REDACTED = b"redacted_thinking:"
URL_SAFE = str.maketrans("-_", "+/")
"""From the alphabet of RFC 4648 section 5, which google-genai writes, to the one that all others take."""
_MARKS = tuple(base64.b64encode(mark).decode() for mark in (_THINKING, _REDACTED))


def hidden(signature: str, *, is_redacted: bool) -> str:
    """The `thoughtSignature` that keeps another provider's signature, or what it wants back in place of reasoning."""
    return base64.b64encode((_REDACTED if is_redacted else _THINKING) + signature.encode()).decode()


def thinking_of(text: str, given: str) -> Thinking:
    """Reasoning as a client sends it back."""
    if given.startswith(_MARKS):
        try:
            kept = base64.b64decode(given.translate(URL_SAFE) + "=" * (-len(given) % 4), validate=True)
            signature = kept.partition(b":")[2].decode()
        except (binascii.Error, UnicodeDecodeError):
            return Thinking(text=text)
        return Thinking(text="" if kept.startswith(_REDACTED) else text, signature=signature, is_redacted=kept.startswith(_REDACTED))
    return Thinking(text=text, signature=given)
