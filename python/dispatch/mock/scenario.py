"""How the mock behaves: one `Behaviour` for each request, merged from defaults, model, key and rules.

```yaml
seed: 7
defaults: {first_token_s: "lognormal:0.3,0.5", tokens_per_s: 80, output_tokens: "lognormal:120,0.8"}
models:
  fast: {first_token_s: 0.02}
  "gpt-*": {errors: {429: 0.01, 500: 0.005}, retry_after_s: 2}
keys:
  sk-small: {limits: {requests_per_min: 60, tokens_per_min: 20000, enforce: sliding_60s}}
rules:
  - {model: "gpt-*", key: "sk-a*", from_s: 10, to_s: 20, set: {faults: {hang_before_head: 0.5}}}
  - {model: "gpt-*", from_request: 3, to_request: 5, set: {faults: {rate_limit: 1}}}   # the fourth and the fifth
connections:
  - {fault: refuse, from_s: 30, to_s: 35}
```

Later wins: defaults, then models and keys in file order, then rules in file order. Names are shell patterns.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from dispatch.distribution import Distribution
from dispatch.errors import ConfigError
from dispatch.mock.faults import Fault
from dispatch.mock.limits import Limits

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PROFILES", "Behaviour", "Rule", "Scenario", "Trouble", "build", "load"]

Rate = Annotated[float, Meta(ge=0, le=1)]
_ZERO: Final = Distribution("constant", 0.0)


class Behaviour(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one request is answered."""

    first_token_s: Distribution = _ZERO
    """From the whole request to the first event; without a stream, part of the answer's time."""
    tokens_per_s: Distribution = _ZERO
    """Drawn once per answer; 0: without pauses."""
    gap_s: Distribution | None = None
    """Drawn for each event, instead of `tokens_per_s`."""
    output_tokens: Distribution = Distribution("constant", 16.0)
    """Cut by the request's own maximum, which then is the finish reason `length`."""
    chunk_tokens: Annotated[int, Meta(ge=1)] = 1
    """Tokens in one event."""
    early_head: bool = False
    """Send status and headers at once, as vLLM does, instead of with the first event."""
    reply: str | None = None
    """The answer's text, word for word."""
    echo: bool = False
    """Answer with the last user message."""
    logprob: Annotated[float, Meta(le=0)] = -0.1
    """Of each token of a chat's text, nats, where the request asks for `logprobs`; the mean is the same."""
    tool_calls: Literal["auto", "asked", "never"] = "auto"
    """`auto`: call the first tool unless the last message is a tool's result; `asked`: only if `tool_choice` demands it."""
    errors: dict[int, Rate] = {}
    """Share of requests answered by this status."""
    faults: dict[Fault, Rate] = {}
    """Share of requests that suffer this fault."""
    script: list[int | str] = []
    """Outcomes of the first requests of a model and key, in order: a status, a fault's name or `ok`; then chance."""
    retry_after_s: float | None = None
    """Told with asked-for errors 429 and 5xx."""
    error_code: str | None = None
    """`code` of asked-for errors, such as `insufficient_quota`."""
    fault_after: Rate = 0.5
    """Share of the output that goes out before a fault in the middle."""
    slow_factor: Annotated[float, Meta(ge=1)] = 10.0
    stall_s: Annotated[float, Meta(ge=0)] = 5.0
    """Silence of the fault `stall`."""
    chars_per_s: Annotated[float, Meta(gt=0)] = 10.0
    """Speed of the fault `trickle`."""
    huge_bytes: Annotated[int, Meta(ge=1, le=1 << 30)] = 80 * 1024 * 1024
    """Length of the fault `huge_answer`: above the sidecar's `max_answer_bytes`."""
    limits: Limits | None = None
    cached_share: Rate = 0.0
    """Share of the prompt that `usage` reports as cached."""
    dimensions: Annotated[int, Meta(ge=1, le=8192)] = 1536
    """Length of an embedding unless the request says."""

    def __post_init__(self) -> None:
        if sum(self.errors.values()) + sum(self.faults.values()) > 1 + 1e-9:
            raise ValueError("rates of `errors` and `faults` sum to more than 1")
        if any(not 300 <= status <= 599 for status in self.errors):
            raise ValueError("statuses of `errors` are 300 to 599")
        for step in self.script:
            outcome_of(step)


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A patch for the requests that match all of its conditions."""

    model: str = "*"
    key: str = "*"
    path: str = "*"
    from_s: float = 0.0
    """Since the start of the mock."""
    to_s: float = float("inf")
    from_request: Annotated[int, Meta(ge=0)] = 0
    """Of the requests that match the conditions above, the first one for which the patch holds; they are counted from 0."""
    to_request: Annotated[int, Meta(ge=0)] | None = None
    """The first one for which it does not hold any more."""
    set: dict[str, Any]

    @property
    def is_counted(self) -> bool:
        """Whether it holds for some requests by their number."""
        return self.from_request > 0 or self.to_request is not None


class Trouble(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What befalls connections before there is a request, hence whatever their model and key."""

    fault: Literal["refuse", "reset", "slow_handshake"]
    """`refuse`: nobody listens; `reset`: RST once it is accepted; `slow_handshake`: neither TLS nor a request is read for `delay_s`."""
    from_s: Annotated[float, Meta(ge=0)] = 0.0
    """Since the start of the mock."""
    to_s: float = float("inf")
    rate: Rate = 1.0
    """Share of connections; `refuse` concerns all."""
    delay_s: Annotated[float, Meta(ge=0)] = 5.0


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that the mock does."""

    seed: int = 0
    defaults: dict[str, Any] = {}
    models: dict[str, dict[str, Any]] = {}
    keys: dict[str, dict[str, Any]] = {}
    rules: list[Rule] = []
    connections: list[Trouble] = []
    accept_keys: list[str] = []
    """If any: other credentials get 401."""
    only_models: bool = False
    """Models that no entry of `models` matches get 404."""

    def patches(self) -> list[Rule]:
        """Give all patches in the order in which they apply."""
        models = [Rule(model=name, set=patch) for name, patch in self.models.items()]
        keys = [Rule(key=name, set=patch) for name, patch in self.keys.items()]
        return [Rule(set=self.defaults), *models, *keys, *self.rules]

    def knows(self, model: str) -> bool:
        """Tell whether the model may be asked for."""
        return not self.only_models or any(fnmatchcase(model, name) for name in self.models)


PROFILES: Final[dict[str, dict[str, Any]]] = {
    "instant": {},
    "hosted": {"first_token_s": "lognormal:0.35,0.5", "tokens_per_s": "lognormal:80,0.3", "output_tokens": "lognormal:200,0.8"},
    "local": {"first_token_s": "lognormal:0.08,0.4", "tokens_per_s": "lognormal:35,0.1", "output_tokens": "lognormal:200,0.8"},
}
"""Defaults to start from: no time at all; a hosted API; one's own GPU. Shapes, not measurements of anybody's service."""


def outcome_of(step: int | str) -> int | Fault | None:
    """Read one step of a script: a status, a fault, or None for a healthy answer.

    Raises:
        ValueError: it is none of them.
    """
    if step == "ok":
        return None
    if isinstance(step, int) or step.isdigit():
        return int(step)
    try:
        return Fault(step)
    except ValueError:
        raise ValueError(f"unknown outcome {step!r}; a status, `ok` or one of: {', '.join(Fault)}") from None


def _hook(kind: type, value: object) -> object:
    if kind is Distribution:
        return Distribution.parse(value)
    raise NotImplementedError(kind)


def _located(error: msgspec.ValidationError) -> tuple[str, str]:
    """Split msgspec's text, ``REASON - at `$.PATH` `` or ``... - at `key` in `$.PATH` ``."""
    reason, _, place = str(error).partition(" - at ")
    return reason, place.rpartition("$")[2].removesuffix("`")


