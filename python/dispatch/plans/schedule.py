"""`schedule`: a plan for each part of the week, by wall time."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic_ns, time
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from dispatch.decisions import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config import Schedule as Config
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Site, Start

__all__ = ["Schedule", "build"]


class Schedule:
    """See the module."""

    __slots__ = ("_config", "_parts", "_site", "_zone", "made_ns")

    def __init__(self, config: Config, parts: Sequence[Start], site: Site) -> None:
        self._config = config
        self._parts = parts
        self._site = site
        self._zone = ZoneInfo(config.zone)
        self.made_ns = monotonic_ns()

    def run(self, call: Call, failed: Failed) -> None:
        """Start the plan of this moment."""
        now_s = time()
        place = self.choose(now_s)
        chosen = self._name(place)
        why = "no period holds" if chosen == "default" else chosen
        step = Step(self._site.path, "schedule", "time", chosen, why, board={"wall_s": now_s})
        self._site.decisions.of(call).steps.append(step)
        self._parts[place](call, failed)

    def choose(self, wall_s: float) -> int:
        """The part for a moment, in seconds since 1970."""
        moment = datetime.fromtimestamp(wall_s, UTC).astimezone(self._zone)
        day, minute = moment.weekday(), moment.hour * 60 + moment.minute
        return next((at for at, period in enumerate(self._config.periods) if period.holds(day, minute)), len(self._config.periods))

    def _name(self, place: int) -> str:
        return "default" if place == len(self._config.periods) else f"periods[{place}]"

    def replay(self, step: Step) -> bool:
        """Whether a recorded moment leads to the same plan."""
        return self._name(self.choose(step.board["wall_s"])) == step.chosen


def build(plan: Config, parts: Sequence[Start], site: Site) -> Schedule:
    """Join a schedule with its plans."""
    schedule = site.replayed[f"{site.model} {site.path}"] = Schedule(plan, parts, site)
    return schedule
