"""`cascade`: a small model first, and a larger one where its answer is not sure, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from dispatch.config import plans
from dispatch.config.decode import decode, join, shown
from dispatch.config.plans.asking import Budget, Compare, budget_of, check_keys
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from dispatch.config.plans.builder import Builder

__all__ = ["HAND_ON", "Cascade", "Doubt", "Verify", "build"]

HAND_ON = (
    "Check the answer above. Correct whatever is wrong or missing, and give the whole corrected answer in the same form, nothing else."
)
VERIFY = """A question and an answer to it follow. Is the answer right and complete? Say first YES or NO, nothing else.

Question:
{question}

Answer:
{answer}"""


class Verify(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What judges an answer. What it does not accept goes to the next step. With several, all must accept it."""

    regex: str | None = None
    """Is to be found in the answer's text; `^` and `$` stand at the ends of lines. The syntax is Rust's (https://docs.rs/regex/#syntax):
    Python's without look-around and references to groups, so that no text can keep the search busy for long."""
    schema: dict[str, Any] | None = None
    """The text is JSON that fits this JSON Schema; needs `dispatch-llm[schema]`."""
    function: str | None = None
    """`module:name` of a Python function of the question's and the answer's text that returns whether it will do. A plain one runs in a
    thread, one that is `async` as a task. An answer about which it raises, or does not return in time, is in doubt."""
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 10.0
    """What `function` may take, within the request's deadline and the plan's `budget`. A coroutine is then cancelled; a thread cannot be:
    what it returns late is dropped, and until it returns it keeps one of 32 places that its function has in a worker."""
    prompt: str = ""
    """Asked of `plan`, with `{question}` and `{answer}` in it; the answer is accepted if the reply begins with yes. Left out: ours."""


class Doubt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an answer is not sure enough."""

    logprob_below: Annotated[float, Meta(le=0)] | None = None
    """Mean log probability of its tokens, nats. An answer that does not tell them is not sure."""
    samples: Annotated[int, Meta(ge=1, le=32)] = 1
    """Ask so many times at `temperature`, and take the most frequent answer."""
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7
    """Of samples."""
    agreement: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Least share of answers that must agree, where a step has several plans or samples."""
    compare: Compare = "text"
    """What must be the same: the `text`, case and marks aside; the letter of a `choice`; the last `number`; the last `line`; `json`."""
    refusal: bool = True
    """A refused or filtered answer is not sure."""
    cut: bool = True
    """Nor is one that was cut at its token limit."""
    verify: Verify | None = None
    """What judges an answer."""


class Cascade(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="plan", tag="cascade"):
    """Steps in order: the next one is asked when the answer of the one before is in doubt, or there is none. The last one's is taken."""

    steps: tuple[tuple[plans.Plan, ...], ...]
    """Of each step the plans, which are asked at once: they must agree."""
    escalate_if: Doubt = Doubt()
    """When an answer is not sure enough."""
    verifier: plans.Plan | None = None
    """Under `escalate_if.verify.plan`."""
    hand_on: str | None = None
    """What the next step is asked to do with the doubtful answer, which it sees as a turn before."""
    budget: Budget | None = None
    """What it may spend on a request."""

    @property
    def parts(self) -> tuple[plans.Plan, ...]:
        """The plans of all steps, and the verifier."""
        inner = tuple(part for step in self.steps for part in step)
        return inner if self.verifier is None else (*inner, self.verifier)

    def is_end(self, place: int) -> bool:
        """Whether nothing is asked after that part."""
        first = sum(len(step) for step in self.steps[:-1])
        return place >= first


def build(builder: Builder, form: object, path: str) -> Cascade:
    """Build the steps. Raises `ConfigError`."""
    found = check_keys(form, ("steps", "escalate_if", "hand_on", "budget"), path)
    written = found.get("steps")
    if not isinstance(written, list) or len(written) < 2:
        raise ConfigError(join(path, "steps"), f"found {shown(written)}, expected a list of at least two steps")
    steps = tuple(_step(builder, one, f"{path}.steps[{place}]") for place, one in enumerate(written))
    if len(steps[-1]) > 1:
        raise ConfigError(f"{path}.steps[{len(steps) - 1}]", "found several plans, expected one: nothing follows the last step")
    doubt, verifier = _doubt(builder, found.get("escalate_if", {}), join(path, "escalate_if"))
    if doubt.samples == 1 and all(len(step) == 1 for step in steps):
        for key in ("agreement", "compare"):
            if key in found.get("escalate_if", {}):
                raise ConfigError(f"{path}.escalate_if.{key}", "nothing is compared: no step has several plans, and `samples` is 1")
    return Cascade(
        steps=steps, escalate_if=doubt, verifier=verifier, hand_on=_hand_on(found, join(path, "hand_on")), budget=budget_of(found, path)
    )


def _step(builder: Builder, form: object, path: str) -> tuple[plans.Plan, ...]:
    if not isinstance(form, list):
        return (builder.plan(form, path),)
    if not form:
        raise ConfigError(path, "found an empty list, expected plans")
    return tuple(builder.plan(one, f"{path}[{place}]") for place, one in enumerate(form))


def _doubt(builder: Builder, form: object, path: str) -> tuple[Doubt, plans.Plan | None]:
    if not isinstance(form, dict) or not isinstance(form.get("verify", {}), dict):
        return decode(form, Doubt, path), None
    verify = dict(form.get("verify", {}))
    plan = verify.pop("plan", None)
    doubt = decode({**form, "verify": verify} if "verify" in form else form, Doubt, path)
    here = join(path, "verify")
    if doubt.verify is None:
        return doubt, None
    given = doubt.verify
    if plan is None and given.regex is None and given.schema is None and given.function is None:
        raise ConfigError(here, "found nothing that verifies, expected regex, schema, function or plan")
    if plan is None and given.prompt:
        raise ConfigError(join(here, "prompt"), "only `plan` is asked in words")
    if plan is None:
        return doubt, None
    asked = msgspec.structs.replace(given, prompt=given.prompt or VERIFY)
    for field in ("{question}", "{answer}"):
        if field not in asked.prompt:
            raise ConfigError(join(here, "prompt"), f"{field} is not in it")
    return msgspec.structs.replace(doubt, verify=asked), builder.plan(plan, join(here, "plan"))


def _hand_on(form: dict[str, Any], path: str) -> str | None:
    found = form.get("hand_on", False)
    if found is True:
        return HAND_ON
    if found is False:
        return None
    return decode(found, _Words, path)


_Words = Annotated[str, Meta(min_length=1)]