def merge(patches: list[dict[str, Any]], where: str) -> Behaviour:
    """Merge patches, the last wins, into a behaviour.

    Raises:
        ConfigError: an unknown field or a bad value, at `where`.
    """
    merged: dict[str, Any] = {}
    for patch in patches:
        merged.update(patch)
    try:
        return msgspec.convert(merged, Behaviour, strict=False, dec_hook=_hook)
    except msgspec.ValidationError as error:
        reason, path = _located(error)
        raise ConfigError(where + path, reason) from None


def build(source: object) -> Scenario:
    """Check a scenario given as plain data.

    Raises:
        ConfigError: with the path of what is wrong.
    """
    try:
        scenario = msgspec.convert(source if source is not None else {}, Scenario, strict=False)
    except msgspec.ValidationError as error:
        reason, path = _located(error)
        raise ConfigError(path.removeprefix("."), reason) from None
    places = [
        ("defaults", scenario.defaults),
        *((f"models.{name}", patch) for name, patch in scenario.models.items()),
        *((f"keys.{name}", patch) for name, patch in scenario.keys.items()),
        *((f"rules[{index}].set", rule.set) for index, rule in enumerate(scenario.rules)),
    ]
    for where, patch in places:
        merge([patch], where)
    return scenario


def load(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ConfigError: it cannot be read, is not YAML, or is wrong at a path.
    """
    try:
        return build(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError("", f"cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError("", f"{path} is not YAML: {error}") from error
