"""What an endpoint costs, as a configuration or the catalogue says it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["Price", "Rate"]

Rate = Annotated[float, Meta(ge=0, le=1_000_000)]


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """US dollars per million tokens."""

    input: Rate = 0.0
    """Per million input tokens."""
    output: Rate = 0.0
    """Per million output tokens, reasoning included."""
    cached_input: Rate | None = None
    """Per million input tokens read from the provider's cache; left out: the price of `input`."""
    audio_input: Rate | None = None
    """Per million input tokens of sound, in realtime sessions; left out: the price of `input`."""
    audio_output: Rate | None = None
    """Per million output tokens of sound, in realtime sessions; left out: the price of `output`."""
