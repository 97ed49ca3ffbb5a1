"""`ensemble`: one answer from those of several models, or from several of one, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from dispatch.config import plans
from dispatch.config.decode import decode, join, shown
from dispatch.config.plans.asking import Budget, Compare, budget_of, check_keys, plans_of
from dispatch.config.plans.profiles import profile_of, read_profiles
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from dispatch.config.plans.builder import Builder

__all__ = ["Ensemble", "Rule", "build"]

By = Literal["vote", "judge", "fuse", "mixture", "self_consistency", "mean"]

JUDGE = """A question and several answers to it follow. Which answer is best? Judge whether it is right, complete and does what was asked;
its place in the list says nothing. Say first the number of the best answer in double brackets, such as [[2]], nothing else.

Question:
{question}

{answers}"""
FUSE = """Several answers to the user's request are below. Some of it may be wrong. Weigh them against each other, and write one answer of
your own that keeps what is right and leaves out what is not. Do not speak of these answers.

{answers}"""


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the answers become one. In the configuration these keys stand beside `of`."""

    by: By = "vote"
    """`vote`: the most frequent answer; for JSON, of each field. `judge`: the best, as a model judges that sees them in two orders.
    `fuse`: a model writes one from all. `mixture`: the same after rounds in which each sees the answers of all (Wang et al. 2024,
    arXiv:2406.04692). `self_consistency`: a vote over samples of one (Wang et al. 2022, arXiv:2203.11171). `mean`: of embeddings."""
    compare: Compare = "text"
    """For votes, as in a cascade."""
    weights: tuple[Annotated[float, Meta(ge=0)], ...] | Annotated[str, Meta(pattern=r"^(logprob|profile\.\S+)$")] | None = None
    """Of each vote, in the order of `of`; `logprob`: how sure each model says that it is; `profile.accuracy`, or another axis: by the
    profiles of the endpoints. Left out: all the same."""
    profiles: str | None = None
    """For `weights` by profile: a file that `dispatch profile` wrote; what it says wins over the endpoints' `profile`, axis by axis."""
    samples: Annotated[int, Meta(ge=2, le=64)] = 5
    """For `self_consistency`."""
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7
    """For `self_consistency`."""
    layers: Annotated[int, Meta(ge=1, le=8)] = 2
    """For `mixture`: how many rounds are asked before the last model writes."""
    prompt: str = ""
    """For the judge, with `{question}` and `{answers}`; for the one who writes, instructions with `{answers}`. Left out: ours."""
    least: Annotated[int, Meta(ge=1)] = 1
    """Fewer answers than this are an error."""


class Ensemble(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="ensemble"):
    """All of `of` are asked at once, and their answers become one."""

    of: tuple[plans.Plan, ...]
    """Who is asked."""
    rule: Rule = Rule()
    """How the answers become one: its keys stand here themselves."""
    model: plans.Plan | None = None
    """The judge, or the one who writes: a plan."""
    budget: Budget | None = None
    """What it may spend on a request."""

    @property
    def parts(self) -> tuple[plans.Plan, ...]:
        """Those who are asked, and last the model that judges or writes."""
        return self.of if self.model is None else (*self.of, self.model)

    def is_end(self, place: int) -> bool:
        """Others may still answer: none waits for the last."""
        return self.model is not None and place == len(self.of)


_NEEDS_MODEL = frozenset(("judge", "fuse", "mixture"))
_ONLY: dict[str, frozenset[str]] = {
    "compare": frozenset(("vote", "self_consistency")),
    "weights": frozenset(("vote", "mean")),
    "profiles": frozenset(("vote", "mean")),
    "samples": frozenset(("self_consistency",)),
    "temperature": frozenset(("self_consistency",)),
    "layers": frozenset(("mixture",)),
    "model": _NEEDS_MODEL,
    "prompt": _NEEDS_MODEL,
}


def build(builder: Builder, form: object, path: str) -> Ensemble:
    """Build it. Raises `ConfigError`."""
    found = check_keys(form, ("of", "model", "budget", *Rule.__struct_fields__), path)
    rule = decode({key: value for key, value in found.items() if key in Rule.__struct_fields__}, Rule, path)
    of = plans_of(builder, found, "of", path, 1 if rule.by == "self_consistency" else 2)
    rule = _weighted(builder, rule, of, path)
    _check(rule, of, found, path)
    model = builder.plan(found["model"], join(path, "model")) if "model" in found else None
    return Ensemble(of=of, rule=_worded(rule, path), model=model, budget=budget_of(found, path))


def _check(rule: Rule, of: tuple[plans.Plan, ...], found: dict[str, Any], path: str) -> None:
    by = rule.by
    for key, users in _ONLY.items():
        if key in found and by not in users:
            raise ConfigError(join(path, key), f"{by} does not use it; it is for {', '.join(sorted(users))}")
    if by == "self_consistency" and len(of) > 1:
        raise ConfigError(join(path, "of"), f"found {len(of)} plans, expected one: samples are of one model")
    if by in _NEEDS_MODEL and "model" not in found:
        raise ConfigError(join(path, "model"), f"{by} needs a plan that {'judges' if by == 'judge' else 'writes'}")
    if isinstance(rule.weights, tuple):
        if len(rule.weights) != len(of):
            raise ConfigError(join(path, "weights"), f"found {len(rule.weights)}, expected one for each of the {len(of)} plans")
        if not any(rule.weights):
            raise ConfigError(join(path, "weights"), "found only zeros: nobody has a vote")
    asked = rule.samples if by == "self_consistency" else len(of)
    if rule.least > asked:
        raise ConfigError(join(path, "least"), f"found {shown(rule.least)}, but only {asked} answers are asked for")


def _weighted(builder: Builder, rule: Rule, of: tuple[plans.Plan, ...], path: str) -> Rule:
    """The rule with numbers in the place of an axis."""
    kind, _, axis = rule.weights.partition(".") if isinstance(rule.weights, str) else ("", "", "")
    if kind != "profile":
        if rule.profiles is not None:
            raise ConfigError(join(path, "profiles"), "only weights by profile use it, such as `weights: profile.accuracy`")
        return rule
    measured = read_profiles(rule.profiles, join(path, "profiles"))
    profiles = [profile_of(builder, plan, measured) for plan in of]
    without = [f"of[{place}]" for place, profile in enumerate(profiles) if axis not in profile]
    if without:
        raise ConfigError(join(path, "weights"), f"{', '.join(without)}: no endpoint has {axis!r} in its profile")
    return msgspec.structs.replace(rule, weights=tuple(profile[axis] for profile in profiles))


def _worded(rule: Rule, path: str) -> Rule:
    """The rule with its prompt, ours if it has none."""
    if rule.by not in _NEEDS_MODEL:
        return rule
    is_judge = rule.by == "judge"
    prompt = rule.prompt or (JUDGE if is_judge else FUSE)
    for word in ("{question}", "{answers}") if is_judge else ("{answers}",):
        if word not in prompt:
            raise ConfigError(join(path, "prompt"), f"{word} is not in it")
    return msgspec.structs.replace(rule, prompt=prompt)
