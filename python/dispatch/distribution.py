"""Distributions that a scenario or a load names in one short string, the same in flags and in YAML.

`0.3` is constant; `uniform:LOW,HIGH`; `exponential:MEAN`; `lognormal:MEDIAN,SIGMA`, which is what times to first token and
output lengths of real providers look like (sigma 0.5: p99 is 3.2 medians; sigma 1: 10.2 medians).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

__all__ = ["Distribution"]

_ARITY: Final = {"constant": 1, "uniform": 2, "exponential": 1, "lognormal": 2}


class Distribution:
    """A distribution over numbers >= 0.

    Attributes:
        kind: `constant`, `uniform`, `exponential` or `lognormal`.
        constant: the value if there is no chance in it, else None: the fast path asks this first.
    """

    __slots__ = ("_a", "_b", "constant", "kind")

    def __init__(self, kind: str, a: float, b: float = 0.0) -> None:
        self.kind = kind
        self._a = a
        self._b = b
        self.constant: float | None = a if kind == "constant" else None

    @classmethod
    def parse(cls, source: object) -> Distribution:
        """Read `0.3`, `"0.3"` or `"lognormal:0.3,0.5"`.

        Raises:
            ValueError: not a number or not one of the forms; the text says what is wrong.
        """
        if isinstance(source, Distribution):
            return source
        kind, colon, rest = str(source).strip().partition(":")
        if not colon:
            kind, rest = "constant", kind
        try:
            numbers = [float(part) for part in rest.split(",")]
        except ValueError:
            raise ValueError(f"expected a number or a distribution such as 'lognormal:0.3,0.5', got {source!r}") from None
        return cls._checked(kind, numbers)

    @classmethod
    def _checked(cls, kind: str, numbers: list[float]) -> Distribution:
        arity = _ARITY.get(kind)
        if arity is None:
            raise ValueError(f"unknown distribution {kind!r}; known: {', '.join(_ARITY)}")
        if len(numbers) != arity:
            raise ValueError(f"{kind} takes {arity} number(s), got {len(numbers)}")
        if any(not math.isfinite(number) or number < 0 for number in numbers):
            raise ValueError(f"{kind} takes finite numbers >= 0")
        if kind == "uniform" and numbers[0] > numbers[1]:
            raise ValueError("uniform takes LOW,HIGH with LOW <= HIGH")
        return cls(kind, *numbers)

    def sample(self, rng: Random) -> float:
        """Draw one value."""
        if self.constant is not None:
            return self.constant
        if self.kind == "uniform":
            return rng.uniform(self._a, self._b)
        if self.kind == "exponential":
            return rng.expovariate(1 / self._a) if self._a else 0.0
        return self._a * math.exp(self._b * rng.gauss(0.0, 1.0))

    @property
    def mean(self) -> float:
        """The expected value."""
        if self.kind == "uniform":
            return (self._a + self._b) / 2
        if self.kind == "lognormal":
            return self._a * math.exp(self._b**2 / 2)
        return self._a

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Distribution) and (self.kind, self._a, self._b) == (other.kind, other._a, other._b)

    def __hash__(self) -> int:
        return hash((self.kind, self._a, self._b))

    def __repr__(self) -> str:
        if self.constant is not None:
            return f"{self.constant:g}"
        numbers = (self._a, self._b)[: _ARITY[self.kind]]
        return f"{self.kind}:{','.join(f'{number:g}' for number in numbers)}"
