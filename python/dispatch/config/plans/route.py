"""`route`: one plan of several, by what a request is, as data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from dispatch.config import plans
from dispatch.config.decode import decode, join, nearest, shown
from dispatch.config.plans.conditions import Condition, conditions, first_dead
from dispatch.config.plans.embedder import Embedder
from dispatch.config.plans.profiles import profile_of, read_profiles
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.config.plans.builder import Builder

__all__ = ["Route", "RouteBudget", "RouteForm", "RuleForm", "UtterancesForm", "build", "router_models"]

Weight = Annotated[float, Meta(ge=0, le=1000)]
ROUTER_MAGIC = b"dsprout\n"
ROUTER_VERSIONS = (1, 2)
"""Of the files that `dispatch train` writes (`rust/src/learn/artefact.rs`)."""


class RouteBudget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What choices may cost; one of the two."""

    dollars_per_hour: Annotated[float, Meta(gt=0)] | None = None
    """Dollars that the answers of this model may cost in an hour, over all workers, by the prices of the endpoints, which must be known."""
    strong_share: Annotated[float, Meta(gt=0, lt=1)] | None = None
    """Share of the requests that may go to the dearest candidate."""
    window_s: Annotated[float, Meta(ge=10, le=86_400)] = 600.0
    """Time over which a deviation is made good: shorter follows a change of the mix faster, longer chooses more evenly."""


class RuleForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule of `by: rules`."""

    when: dict[str, Any]
    """Signals and the values that they must have, all of them."""
    to: Any
    """The plan that is taken then."""


class UtterancesForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A route of `by: semantic`."""

    utterances: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Texts that belong there."""
    to: Any
    """The plan that is taken for texts like these."""


class RouteForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A route as it is written."""

    by: Literal["rules", "profile", "classifier", "semantic", "learned"]
    """How the choice is made."""
    rules: tuple[RuleForm, ...] = ()
    """Of `rules`: in order, the first that holds is taken."""
    among: dict[str, Any] | tuple[str, ...] = ()
    """Of `profile` and `learned`: the candidates, plans by name, or names of endpoints and models; `learned`: as the router names them."""
    prefer: dict[str, Weight] = {}
    """Of `profile`: weights of axes, where a request names none by `x-dispatch-prefer`. Axes are those of the endpoints'
    `profile`, and `cost`, `speed` and `reliability`, which are measured where no profile gives them. Left out: all axes alike."""
    profiles: str | None = None
    """Of `profile`: a file that `dispatch profile` wrote; what it says of an endpoint wins over the endpoint's `profile`, axis by axis."""
    router: str | None = None
    """Of `classifier` and `learned`: a file that `dispatch train` wrote. Of others: a classifier for the signal `topic`."""
    classes: dict[str, Any] = {}
    """Of `classifier`: the plan of each class."""
    routes: dict[str, UtterancesForm] = {}
    """Of `semantic`: routes by name."""
    embedder: Embedder | None = None
    """Of `semantic`: compares texts by what they mean. Left out: by hashed words and word pairs."""
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.15
    """Of `semantic` and `classifier`: where the best is less similar, or less likely, the default is taken. An `embedder` has its own."""
    cost_weight: Annotated[float, Meta(ge=0)] = 0.3
    """Of `learned`: expected quality that the dearest candidate's cost is worth: a cheaper one that is not worse by more is taken."""
    costs: dict[str, Annotated[float, Meta(ge=0)]] = {}
    """Of `learned`: cost of a call by candidate, in any unit; left out: by the prices of its endpoints."""
    budget: RouteBudget | None = None
    """Of `learned`: moves `cost_weight` so that the budget is kept."""
    default: Any = None
    """The plan where nothing else fits."""
    private: Any = None
    """The plan for requests that are marked private (the header `x-dispatch-private: true`, or `private` in `metadata`), that hold
    personal data, or whose text cannot be read. Its endpoints must be `offline_ok`; no other plan is asked if it has no answer."""
    personal: tuple[Literal["email", "phone", "iban", "card", "ssn", "ip"], ...] = ()
    """Kinds of personal data that `private` is for; left out: all."""


class Route(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="route"):
    """A choice among plans. Places are those of `parts`; -1: none."""

    by: str
    parts: tuple[plans.Plan, ...]
    names: tuple[str, ...]
    """What each part is called in a trace."""
    rules: tuple[tuple[Condition, ...], ...] = ()
    places: tuple[int, ...] = ()
    """The part of each rule, class, or route."""
    labels: tuple[str, ...] = ()
    """The name of each class, route or candidate."""
    utterances: tuple[tuple[str, ...], ...] = ()
    embedder: Embedder | None = None
    embed: int = -1
    """The part that gives vectors."""
    prefer: dict[str, float] = {}
    axes: tuple[str, ...] = ()
    profiles: tuple[dict[str, float], ...] = ()
    """Of each candidate."""
    costs: tuple[float, ...] = ()
    router: str = ""
    threshold: float = 0.0
    cost_weight: float = 0.0
    budget: RouteBudget | None = None
    default: int = -1
    private: int = -1
    personal: tuple[str, ...] = ()

    def is_end(self, place: int) -> bool:
        """Nothing is asked after the part that was chosen, whichever it is."""
        return 0 <= place != self.embed


