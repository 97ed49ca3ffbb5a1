"""Whether an answer is accepted: by a pattern, a schema, a function, or another model."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import msgspec

from dispatch.combine.aside import Aside
from dispatch.combine.compare import unfenced
from dispatch.combine.question import filled
from dispatch.errors import ConfigError, DispatchError
from dispatch.extensions import imported
from dispatch.routing import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatch.combine.course import Course
    from dispatch.combine.question import Question
    from dispatch.combine.reply import Reply
    from dispatch.config.plans.cascade import Verify

__all__ = ["Verifier"]

_YES = re.compile(r"\W*(yes|ja|oui|sí|true|correct)\b", re.IGNORECASE)
_VERDICT_TOKENS = 16
_SHORT = 1 << 14
"""Letters that are looked at in well below a millisecond."""
_NS = 1_000_000_000
_TOLD = 200
"""Letters of an exception that a decision's record tells."""


class Verifier:
    """See the module.

    Args:
        config: what is looked at; all of it must accept.
        part: of the plan, whose model is asked; None: none is.
        path: in the configuration, for errors.

    Raises:
        ConfigError: a pattern, schema or function that cannot be used.
    """

    __slots__ = ("_function", "_part", "_pattern", "_prompt", "_schema", "_timeout_s")

    def __init__(self, config: Verify, part: int | None, path: str) -> None:
        self._part = part
        self._prompt = config.prompt
        self._pattern = None if config.regex is None else _pattern(config.regex, f"{path}.regex")
        self._schema = None if config.schema is None else _schema(config.schema, f"{path}.schema")
        self._function = None if config.function is None else Aside(_function(config.function, f"{path}.function"), "verifier")
        self._timeout_s = config.timeout_s

    async def accepts(self, course: Course, question: Question, reply: Reply) -> bool:
        """Whether the answer will do. Raises `DispatchError`: the verifying model gives no answer."""
        text = reply.text
        if self._pattern is not None and not await _aside(text, self._pattern.is_in):
            return False
        if self._schema is not None and not await _aside(text, self._fits):
            return False
        if self._function is not None and not await self._judged(self._function, course, question, text):
            return False
        if self._part is None:
            return True
        prompt = filled(self._prompt, question=question.conversation(), answer=text)
        verdict = await course.ask(self._part, question.anew(prompt, _VERDICT_TOKENS))
        return _YES.match(verdict.text) is not None

    async def _judged(self, function: Aside, course: Course, question: Question, text: str) -> bool:
        """What the function says. One that is late or fails accepts nothing: the answer is in doubt, and the trace says why."""
        try:
            left_s = max(0, course.until_ns - monotonic_ns()) / _NS
            return bool(await function.call(min(self._timeout_s, left_s), question.conversation(), text))
        except TimeoutError:
            course.mishap("verifier_late")
        except DispatchError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a function of somebody else raises
            course.explain(f"{type(error).__name__}: {error}"[:_TOLD])
            course.mishap("verifier_failed")
        return False

    def _fits(self, text: str) -> bool:
        try:
            tree = msgspec.json.decode(unfenced(text))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        assert self._schema is not None
        return bool(self._schema(tree))


async def _aside(text: str, accepts: Callable[[str], bool]) -> bool:
    """Look at a short text at once, at a long one in a thread: other requests do not wait for it."""
    return accepts(text) if len(text) <= _SHORT else await anyio.to_thread.run_sync(accepts, text)


def _pattern(regex: str, path: str) -> Pattern:
    try:
        return Pattern(regex, by_line=True)
    except ValueError as error:
        raise ConfigError(path, f"no pattern: {error}") from None


def _schema(schema: dict[str, Any], path: str) -> Callable[[Any], bool]:
    try:
        validators = import_module("jsonschema.validators")
    except ModuleNotFoundError:
        raise ConfigError(path, "needs the package `jsonschema`: install dispatch-llm[schema]") from None
    kind = validators.validator_for(schema)
    try:
        kind.check_schema(schema)
        for pattern in _patterns(schema):
            _sought(pattern)
    except import_module("jsonschema.exceptions").SchemaError as error:
        raise ConfigError(path, f"no JSON Schema: {error.message}") from None
    except ValueError as error:
        raise ConfigError(path, f"a pattern that cannot be used: {error}") from None
    check: Callable[[Any], bool] = validators.extend(kind, {"pattern": _keyword})(schema).is_valid
    return check


def _patterns(tree: object) -> Iterator[str]:
    """Yield the patterns of a schema. Raises `ValueError` for names that are patterns: they would be sought without a bound on time."""
    if isinstance(tree, dict):
        if tree.get("patternProperties"):
            raise ValueError("patternProperties is not taken")
        if isinstance(tree.get("pattern"), str):
            yield tree["pattern"]
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _patterns(value)


@cache
def _sought(pattern: str) -> Pattern:
    return Pattern(pattern, by_line=False)


def _keyword(validator: object, pattern: str, instance: object, schema: object) -> Iterator[Exception]:
    """The keyword `pattern`, in the time that the text takes; jsonschema's own goes back in it."""
    del validator, schema
    if isinstance(instance, str) and not _sought(pattern).is_in(instance):
        yield import_module("jsonschema.exceptions").ValidationError(f"{pattern!r} is not in it")


def _function(name: str, path: str) -> Callable[[str, str], object]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(imported(module), attribute)
    except Exception as error:  # what a module of somebody else raises when it is imported
        raise ConfigError(path, f"cannot load {name!r}: {error}; expected module:function") from error
    if not callable(found):
        raise ConfigError(path, f"{name!r} is no function")
    function: Callable[[str, str], object] = found
    return function
