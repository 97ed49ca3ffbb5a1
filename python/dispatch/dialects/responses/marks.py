"""Signatures of reasoning on their way through items of the Responses API, and items of the Responses API on their way through others.

`encrypted_content` is opaque to clients, and so is a signature to those of other dialects: each side's own is put into the other's place
behind a mark, and taken out again when the client sends it back.
"""

from __future__ import annotations

from dispatch.dialects.form import Thinking

__all__ = ["hidden_in_item", "hidden_in_signature", "item_of", "thinking_of"]

_THINKING = "thinking:"
_REDACTED = "redacted_thinking:"
_ITEM = "rs_"
_END = "|"


def hidden_in_item(signature: str, *, is_redacted: bool) -> str:
    """The `encrypted_content` that keeps another provider's signature."""
    return (_REDACTED if is_redacted else _THINKING) + signature


def thinking_of(text: str, encrypted: str) -> Thinking:
    """Reasoning as a client sends it back; content that another one encrypted is of no use to whoever reads this."""
    if encrypted.startswith(_REDACTED):
        return Thinking(text=text, signature=encrypted.removeprefix(_REDACTED), is_redacted=True)
    return Thinking(text=text, signature=encrypted.removeprefix(_THINKING) if encrypted.startswith(_THINKING) else "")


def hidden_in_signature(identity: str, encrypted: str) -> str:
    """The signature that keeps an item's id and its encrypted content."""
    return f"{identity}{_END}{encrypted}"


def item_of(signature: str) -> tuple[str, str] | None:
    """Id and encrypted content that were kept in a signature; None if it is another provider's."""
    identity, end, encrypted = signature.partition(_END)
    return (identity, encrypted) if end and identity.startswith(_ITEM) else None
