"""Which user of a key a request is for, as the APIs let a client say it: `user` (OpenAI), `metadata.user_id` (Anthropic)."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["user_named"]


class _Body(msgspec.Struct):
    """What a body says of its user; the rest of it is skipped."""

    user: Any = None
    metadata: Any = None


def user_named(body: bytes) -> bytes:
    """Return the user that a body names; empty: none. Read again only for keys whose users have limits.

    Args:
        body: JSON that was validated before.
    """
    read = msgspec.json.decode(body, type=_Body)
    found = read.user or (read.metadata.get("user_id") if isinstance(read.metadata, dict) else None)
    return found.encode() if isinstance(found, str) else b""
