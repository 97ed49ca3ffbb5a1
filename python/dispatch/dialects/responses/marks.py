"""Signatures of reasoning on their way through items of the Responses API, and items of the Responses API on their way through others.

`encrypted_content` is opaque to clients, and so is a signature to those of other dialects: each side's own is put into the other's place
behind a mark, and taken out again when the client sends it back. So is a tool's namespace, which others have only as a part of its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.dialects.form import Thinking

if TYPE_CHECKING:
    from dispatch.dialects import Tree

__all__ = ["flat", "hidden_in_item", "hidden_in_signature", "item_of", "spaced", "thinking_of"]

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


_SPACE = "_-_"
"""Between the name of a namespace and that of a tool in it: all other dialects allow these signs in a name, and nobody writes them so."""


def flat(space: str, name: str) -> str:
    """One name for a tool in a namespace, which no other dialect has."""
    return f"{space}{_SPACE}{name}" if space and name else name


def spaced(name: str) -> Tree:
    """The fields of a call by which its tool is known here."""
    space, mark, own = name.partition(_SPACE)
    return {"name": own, "namespace": space} if mark and space and own else {"name": name}
