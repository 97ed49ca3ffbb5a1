"""A pool's strategy in one word: `least_work`, `least_work:8` (choices), `ring_hash@1.25` (bounded load)."""

from __future__ import annotations

import re

from msgspec import Struct

from dispatch.config.plans import ALIASES, CHOICES, HASHED, STRATEGIES
from dispatch.errors import ConfigError

__all__ = ["Policy"]

_FORM = re.compile(r"(?P<name>\w+)(?::(?P<choices>\d{1,2}))?(?:@(?P<bound>\d+(?:\.\d+)?))?")


class Policy(Struct, frozen=True):
    """How the pool chooses."""

    label: str
    """As it was written."""
    strategy: str
    choices: int = 0
    """Candidates that are drawn and compared; 0: all."""
    bounded_load: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read the word.

        Raises:
            ConfigError: no such strategy, or an option that it does not have.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ConfigError("strategies", f"found {text!r}, expected NAME, NAME:CHOICES or NAME@BOUND")
        name, implied = ALIASES.get(match["name"], (match["name"], None))
        if name not in STRATEGIES:
            raise ConfigError("strategies", f"found {text!r}, expected one of {', '.join([*STRATEGIES, *ALIASES])}")
        if match["choices"] and (name not in CHOICES or implied):
            raise ConfigError("strategies", f"found {text!r}, but {match['name']} has no choices to set")
        if match["bound"] and name not in HASHED:
            raise ConfigError("strategies", f"found {text!r}, but {name} does not hash")
        choices = int(match["choices"] or implied or CHOICES.get(name, 0))
        return cls(text, name, choices, float(match["bound"] or 0.0))

    def table(self) -> dict[str, str | int | float]:
        """As the core takes it."""
        return {"strategy": self.strategy, "choices": self.choices, "bounded_load": self.bounded_load}