class _Parts:
    """The parts of a route while it is built."""

    def __init__(self, builder: Builder, path: str) -> None:
        self._builder = builder
        self._path = path
        self.plans: list[plans.Plan] = []
        self.names: list[str] = []

    def add(self, form: object, name: str, where: str) -> int:
        """Build a part; one that is written as the same name as an earlier one is that one."""
        if isinstance(form, str) and form in self.names:
            return self.names.index(form)
        self.plans.append(self._builder.plan(form, f"{self._path}.{where}"))
        self.names.append(form if isinstance(form, str) else name)
        return len(self.plans) - 1


def build(builder: Builder, form: object, path: str) -> Route:
    """Build a route. Raises `ConfigError`: also for a rule that can never fire and a class without a plan."""
    given = decode(form, RouteForm, path)
    _check_keys(form, given.by, path)
    parts = _Parts(builder, path)
    choice = _CHOICES[given.by](builder, given, parts, path)
    default = parts.add(given.default, "default", "default") if given.default is not None else -1
    if default < 0 and given.by not in {"profile", "learned"}:
        raise ConfigError(f"{path}.default", "is missing: the plan where nothing else fits")
    private = parts.add(given.private, "private", "private") if given.private is not None else -1
    if private >= 0:
        builder.check_local(parts.plans[private], f"{path}.private")
    elif given.personal:
        raise ConfigError(f"{path}.personal", "has no meaning without `private`")
    return Route(
        by=given.by,
        parts=tuple(parts.plans),
        names=tuple(parts.names),
        router=given.router or "",
        default=default,
        private=private,
        personal=given.personal,
        **choice,
    )


_KEYS = {
    "rules": {"rules"},
    "profile": {"among", "prefer", "profiles"},
    "classifier": {"router", "classes", "threshold"},
    "semantic": {"routes", "threshold", "embedder"},
    "learned": {"router", "among", "cost_weight", "costs", "budget"},
}
_COMMON = {"by", "default", "private", "personal", "router"}


def _check_keys(form: object, by: str, path: str) -> None:
    assert isinstance(form, dict)  # noqa: S101  # it was decoded
    for key in form:
        if key not in _KEYS[by] | _COMMON:
            raise ConfigError(join(path, key), f"is not for `by: {by}`, which takes {', '.join(sorted(_KEYS[by]))}")


def _rules(_: Builder, given: RouteForm, parts: _Parts, path: str) -> dict[str, Any]:
    if not given.rules:
        raise ConfigError(f"{path}.rules", "expected at least one rule {when, to}")
    found = tuple(conditions(rule.when, f"{path}.rules[{at}].when") for at, rule in enumerate(given.rules))
    dead = first_dead(found)
    if dead is not None:
        place, others = dead
        names, verb = " or ".join(f"rules[{other}]" for other in others), "holds" if len(others) == 1 else "hold"
        raise ConfigError(f"{path}.rules[{place}]", f"can never fire: {names} {verb} wherever it does")
    for at, rule in enumerate(found):
        if any(condition.name == "similarity" for condition in rule):
            raise ConfigError(f"{path}.rules[{at}].when.similarity", "is a signal of `by: semantic`")
    if given.router is not None:
        router_models(given.router, f"{path}.router")
    places = tuple(parts.add(rule.to, f"rules[{at}]", f"rules[{at}].to") for at, rule in enumerate(given.rules))
    return {"rules": found, "places": places}


def _profile(builder: Builder, given: RouteForm, parts: _Parts, path: str) -> dict[str, Any]:
    places, labels = _candidates(given, parts, path)
    measured = read_profiles(given.profiles, f"{path}.profiles")
    profiles = tuple(profile_of(builder, parts.plans[place], measured) for place in places)
    axes = tuple(dict.fromkeys([*(axis for profile in profiles for axis in profile), *MEASURED]))
    for axis in given.prefer:
        if axis not in axes:
            raise ConfigError(join(f"{path}.prefer", axis), f"no candidate has it in its `profile`{nearest(axis, axes)}")
    return {
        "places": places,
        "labels": labels,
        "profiles": profiles,
        "axes": axes,
        "prefer": given.prefer,
        "costs": tuple(_cost_of(builder, parts.plans[place]) for place in places),
    }


