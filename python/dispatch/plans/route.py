"""`route`: one plan of several, by what a request is.

Signals are read once, in the core; what the board says of the candidates is read with them; the choice is a pure function of both
(`choices`), and stands in the request's record with all that it was made of.

Privacy fails closed: a request whose text cannot be read, or of which a step of this plan failed, is never sent anywhere but to the private
plan, where there is one.
"""

from __future__ import annotations

from functools import partial
from random import getrandbits
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.decisions import Step
from dispatch.errors import DispatchError
from dispatch.plans import choices
from dispatch.plans.asked import Asked
from dispatch.plans.learning import Learning
from dispatch.plans.similar import Similar
from dispatch.routing import Judge, Signals, read_router
from dispatch.wire.http1 import Scan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dispatch.config import Route as Config
    from dispatch.decisions import Candidate
    from dispatch.exchange import Call
    from dispatch.plans.base import Failed, Site, Start
    from dispatch.plans.choices import Choice
    from dispatch.plans.live import Facts

__all__ = ["Route", "body_of", "build"]

_TRUE = frozenset(("true", "1", "yes"))
_NOTHING: dict[str, Any] = {}
"""Of the board, where a choice reads nothing of it."""


class Route:
    """See the module.

    Attributes:
        config: as configured.
        learning: what feedback and budget have taught it, of `by: learned`.
        made_ns: when it was built, on the monotonic clock.
    """

    def __init__(self, config: Config, parts: Sequence[Start], site: Site) -> None:
        self.config = config
        self.made_ns = monotonic_ns()
        self._parts = parts
        self._site = site
        router = read_router(config.router) if config.router else None
        learned = router if config.by == "learned" else None
        wanted = {condition.name for rule in config.rules for condition in rule}
        topic = router if config.by == "classifier" or "topic" in wanted else None
        if config.private >= 0:
            wanted.add("personal")
        difficulty = read_router("") if "difficulty" in wanted else None
        rules = [[msgspec.structs.astuple(condition) for condition in rule] for rule in config.rules]
        is_static = config.embedder is not None and bool(config.embedder.folder)
        self._judge = judge = Judge(sorted(wanted), rules, difficulty, topic, learned, () if is_static else config.utterances)
        self._read = Similar(judge, config, f"models.{site.model}.{site.path}.embedder").read if is_static else judge.read
        self._asked = Asked(config, parts, site, self._record) if config.embed >= 0 else None
        self._weighed = choices.Weighed(config, [learned.models.index(label) for label in config.labels]) if learned is not None else None
        self._pick = self._picking(judge)
        self._candidates = [site.pools[place] for place in config.places] if config.by in {"profile", "learned"} else []
        self.learning = Learning(config, site) if config.by == "learned" else None
        self._facts: list[Facts] = []
        self._state: dict[str, Any] = {}
        self._known: dict[str, Any] = {}

    def _picking(self, judge: Judge) -> Callable[[Signals, dict[str, Any]], Choice]:
        """What chooses, by the kind of the route."""
        config = self.config
        if self._weighed is not None:
            return self._weighed.choose
        if config.by == "rules":
            return partial(choices.by_rules, config, judge)
        by = {"classifier": choices.by_class, "semantic": choices.by_similarity, "profile": choices.by_profile}[config.by]
        return partial(by, config)

    def run(self, call: Call, failed: Failed) -> None:
        """Choose, and start what was chosen."""
        if self._asked is not None and self._ask(self._asked, call, failed):
            return
        try:
            place = self._decide(call)
        except DispatchError as error:
            failed(call, error)
            return
        self._parts[place](call, failed)

    def _ask(self, asked: Asked, call: Call, failed: Failed) -> bool:
        """Have the embedder asked first. False: it has nothing to say, or must not be told."""
        body = body_of(call)
        signals = self._read(body, _declared(call))
        is_private = self.config.private >= 0 and self._private_kinds(signals)
        return not is_private and asked.run(call, failed, body, signals)

    def _decide(self, call: Call) -> int:
        return self._record(call, self._read(body_of(call), _declared(call)), self._board(monotonic_ns()) if self._candidates else _NOTHING)

    def _record(self, call: Call, signals: Signals, board: dict[str, Any]) -> int:
        seed = getrandbits(64)
        place, why, seen = self.choose(signals, board, seed)
        if self.learning is not None:
            self.learning.chose(call, place, signals, board)
        self._site.decisions.of(call).steps.append(self._step(place, why, seed, signals, board, seen))
        return place

    def _step(self, place: int, why: str, seed: int, signals: Signals, board: dict[str, Any], seen: list[Candidate] | list[float]) -> Step:
        config = self.config
        step = Step(self._site.path, "route", config.by, config.names[place], why, seed, signals, board)
        if self._weighed is None:
            step.candidates = seen  # type: ignore[assignment]  # only a learned route has worths
        elif seen:
            step.worth, step.names = seen, config.labels  # type: ignore[assignment]  # as above
        return step

    def _board(self, now_ns: int) -> dict[str, Any]:
        """What a choice reads of the board: the same object until something has changed, so that records share it."""
        facts = self._site.live.of(self._candidates, now_ns)
        state = self.learning.state(now_ns) if self.learning is not None else _NOTHING
        if facts is not self._facts or state is not self._state:
            if facts is not self._facts:
                self._facts = facts
                shown = [msgspec.structs.asdict(fact) for fact in facts]
            else:
                shown = self._known["candidates"]
            self._state = state
            self._known = {"candidates": shown, **state}
        return self._known

    def choose(self, signals: Signals, board: dict[str, Any], seed: int) -> Choice:
        """Choose a part. The same arguments give the same choice.

        Raises:
            BadRequest: the client prefers what there is not.
        """
        del seed  # No choice is left to chance so far; it is recorded for those that will be.
        config = self.config
        if config.private >= 0 and (kinds := self._private_kinds(signals)):
            return config.private, f"private: {kinds}", []
        place, why, seen = self._pick(signals, board)
        if place >= 0:
            return place, why, seen
        return max(config.default, 0), f"{why}, so the default", seen

    def _private_kinds(self, signals: Signals) -> str:
        """Why a request is private; empty if it is not."""
        if not signals.is_read:
            return "it cannot be read"
        if any(name == "private" and said.lower() in _TRUE for name, said in signals.declared):
            return "marked"
        kinds = self.config.personal
        return ", ".join(kind for kind in signals.personal if not kinds or kind in kinds)

    def is_private(self, call: Call) -> bool:
        """Whether this route would keep a request private."""
        return self.config.private >= 0 and bool(self._private_kinds(self._judge.read(body_of(call), call.root.declared)))

    @property
    def embedded(self) -> bool:
        """Whether vectors choose: not before the utterances have theirs."""
        return self._asked.is_ready if self._asked is not None else self._read != self._judge.read

    @property
    def taught(self) -> tuple[dict[str, float], dict[str, float], float] | None:
        """Drift and weight of the feedback by candidate, and the price of cost; None for a route that is not taught."""
        learning = self.learning
        return None if learning is None else (learning.drift, learning.feedback, learning.price)

    def replay(self, step: Step) -> bool:
        """Make a recorded choice again. Whether all of it is the same, to the last bit."""
        place, why, seen = self.choose(Signals.recorded(step.signals), step.board, step.seed)
        return (self.config.names[place], why, seen) == (step.chosen, step.why, step.worth or step.candidates)

    def explain(self, body: bytes, declared: list[tuple[str, str]]) -> Step:
        """Choose for a body without sending it. Raises `BadRequest`."""
        signals = self._read(body, declared)
        board = self._board(monotonic_ns()) if self._candidates else _NOTHING
        place, why, seen = self.choose(signals, board, 0)
        return self._step(place, why, 0, signals, board, seen)


def _declared(call: Call) -> Sequence[tuple[str, str]]:
    """What the client says; and what was found out of the whole request, where this is a piece of it."""
    said = call.root.declared
    return [*said, ("private", "true")] if call.is_private else said


def body_of(call: Call) -> bytes:
    """The JSON of a call's body; empty where there is none to read."""
    body = call.body
    if body is None:
        return b""
    if isinstance(body, Scan):
        return body.body(b"", False)  # positional in the core
    return body.compose(b"", b"", False).partition(b"\r\n\r\n")[2]


def build(plan: Config, parts: Sequence[Start], site: Site) -> Route:
    """Join a route with its parts."""
    route = Route(plan, parts, site)
    site.routes[f"{site.model} {site.path}"] = site.replayed[f"{site.model} {site.path}"] = route
    return route
