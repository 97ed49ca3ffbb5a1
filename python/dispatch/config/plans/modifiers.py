"""What modifies a pool of any strategy, as data: whom the strategy may choose among."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from dispatch.config.decode import shown
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NOISE", "Affinity", "Part", "Sticky", "check_tiers", "margin"]

Part = Annotated[float, Meta(ge=0, le=100)]


class Sticky(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sessions that stay at their endpoint."""

    idle_s: Annotated[int, Meta(ge=1, le=32_768)] = 3600
    """A session that pauses for longer begins anew."""


class Affinity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the cached beginning of a prompt is worth."""

    ttl_s: Annotated[int, Meta(ge=1, le=32_768)] = 300
    """How long providers keep what they have read."""
    kept: Annotated[float, Meta(ge=0, le=1)] = 0.9
    """The part of a session's last prompt that the next one finds in the cache."""
    least_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] = 1024
    """The shortest beginning that is cached: 1,024 tokens at OpenAI and Anthropic."""
    wait_price: Annotated[float, Meta(ge=0, le=1000)] = 0.001
    """Dollars that a second of waiting for the first token is worth."""


NOISE = 0.5
"""Above the shortest time to first token by this part, an endpoint is as fast as far as we know.

Times scatter by two fifths and more, their averages keep peaks, and where everybody goes to the one that was fastest just now, it is the
slowest soon: in `s01-equal` a request waits 18 s at a margin of 0, 1.3 s at a quarter, 0.13 s at this one (0.06 s without the modifier).
At one whole, what `p2c` gains on hosted providers, two of which are three times as slow (`s11-latency`), shrinks from 32 to 28 percent.
"""


def margin(value: float | bool, yes: float = 0.0) -> float | None:  # noqa: FBT001  # as it is written: yes, no, or a part
    """Return the part by which others may lie above the best, `yes` where only that is said; None for no."""
    if isinstance(value, bool):
        return yes if value else None
    return value


def check_tiers(tiers: Sequence[Sequence[str]], endpoints: Sequence[str], path: str) -> None:
    """Refuse tiers that are not a partition of a pool's endpoints."""
    seen: set[str] = set()
    for place, tier in enumerate(tiers):
        for at, name in enumerate(tier):
            if name not in endpoints:
                raise ConfigError(f"{path}[{place}][{at}]", f"{shown(name)} is not in this pool")
            if name in seen:
                raise ConfigError(f"{path}[{place}][{at}]", f"{shown(name)} has a tier already")
            seen.add(name)
    left = [name for name in endpoints if name not in seen]
    if tiers and left:
        raise ConfigError(path, f"{shown(left[0])} has no tier; name every endpoint of the pool once")