MEASURED = ("cost", "speed", "reliability")
"""Axes that every candidate has."""


def _classifier(_: Builder, given: RouteForm, parts: _Parts, path: str) -> dict[str, Any]:
    known = router_models(given.router, f"{path}.router")
    for name in given.classes:
        if name not in known:
            raise ConfigError(join(f"{path}.classes", name), f"the router has no such class: {', '.join(known)}{nearest(name, known)}")
    for name in known:
        if name not in given.classes and given.default is None:
            raise ConfigError(f"{path}.classes", f"the router's class {shown(name)} has no plan, and there is no default")
    places = {name: parts.add(form, name, f"classes.{name}") for name, form in given.classes.items()}
    return {"places": tuple(places.get(name, -1) for name in known), "labels": known, "threshold": given.threshold}


def _semantic(_: Builder, given: RouteForm, parts: _Parts, path: str) -> dict[str, Any]:
    if not given.routes:
        raise ConfigError(f"{path}.routes", "expected routes by name, each {utterances, to}")
    embedder = given.embedder
    if embedder is not None and bool(embedder.folder) == (embedder.model is not None):
        raise ConfigError(f"{path}.embedder", "expected one of folder and model")
    places = tuple(parts.add(route.to, name, f"routes.{name}.to") for name, route in given.routes.items())
    return {
        "places": places,
        "labels": tuple(given.routes),
        "utterances": tuple(route.utterances for route in given.routes.values()),
        "embedder": embedder,
        "embed": -1 if embedder is None or embedder.model is None else parts.add(embedder.model, "embedder", "embedder.model"),
        "threshold": given.threshold if embedder is None or embedder.model is not None else embedder.threshold,
    }


def _learned(builder: Builder, given: RouteForm, parts: _Parts, path: str) -> dict[str, Any]:
    known = router_models(given.router, f"{path}.router")
    places, labels = _candidates(given, parts, path)
    for name in labels:
        if name not in known:
            raise ConfigError(join(f"{path}.among", name), f"the router has no such model: {', '.join(known)}{nearest(name, known)}")
    for name in given.costs:
        if name not in labels:
            raise ConfigError(join(f"{path}.costs", name), f"is no candidate{nearest(name, labels)}")
    budget = given.budget
    if budget is not None and (budget.dollars_per_hour is None) == (budget.strong_share is None):
        raise ConfigError(f"{path}.budget", "expected one of dollars_per_hour and strong_share")
    costs = tuple(given.costs.get(name, _cost_of(builder, parts.plans[place])) for name, place in zip(labels, places, strict=True))
    if not any(costs) and (given.cost_weight or budget):
        raise ConfigError(f"{path}.costs", "no candidate costs anything: give `costs`, or the endpoints a `price`")
    return {"places": places, "labels": labels, "costs": costs, "cost_weight": given.cost_weight, "budget": budget}


_CHOICES = {"rules": _rules, "profile": _profile, "classifier": _classifier, "semantic": _semantic, "learned": _learned}


def _candidates(given: RouteForm, parts: _Parts, path: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    among: Mapping[str, Any] = given.among if isinstance(given.among, dict) else {name: name for name in given.among}
    if len(among) < 2:
        raise ConfigError(f"{path}.among", "expected at least two candidates")
    places = tuple(parts.add(form, name, f"among.{name}") for name, form in among.items())
    return places, tuple(among)


def _cost_of(builder: Builder, plan: plans.Plan) -> float:
    """Dollars per million tokens, input and output together, of the dearest endpoint."""
    prices = [endpoint.price for endpoint in builder.reached(plan) if endpoint.price is not None]
    return max((price.input + price.output for price in prices), default=0.0)


def router_models(path: str | None, where: str) -> tuple[str, ...]:
    """Names in a router file, from its head. Raises `ConfigError`: no file, no router, or one of another version."""
    if path is None:
        raise ConfigError(where, "is missing: a file that `dispatch train` wrote")
    try:
        with Path(path).open("rb") as file:
            head = file.read(65_536)
    except OSError as error:
        raise ConfigError(where, f"cannot read {path}: {error.strerror}") from None
    if not head.startswith(ROUTER_MAGIC):
        raise ConfigError(where, f"{path} is no router of `dispatch train`")
    numbers = [int.from_bytes(head[at : at + 4], "little") for at in (8, 12)]
    if numbers[0] not in ROUTER_VERSIONS:
        raise ConfigError(where, f"{path} is of version {numbers[0]}, expected {ROUTER_VERSIONS[-1]}: train it again")
    names, at = [], 16
    for _ in range(min(numbers[1], 256)):
        length = int.from_bytes(head[at : at + 4], "little")
        names.append(head[at + 4 : at + 4 + length].decode("utf-8", "replace"))
        at += 4 + length
    return tuple(names)
