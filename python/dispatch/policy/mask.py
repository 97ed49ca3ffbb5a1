"""Secrets in texts that providers send: they like to quote the credential that they refuse."""

from __future__ import annotations

import re

__all__ = ["masked"]

# No backslash, or the quote after it in a JSON string would end that string early.
_SECRET = re.compile(rb"\b(?:sk|pk|key|gsk|xai|AIza|AKIA|ASIA|ya29|eyJ)[-_A-Za-z0-9*.]{12,}|\bBearer\s+[^\s\"'\\]{8,}")


def masked(text: bytes) -> bytes:
    """`text` with everything that looks like a credential replaced."""
    return _SECRET.sub(b"[masked]", text)
