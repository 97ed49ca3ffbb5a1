"""Where a translated request goes, and what is lost on the way there.

What the target cannot do is refused by the field's name, or left out and named in `x-dispatch-dropped` where the client or the
configuration says `drop_unsupported`. A wish that changes nothing in the answer's content (`user`, `store`, `metadata`) is
never worth a refusal: it is left out and named.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dispatch.dialects.form import Request
from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dispatch.dialects import Tree

__all__ = ["CONVERSES", "WISHES", "Losses", "Target", "Wishes"]

WISHES = frozenset(
    (
        *("store", "include", "moderation", "prediction", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "labels"),
        *("cache_control", "context_management", "container", "inference_geo", "speed", "diagnostics", "betas"),
    )
)
"""Fields of several dialects that change nothing in an answer's content."""

_OF_SERVERS = frozenset(
    (
        *("keep_alive", "truncate", "shift", "options.num_ctx", "options.num_keep", "options.num_batch", "options.num_gpu"),
        *("options.main_gpu", "options.num_thread", "options.use_mmap", "options.use_mlock", "options.numa", "options.low_vram"),
        *("options.f16_kv", "options.vocab_only"),
    )
)
"""What Ollama's clients say about the machine that it runs on. No other provider can do anything with it."""

_HINTS = frozenset(("client_metadata", "truncation", "prompt_cache_options", "max_tool_calls"))
"""Fields of the Responses API that change nothing in what any other API says."""

_OF_BEDROCK = frozenset(("performanceConfig", "additionalModelResponseFieldPaths", "anthropic_beta", "schemaVersion"))
"""What a client of Converse says of the speed, of further fields of the answer, and of one maker's models alone."""
CONVERSES = frozenset(("guardrailConfig", "guardContent", "promptVariables", *_OF_BEDROCK))
"""Fields of Converse's requests that are none of the model's own, and have no place in the form."""

_REASONS = {"n": "there is one answer to a request", "logprobs": "there are none", "modalities": "answers are text"}
_NO_FIELD = "there is no such field"


class Target(Struct, frozen=True, kw_only=True):
    """What a writer of requests must know of an endpoint."""

    provider: str
    model: str = ""
    """The name upstream; empty: as the client wrote it."""
    drops: bool = False
    """Leave out what cannot be done, instead of refusing the request."""
    default_max_tokens: int = 8192
    """For dialects that need a limit, where the request has none."""
    max_tokens_field: str = "max_tokens"
    thinking: str = "auto"
    """Anthropic: `budget` or `adaptive`; `auto` goes by the model's name."""
    takes_reasoning: bool | None = None
    """Whether it takes a reasoning effort; None: by the model's name."""
    stream_usage: bool = True
    """It takes `stream_options.include_usage`."""
    renames: tuple[tuple[str, str], ...] = ()
    """Fields that have another name there: ours, theirs."""
    version: str = ""
    """Anthropic's API at other hosts: the body says the version, and the path the model."""
    body: dict[str, Any] = {}
    """Fields that each request has there, unless it brings them."""
    unknown_ok: bool = False
    """Fields that nobody knows are passed on: servers of many makes speak this dialect."""


class Losses:
    """Collects what one translation leaves out."""

    __slots__ = ("drops", "names")

    def __init__(self, *, drops: bool) -> None:
        self.drops = drops
        self.names: list[str] = []

    def cannot(self, name: str, reason: str) -> None:
        """Say that `name` cannot be done.

        Raises:
            BadRequest: the request is refused for it.
        """
        if not self.drops:
            raise BadRequest(f"{name}: {reason}", code="unsupported_parameter", param=name)
        self.mention(name)

    def mention(self, name: str) -> None:
        """Say that a wish without consequence was left out."""
        if name not in self.names:
            self.names.append(name)

    def rest(self, extra: Tree, known: Collection[str], hints: Collection[str], who: str) -> Tree:
        """Of the fields without a place in the form, those that the target knows; the others are refused or mentioned."""
        kept = {}
        for name, value in extra.items():
            if name in known:
                kept[name] = value
            elif name in hints or name in _HINTS or name in _OF_SERVERS or name in _OF_BEDROCK:
                self.mention(name)
            elif value is not None:
                self.cannot(name, f"{who} has no such field")
        return kept


class Wishes:
    """Fields of the form for which a dialect has no words.

    Hardly a request has one of them, so they are looked at all at once.

    Args:
        cannot: those that a request is refused for.
        hints: those that change nothing in an answer's content.
        reasons: why, where it is not the usual reason.
    """

    __slots__ = ("_given", "_hints", "_names", "_reasons", "_usual")

    def __init__(self, cannot: Iterable[str], hints: Collection[str] = (), reasons: Mapping[str, str] | None = None) -> None:
        self._hints = frozenset(hints)
        self._names = (*cannot, *hints)
        self._reasons = {**_REASONS, **(reasons or {})}
        self._given = attrgetter(*self._names)
        self._usual = self._given(Request(dialect="", model="", messages=[]))

    def name(self, request: Request, losses: Losses) -> None:
        """Name those that the request has.

        Raises:
            BadRequest: it is refused for one.
        """
        given = self._given(request)
        if given == self._usual:
            return
        for name, wished in zip(self._names, given, strict=True):
            # One answer is what there is, and 0 is a seed as any other.
            if (name == "n" and wished == 1) or (not wished and (name != "seed" or wished is None)):
                continue
            if name in self._hints:
                losses.mention(name)
            else:
                losses.cannot(name, self._reasons.get(name, _NO_FIELD))
