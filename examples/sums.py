"""A program that answers sums, in place of a model: the class `sums` of `domain-experts.yaml`."""

from __future__ import annotations

import re
from decimal import Decimal, DivisionByZero, InvalidOperation

from dispatch.providers.function import Ask, Fault

_SUM = re.compile(
    r"(-?\d+(?:\.\d+)?)\s*(\+|-|\*|/|x|plus|minus|times|multiplied by|divided by|over)\s*(-?\d+(?:\.\d+)?)",
    re.IGNORECASE,
)
_SIGNS = {"plus": "+", "minus": "-", "times": "*", "x": "*", "multiplied by": "*", "divided by": "/", "over": "/"}


def answer(ask: Ask) -> str:
    """Work out the first sum of the last message. Raises `Fault`: there is none, and another endpoint is asked."""
    found = _SUM.search(ask.text[:1000])
    if found is None:
        raise Fault(503, "no sum that this program can read")
    left, sign, right = Decimal(found[1]), _SIGNS.get(found[2].lower(), found[2]), Decimal(found[3])
    try:
        result = {"+": left + right, "-": left - right, "*": left * right}[sign] if sign != "/" else left / right
    except (DivisionByZero, InvalidOperation):
        raise Fault(400, "nothing can be divided by zero") from None
    return f"{result.normalize():f}"
