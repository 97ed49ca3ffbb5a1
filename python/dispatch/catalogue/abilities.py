"""What the model behind an endpoint cannot take: by the configuration's own word, else by the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.catalogue import OWN, find

if TYPE_CHECKING:
    from dispatch.config import Endpoint

__all__ = ["MEDIA", "Abilities", "abilities"]

MEDIA = frozenset(("image", "document", "audio", "video"))
"""Kinds of content beside text."""


class Abilities(Struct, frozen=True):
    """What is known."""

    lacks: frozenset[str] = frozenset()
    """Of `MEDIA`, `tools` and `schema`."""
    context: int = 0
    """Tokens that it reads at most; 0: not known."""
    is_told: bool = False
    """By the configuration, at least in part."""


def abilities(endpoint: Endpoint) -> Abilities:
    """What is known of an endpoint's model. Of a server of one's own, and of a name that is passed on, only what is configured."""
    told = endpoint.capabilities
    known = None if endpoint.passes_name or OWN.match(endpoint.base_url) else find(endpoint.provider, endpoint.model)
    lacks = frozenset[str]() if known is None else (MEDIA - known.reads) | ({"tools", "schema"} - known.can)
    context = 0 if known is None else known.context
    if told.reads is not None:
        lacks = (lacks - MEDIA) | (MEDIA - frozenset(told.reads))
    for name, can in (("tools", told.tools), ("schema", told.schema)):
        if can is not None:
            lacks = lacks - {name} if can else lacks | {name}
    is_told = told.reads is not None or told.tools is False or told.schema is False or told.context is not None
    return Abilities(lacks, context if told.context is None else told.context, is_told)
