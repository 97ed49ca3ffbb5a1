"""Conditions of rules: `{modality: image, language: [de, fr], difficulty: ">0.7"}`, checked and turned into ranges and sets of texts.

A signal of a closed set takes the names of that set, one of a number a number, a range (`2..5`) or a comparison (`>`, `>=`, `<`, `<=`).
Every other name is something that clients declare: the header `x-dispatch-NAME`, or `NAME` in the body's `metadata`. `!` before a text
means "not".
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from dispatch.config.decode import join, nearest, shown
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CLOSED", "DECLARED", "NUMBERS", "SIGNALS", "Condition", "conditions", "first_dead"]

_LANGUAGES = """
ar bg bn ca cs cy da de el en es et fa fi fr gu he hi hr hu hy id it ja ka kn ko lt lv mk ml mr ne nl no pa pl pt ro ru sk sl sq sv ta te th
tr uk ur vi zh
"""

CLOSED: dict[str, tuple[str, ...]] = {
    "modality": ("text", "image", "audio", "video", "file"),
    "language": tuple(_LANGUAGES.split()),
    "question": ("what", "why", "how", "when", "where", "who", "which", "yes_no", "instruction", "other"),
    "personal": ("email", "phone", "iban", "card", "ssn", "ip"),
}
"""Signals with names of their own."""

NUMBERS: dict[str, float] = {
    "tokens": math.inf,
    "turns": math.inf,
    "code": 1,
    "math": 1,
    "json": 1,
    "difficulty": 1,
    "similarity": 1,
    "tools": 1,
    "form": 1,
    "personal": 1,
}
"""Signals that are numbers from 0 on, and the greatest that each can be."""

DECLARED = ("private", "prefer", "topic")
"""What clients may declare to any route."""

SIGNALS = frozenset((*CLOSED, *NUMBERS))
"""Names that are not declared by clients."""

SWITCHES = frozenset(("tools", "form", "personal"))
"""Signals that are there or not: `true` or `false`."""

_WHOLE = SWITCHES | {"turns"}
"""Numbers without fractions; tokens are estimated."""

_COMPARISON = re.compile(r"\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)\s*")
_RANGE = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*\.\.\s*(-?\d+(?:\.\d+)?)\s*")


class Condition(Struct, frozen=True):
    """One test of one signal: a text among `texts`, or where there are none a number from `low` to `high`."""

    name: str
    low: float = 0.0
    high: float = 0.0
    texts: tuple[str, ...] = ()
    is_negated: bool = False

    def implies(self, other: Condition) -> bool:
        """Whether `other` holds wherever this one does."""
        if self.name != other.name or self.is_negated != other.is_negated or bool(self.texts) != bool(other.texts):
            return False
        if self.texts:
            inner, outer = (other.texts, self.texts) if self.is_negated else (self.texts, other.texts)
            return {*inner} <= {*outer}
        return self.low >= other.low and self.high <= other.high


def conditions(form: object, path: str) -> tuple[Condition, ...]:
    """Read a `when`. Raises `ConfigError`, also for one that can never hold."""
    if not isinstance(form, dict):
        raise ConfigError(path, f"found {shown(form)}, expected a mapping from signals to values, such as {{language: de}}")
    return tuple(_condition(str(name), value, join(path, str(name))) for name, value in form.items())


def first_dead(rules: Sequence[tuple[Condition, ...]]) -> tuple[int, tuple[int, ...]] | None:
    """Find a rule that can never fire, because earlier ones hold wherever it does: its place and theirs."""
    for later, own in enumerate(rules):
        before = [(place, _left(rules[place], own)) for place in range(later)]
        for place, left in before:
            if not left:
                return later, (place,)
        for name in dict.fromkeys(left[0].name for _, left in before if len(left) == 1):
            some = {place: left[0] for place, left in before if len(left) == 1 and left[0].name == name}
            if _cover([*some.values()], next((one for one in own if one.name == name), None)):
                return later, (*some,)
    return None


def _left(earlier: tuple[Condition, ...], later: tuple[Condition, ...]) -> list[Condition]:
    """What an earlier rule asks for beyond what holds wherever a later one does."""
    return [other for other in earlier if not any(one.implies(other) for one in later)]


def _cover(earlier: list[Condition], own: Condition | None) -> bool:
    """Whether one of `earlier`, all of one signal, holds for each value that `own` lets through; without it, for each that there is."""
    named = {text for one in earlier if not one.is_negated for text in one.texts}
    if any(one.is_negated and {*one.texts} <= named for one in earlier):
        return True
    if own is not None and own.texts:
        return not own.is_negated and {*own.texts} <= named
    name = earlier[0].name
    if own is None and name not in NUMBERS:
        return False
    reached, most = (own.low, own.high) if own is not None else (0.0, NUMBERS[name])
    step = 1.0 if name in _WHOLE else 0.0
    below = max(reached, 0.0) if name in NUMBERS else reached
    for one in sorted((one for one in earlier if not one.texts), key=lambda one: one.low):
        if one.low > below:
            break
        if one.high >= below:
            below = math.floor(one.high) + step if step and one.high < math.inf else math.nextafter(one.high, math.inf)
    return below > min(most, NUMBERS.get(name, math.inf)) or below == math.inf


def _condition(name: str, value: object, path: str) -> Condition:
    if name == "key":
        raise ConfigError(path, "is the client's credential, no signal")
    if isinstance(value, bool):
        if name in CLOSED and name not in SWITCHES:
            raise ConfigError(path, f"found {shown(value)}, expected one of {', '.join(CLOSED[name])}")
        return Condition(name, float(value), float(value)) if name in SWITCHES else Condition(name, texts=(str(value).lower(),))
    if name in NUMBERS and name not in CLOSED:
        return _number(name, value, path)
    if isinstance(value, (int, float)) or (isinstance(value, str) and name not in CLOSED and _ranged(value)):
        return _number(name, value, path)
    return _texts(name, value if isinstance(value, list) else [value], path)


def _ranged(text: str) -> bool:
    return bool(_COMPARISON.fullmatch(text) or _RANGE.fullmatch(text))


def _number(name: str, value: object, path: str) -> Condition:
    low, high = _bounds(value, path)
    most = NUMBERS.get(name, math.inf)
    least = 0.0 if name in NUMBERS else -math.inf
    if low > high or low > most or high < least:
        raise ConfigError(path, f"found {shown(value)}, which can never hold: {name} is from {least:g} to {most:g}")
    return Condition(name, low, high)


def _bounds(value: object, path: str) -> tuple[float, float]:
    if isinstance(value, (int, float)):
        return float(value), float(value)
    text = value if isinstance(value, str) else ""
    if found := _RANGE.fullmatch(text):
        return float(found[1]), float(found[2])
    if not (found := _COMPARISON.fullmatch(text)):
        raise ConfigError(path, f'found {shown(value)}, expected a number, a range such as "2..5" or a comparison such as ">0.7"')
    bound = float(found[2])
    match found[1]:
        case ">":
            return math.nextafter(bound, math.inf), math.inf
        case ">=":
            return bound, math.inf
        case "<":
            return -math.inf, math.nextafter(bound, -math.inf)
        case _:
            return -math.inf, bound


def _texts(name: str, values: list[object], path: str) -> Condition:
    texts = [value if isinstance(value, str) else str(value) for value in values if isinstance(value, (str, int, float))]
    negated = [text.startswith("!") for text in texts]
    if not texts or len(texts) != len(values) or (any(negated) and not all(negated)):
        raise ConfigError(path, f"found {shown(values)}, expected texts, all of them or none with `!`")
    texts = [text.removeprefix("!") for text in texts]
    known = CLOSED.get(name)
    for text in texts:
        if known is not None and text not in known:
            raise ConfigError(path, f"found {shown(text)}, expected one of {', '.join(known)}{nearest(text, known)}")
    return Condition(name, texts=tuple(texts), is_negated=any(negated))
