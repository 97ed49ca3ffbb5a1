"""`chain`: steps that use what the steps before them said, as data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from dispatch.config import plans
from dispatch.config.decode import decode, join, shown
from dispatch.config.plans.asking import Budget, budget_of, check_keys
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

    from dispatch.config.plans.builder import Builder

__all__ = ["Chain", "Words", "build"]

WORDS = ("input", "conversation", "last")
"""What every template may use: the text of the user's last message, all that was said, and what the step before said."""

_PLACE = re.compile(r"\{(\w+)\}")
_NAME = re.compile(r"[A-Za-z_]\w*")


class Words(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a step is asked: the client's request with other words.

    Templates hold `{input}`, `{conversation}`, `{last}`, and what earlier steps said under their names.
    """

    prompt: Annotated[str, Meta(min_length=1)] | None = None
    """In the place of the user's last message; what else that holds, such as images, stays."""
    system: Annotated[str, Meta(min_length=1)] | None = None
    """Before the client's own instructions."""
    name: str = ""
    """Under which later templates find what this step says."""


class Chain(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="chain"):
    """Steps in order. The last one's answer is the client's; if a step fails, the request fails."""

    steps: tuple[plans.Plan, ...]
    """The plan of each, under `plan`."""
    words: tuple[Words, ...]
    """What each is asked: its keys stand beside `plan`."""
    budget: Budget | None = None
    """What it may spend on a request."""

    @property
    def parts(self) -> tuple[plans.Plan, ...]:
        """The plans of the steps."""
        return self.steps

    def is_end(self, place: int) -> bool:
        """Nothing is asked after any step that failed."""
        return place >= 0


def build(builder: Builder, form: object, path: str) -> Chain:
    """Build the steps. Raises `ConfigError`."""
    found = check_keys(form, ("steps", "budget"), path)
    written = found.get("steps")
    if not isinstance(written, list) or len(written) < 2:
        raise ConfigError(join(path, "steps"), f"found {shown(written)}, expected a list of at least two steps")
    steps, words, names = [], [], [*WORDS]
    for place, one in enumerate(written):
        here = f"{path}.steps[{place}]"
        step = check_keys(one, ("plan", *Words.__struct_fields__), here)
        if "plan" not in step:
            raise ConfigError(join(here, "plan"), "missing")
        said = decode({key: value for key, value in step.items() if key != "plan"}, Words, here)
        _check(said, names, here)
        if said.name:
            names.append(said.name)
        words.append(said)
        steps.append(builder.plan(step["plan"], join(here, "plan")))
    return Chain(steps=tuple(steps), words=tuple(words), budget=budget_of(found, path))


def _check(words: Words, names: Collection[str], path: str) -> None:
    if words.name and (words.name in names or not _NAME.fullmatch(words.name)):
        raise ConfigError(join(path, "name"), f"found {shown(words.name)}, expected a word that is not taken; taken are {', '.join(names)}")
    for key in ("prompt", "system"):
        for used in _PLACE.findall(getattr(words, key) or ""):
            if used not in names:
                raise ConfigError(join(path, key), f"{{{used}}} is not known here; there is {', '.join(f'{{{name}}}' for name in names)}")
