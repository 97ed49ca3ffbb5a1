"""A pool's strategy in one word: `least_work`, `least_work:8` (choices), `ring_hash@1.25` (bounded load), `p2c+lowest_cost` (modifiers)."""

from __future__ import annotations

import re

from msgspec import Struct

from dispatch.config.plans import ALIASES, CHOICES, HASHED, NOISE, STRATEGIES, Affinity, margin
from dispatch.errors import ConfigError

__all__ = ["Policy"]

_FORM = re.compile(r"(?P<name>\w+)(?::(?P<choices>\d{1,2}))?(?:@(?P<bound>\d+(?:\.\d+)?))?(?P<modifiers>(?:\+\w+)*)")
MODIFIERS = ("priority", "lowest_cost", "lowest_latency", "affinity")
"""What may narrow the choice, each as `true` in a configuration."""


class Policy(Struct, frozen=True):
    """How the pool chooses."""

    label: str
    """As it was written."""
    strategy: str
    choices: int = 0
    """Candidates that are drawn and compared; 0: all."""
    bounded_load: float = 0.0
    modifiers: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read the word.

        Raises:
            ConfigError: no such strategy, or an option that it does not have.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ConfigError("strategies", f"found {text!r}, expected NAME, NAME:CHOICES or NAME@BOUND, and +MODIFIER after it")
        name, implied = ALIASES.get(match["name"], (match["name"], None))
        if name not in STRATEGIES:
            raise ConfigError("strategies", f"found {text!r}, expected one of {', '.join([*STRATEGIES, *ALIASES])}")
        if match["choices"] and (name not in CHOICES or implied):
            raise ConfigError("strategies", f"found {text!r}, but {match['name']} has no choices to set")
        if match["bound"] and name not in HASHED:
            raise ConfigError("strategies", f"found {text!r}, but {name} does not hash")
        modifiers = frozenset(filter(None, match["modifiers"].split("+")))
        if unknown := sorted(modifiers - {*MODIFIERS}):
            raise ConfigError("strategies", f"found {text!r}, expected modifiers among {', '.join(MODIFIERS)}, not {unknown[0]}")
        choices = int(match["choices"] or implied or CHOICES.get(name, 0))
        return cls(text, name, choices, float(match["bound"] or 0.0), modifiers)

    def table(self) -> dict[str, object]:
        """As the core takes it."""
        has = self.modifiers.__contains__
        affinity = Affinity()
        return {
            "strategy": self.strategy,
            "choices": self.choices,
            "bounded_load": self.bounded_load,
            "priority": has("priority"),
            "lowest_cost": margin(has("lowest_cost")),
            "lowest_latency": margin(has("lowest_latency"), NOISE),
            "affinity": (affinity.ttl_s, affinity.kept, affinity.least_tokens, affinity.wait_price * 1e12) if has("affinity") else None,
        }
