"""What a learned route goes on learning: how far its router is off, by feedback, and what quality may cost, by its budget.

Feedback belongs to the worker that hears of it. A budget is one for all workers: they add what they spent, and move one price, which
stands on the board (`judge/shared.rs`). Both are remembered over reloads, and over restarts where a ledger is kept (`remembered.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatch.plans.remembered import Stood

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config import Route as Config
    from dispatch.config.plans.route import RouteBudget
    from dispatch.decisions import Decision, Step
    from dispatch.exchange import Call
    from dispatch.plans.base import Site
    from dispatch.plans.remembered import Known
    from dispatch.routing import Pacer, Signals

__all__ = ["Learning"]

_NS = 1_000_000_000
WINDOW_CALLS = 200.0
"""Requests over which a share of calls is made good."""
PRIOR = 20.0
"""Scores that the router's own expectation counts for beside feedback."""
MEMORY = 500.0
"""Scores after which an old one counts for little."""
TICK_NS = _NS
MICRO = 1_000_000


class Learning:
    """See the module."""

    def __init__(self, config: Config, site: Site) -> None:
        self._config = config
        self._names = config.names
        self._remembered = site.remembered
        self._known = [site.remembered.of(f"{site.model} {site.path}", label) for label in config.labels]
        self._bias = [self._bias_of(known) for known in self._known]
        self._price = config.cost_weight
        self._state: dict[str, Any] | None = None
        # A request that waits in the queue is chosen for twice, and costs once.
        self._open: dict[str, Decision] = {}
        self._told_ns = 0
        budget = config.budget
        self._share = budget.strong_share if budget is not None else None
        self._pacer = None if budget is None else self._paced(budget, site)
        self._stood = site.remembered.pace(f"{site.model} {site.path}") if budget is not None else Stood()
        if self._pacer is not None and (self._stood.windows or self._stood.base):
            self._pacer.restore(self._stood.windows, self._stood.base)
        self._strong = max(range(len(config.costs)), key=lambda at: config.costs[at])
        self._decisions = site.decisions

    @property
    def drift(self) -> dict[str, float]:
        """By candidate, how far observed scores lie above what the router expects, as far as feedback says."""
        return {label: self._bias[at] for at, label in enumerate(self._config.labels) if self._known[at].weight}

    @property
    def feedback(self) -> dict[str, float]:
        """By candidate, the weight of the feedback that it has had."""
        return {label: known.weight for label, known in zip(self._config.labels, self._known, strict=True) if known.weight}

    @property
    def price(self) -> float:
        """What the cost of the dearest candidate counts for in quality, now."""
        return self._price

    @staticmethod
    def _paced(budget: RouteBudget, site: Site) -> Pacer | None:
        """The pacer of a budget."""
        if budget.strong_share is not None:
            return site.pacer(site.path, budget.strong_share, WINDOW_CALLS, is_share=True)
        if budget.dollars_per_hour is None:
            return None
        return site.pacer(site.path, budget.dollars_per_hour * MICRO / 3600, budget.window_s, is_share=False)

    def state(self, now_ns: int) -> dict[str, Any]:
        """What a choice reads: the same object until it changes."""
        if self._pacer is not None:
            self._move(self._pacer, now_ns)
        if self._state is None or self._state["price"] != self._price:
            self._state = {"price": self._price, "bias": [*self._bias]}
        return self._state

    def _move(self, pacer: Pacer, now_ns: int) -> None:
        """Tell what was spent since the last time, and read the price."""
        if self._open and now_ns - self._told_ns >= TICK_NS:
            self._told_ns = now_ns
            # What a request cost is known when it is over.
            closed = [one for one in self._open.values() if one.outcome != "under_way"]
            self._open = {name: one for name, one in self._open.items() if one.outcome == "under_way"}
            pacer.spend(sum(one.micro_dollars for one in closed))
        if (standing := pacer.standing(now_ns)) is None:
            return
        self._price, windows, base = standing
        if (windows, base) != (self._stood.windows, self._stood.base):
            self._stood.windows, self._stood.base = windows, base
            self._remembered.changed()

    def chose(self, call: Call, place: int, signals: Signals, board: Mapping[str, Any]) -> None:
        """A choice was made."""
        del signals, board
        if self._pacer is None:
            return
        if self._share is not None:
            self._pacer.spend(int(place == self._config.places[self._strong]))
        else:
            decision = self._decisions.of(call)
            self._open[decision.id] = decision

    def learn(self, step: Step, score: float) -> None:
        """Take in how good the answer to a recorded choice was, from 0 to 1."""
        if step.chosen not in self._names:
            return
        place = self._names.index(step.chosen)
        if place not in self._config.places:
            return
        at = self._config.places.index(place)
        if at >= len(step.worth):
            return
        # What was expected before the correction and the cost of then.
        most = max(self._config.costs) or 1.0
        expected = step.worth[at] - step.board["bias"][at] + step.board["price"] * self._config.costs[at] / most
        kept = 1.0 - 1.0 / MEMORY
        known = self._known[at]
        known.weight = known.weight * kept + 1.0
        known.error = known.error * kept + (score - expected)
        self._bias[at] = self._bias_of(known)
        self._state = None
        self._remembered.changed()

    @staticmethod
    def _bias_of(known: Known) -> float:
        return known.error / (known.weight + PRIOR)
