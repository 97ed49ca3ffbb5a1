"""`schedule`: a plan for each part of the week, by wall time."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time
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

    __slots__ = ("_config", "_parts", "_site", "_zone")

    def __init__(self, config: Config, parts: Sequence[Start], site: Site) -> None:
        self._config = config
        self._parts = parts
        self._site = site
        self._zone = ZoneInfo(config.zone)

    def run(self, call: Call, failed: Failed) -> None:
        """Start the plan of this moment."""
        now_s = time()
        place = self.choose(now_s)
        is_default = place == len(self._config.periods)
        chosen = "default" if is_default else f"periods[{place}]"
        step = Step(self._site.path, "schedule", "time", chosen, "no period holds" if is_default else chosen, board={"wall_s": now_s})
        self._site.decisions.of(call).steps.append(step)
        self._parts[place](call, failed)

    def choose(self, wall_s: float) -> int:
        """The part for a moment, in seconds since 1970."""
        moment = datetime.fromtimestamp(wall_s, UTC).astimezone(self._zone)
        day, minute = moment.weekday(), moment.hour * 60 + moment.minute
        return next((at for at, period in enumerate(self._config.periods) if period.holds(day, minute)), len(self._config.periods))


def build(plan: Config, parts: Sequence[Start], site: Site) -> Schedule:
    """Join a schedule with its plans."""
    return Schedule(plan, parts, site)
