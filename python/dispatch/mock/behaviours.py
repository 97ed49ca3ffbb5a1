"""Which behaviour applies to a request, and what its limits and scripts have seen so far."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dispatch.mock.limits import Limiter, Limits
from dispatch.mock.scenario import Behaviour, Rule, Scenario, merge, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from dispatch.mock.faults import Fault

__all__ = ["Behaviours"]

_CACHE = 10_000
"""Resolved behaviours; names come from outside, so the table is emptied when it is full."""


class Behaviours:
    """The state of one scenario."""

    def __init__(self, scenario: Scenario, now_s: float) -> None:
        self._rules = scenario.patches()
        self._timed = [rule for rule in self._rules if rule.from_s > 0 or rule.to_s != float("inf")]
        self._counted = [rule for rule in self._rules if rule.is_counted]
        self._seen = [0] * len(self._counted)
        self._start_s = now_s
        self._resolved: dict[tuple[object, ...], Behaviour] = {}
        self._limiters: dict[tuple[Limits, str], Limiter] = {}
        self._played: dict[tuple[str, str, tuple[int | str, ...]], int] = {}

    def of(self, model: str, key: str, path: str, now_s: float) -> Behaviour:
        """Give the behaviour for a request that arrives now."""
        since_s = now_s - self._start_s
        active = tuple(_is_active(rule, since_s) for rule in self._timed)
        left_out = self._count(model, key, path, since_s) if self._counted else ()
        name = (model, key, path, active, left_out)
        behaviour = self._resolved.get(name)
        if behaviour is None:
            rules = [rule for rule in self._rules if _is_active(rule, since_s) and _is_for(rule, model, key, path)]
            patches = [rule.set for rule in rules if not any(rule is self._counted[index] for index in left_out)]
            if len(self._resolved) >= _CACHE:
                self._resolved.clear()
            behaviour = self._resolved[name] = merge(patches, "")
        return behaviour

    def _count(self, model: str, key: str, path: str, since_s: float) -> tuple[int, ...]:
        """Count the request; give the rules that do not hold for its number."""
        left_out = []
        for index, rule in enumerate(self._counted):
            if _is_active(rule, since_s) and _is_for(rule, model, key, path):
                number = self._seen[index]
                self._seen[index] += 1
                if number < rule.from_request or (rule.to_request is not None and number >= rule.to_request):
                    left_out.append(index)
        return tuple(left_out)

    def limiter(self, behaviour: Behaviour, model: str, key: str, now_s: float) -> Limiter | None:
        """Give the limiter that the request counts on, if there is one."""
        limits = behaviour.limits
        if limits is None:
            return None
        scope = {"key": key, "model": f"{key}\n{model}", "all": ""}[limits.scope]
        limiter = self._limiters.get((limits, scope))
        if limiter is None:
            limiter = self._limiters[(limits, scope)] = Limiter(limits, now_s)
        return limiter

    def fate(self, behaviour: Behaviour, model: str, key: str, rng: Callable[[], Random]) -> int | Fault | None:
        """Decide how the request ends: a status, a fault, or None for a healthy answer."""
        if behaviour.script:
            name = (model, key, tuple(behaviour.script))
            played = self._played.get(name, 0)
            if played < len(behaviour.script):
                self._played[name] = played + 1
                return outcome_of(behaviour.script[played])
        if not behaviour.errors and not behaviour.faults:
            return None
        draw = rng().random()
        outcomes: list[tuple[int | Fault, float]] = [*behaviour.errors.items(), *behaviour.faults.items()]
        for outcome, rate in outcomes:
            draw -= rate
            if draw < 0:
                return outcome
        return None


def _is_active(rule: Rule, since_s: float) -> bool:
    return rule.from_s <= since_s < rule.to_s


def _is_for(rule: Rule, model: str, key: str, path: str) -> bool:
    return fnmatchcase(model, rule.model) and fnmatchcase(key, rule.key) and fnmatchcase(path, rule.path)
