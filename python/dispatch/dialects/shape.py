"""Reading JSON trees that others wrote: what has the wrong type is refused by its place, not by a stack trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from dispatch.dialects import Tree

__all__ = [
    "MalformedAnswer",
    "answer_tree",
    "expect",
    "flag",
    "integer",
    "items",
    "json_object",
    "number",
    "request_tree",
    "strings",
    "text",
]

T = TypeVar("T")

_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


class MalformedAnswer(ValueError):
    """An answer that is not what its dialect says."""


def request_tree(body: bytes) -> Tree:
    """The body of a request as a tree. It is an object: the core has validated it."""
    tree = msgspec.json.decode(body)
    if not isinstance(tree, dict):
        raise BadRequest("the body must be a JSON object", code="invalid_json")
    return tree


def answer_tree(body: bytes) -> Tree:
    """The body of an answer.

    Raises:
        MalformedAnswer: it is no JSON object.
    """
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedAnswer(f"the answer is not JSON: {error}") from None
    if not isinstance(tree, dict):
        raise MalformedAnswer("the answer is no JSON object")
    return tree


def expect(value: Any, kind: type[T], where: str) -> T:
    """`value`, if it is of that kind.

    Raises:
        BadRequest: it is not; `where` names its place.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadRequest(f"{where}: expected {_NAMES.get(kind, kind.__name__)}, found {_shown(value)}", code="invalid_request", param=where)
    return value


def text(tree: Tree, key: str, where: str = "") -> str:
    """A string member; empty if it is absent or null."""
    value = tree.get(key)
    # Before its place is put together, here and below: nearly always it is what it should be.
    if type(value) is str:
        return value
    return "" if value is None else expect(value, str, _join(where, key))


def flag(tree: Tree, key: str, where: str = "") -> bool | None:
    """A member that is true or false."""
    value = tree.get(key)
    if type(value) is bool:
        return value
    return None if value is None else expect(value, bool, _join(where, key))


def integer(tree: Tree, key: str, where: str = "") -> int | None:
    """A whole number."""
    value = tree.get(key)
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else expect(value, int, _join(where, key))


def number(tree: Tree, key: str, where: str = "") -> float | None:
    """A number."""
    value = tree.get(key)
    if value is None or (type(value) is int):
        return value
    return expect(value, float, _join(where, key))


def items(tree: Tree, key: str, where: str = "") -> list[Any]:
    """A list; empty if it is absent or null."""
    value = tree.get(key)
    if type(value) is list:
        return value
    return [] if value is None else expect(value, list, _join(where, key))


def strings(tree: Tree, key: str, where: str = "") -> list[str]:
    """A list of strings, which may be written as one string."""
    value = tree.get(key)
    if isinstance(value, str):
        return [value]
    return [expect(one, str, f"{_join(where, key)}[{at}]") for at, one in enumerate(items(tree, key, where))]


def json_object(raw: str) -> Tree:
    """The object that a model wrote as JSON; what is none is kept under `_raw`, since some targets take only objects."""
    if not raw.strip():
        return {}
    try:
        tree = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"_raw": raw}
    return tree if isinstance(tree, dict) else {"_raw": raw}


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return _NAMES.get(type(value), type(value).__name__)
