"""`schedule` and `offline`: plans by the time of day, and for when the outside cannot be reached, as data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from dispatch.config import plans
from dispatch.config.decode import decode, shown
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from dispatch.config.plans.builder import Builder

__all__ = ["DAYS", "Offline", "OfflineForm", "Period", "PeriodForm", "Schedule", "ScheduleForm", "build_offline", "build_schedule"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES = 24 * 60
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


class PeriodForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the week."""

    plan: Any
    """The plan that is taken then."""
    start: str = "00:00"
    """Time of day, `HH:MM`."""
    end: str = "24:00"
    """The first minute that is not in it any more. Before `start`: on the next day."""
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = DAYS  # type: ignore[assignment]  # the same names
    """Days on which it begins."""


class ScheduleForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule as it is written."""

    periods: tuple[PeriodForm, ...]
    """In order: the first that holds is taken."""
    default: Any
    """The plan at all other times."""
    zone: str = "UTC"
    """Whose wall clock is meant, such as `Europe/Berlin`."""


class Period(Struct, frozen=True):
    """Minutes of the day, and days by their number; Monday is 0."""

    start: int
    end: int
    days: tuple[int, ...]

    def holds(self, day: int, minute: int) -> bool:
        """Whether a moment is in it."""
        if self.start <= self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="schedule"):
    """A plan for each part of the week; the last part is the default."""

    parts: tuple[plans.Plan, ...]
    periods: tuple[Period, ...]
    zone: str

    def is_end(self, place: int) -> bool:
        """Nothing is asked after what was chosen."""
        return place >= 0


class OfflineForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Online and offline, as it is written."""

    plan: Any
    """While the outside can be reached."""
    local: Any
    """While it cannot. All its endpoints must be `offline_ok`."""
    for_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    """After no connection to the outside could be made, how long the local plan is asked at once, before the outside is tried again."""


class Offline(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="offline"):
    """A plan, and the local one for when the outside cannot be reached."""

    parts: tuple[plans.Plan, ...]
    for_s: float

    def is_end(self, place: int) -> bool:
        """The local plan is asked after the other."""
        return place == 1


def build_schedule(builder: Builder, form: object, path: str) -> Schedule:
    """Build a schedule. Raises `ConfigError`."""
    given = decode(form, ScheduleForm, path)
    try:
        ZoneInfo(given.zone)
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"{path}.zone", f"found {shown(given.zone)}, expected a zone that this machine knows, such as UTC") from None
    periods = tuple(_period(period, f"{path}.periods[{at}]") for at, period in enumerate(given.periods))
    for later, period in enumerate(periods):
        for earlier in periods[:later]:
            if all(earlier.holds(day, minute) for day, minute in _moments(period)):
                raise ConfigError(f"{path}.periods[{later}]", f"can never be: periods[{periods.index(earlier)}] holds whenever it does")
    parts = [builder.plan(period.plan, f"{path}.periods[{at}].plan") for at, period in enumerate(given.periods)]
    return Schedule(parts=(*parts, builder.plan(given.default, f"{path}.default")), periods=periods, zone=given.zone)


def build_offline(builder: Builder, form: object, path: str) -> Offline:
    """Build a plan with a local one. Raises `ConfigError`."""
    given = decode(form, OfflineForm, path)
    local = builder.plan(given.local, f"{path}.local")
    builder.check_local(local, f"{path}.local")
    return Offline(parts=(builder.plan(given.plan, f"{path}.plan"), local), for_s=given.for_s)


def _period(form: PeriodForm, path: str) -> Period:
    start, end = _minute(form.start, f"{path}.start"), _minute(form.end, f"{path}.end")
    if start == end or not form.days:
        raise ConfigError(path, "is empty: it can never be")
    return Period(start, end, tuple(DAYS.index(day) for day in form.days))


def _minute(text: str, path: str) -> int:
    if not _TIME.fullmatch(text):
        raise ConfigError(path, f"found {shown(text)}, expected a time of day such as 08:30")
    return int(text[:2]) * 60 + int(text[3:])


def _moments(period: Period) -> list[tuple[int, int]]:
    """The quarter hours of the week, and the first minute, that are in a period."""
    minutes = [*range(0, MINUTES, 15), period.start % MINUTES, (period.end - 1) % MINUTES]
    return [(day, minute) for day in range(7) for minute in minutes if period.holds(day, minute)]
