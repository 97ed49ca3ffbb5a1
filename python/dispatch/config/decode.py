"""Decode plain data into the structs, with errors that name the key, what was found and what is expected.

msgspec does the checking; its messages tell the place but neither the value nor the nearest key that exists. Both are looked up only
once something is wrong.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import inspect

from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["core", "decode", "join", "nearest", "shown"]

T = TypeVar("T")

_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at (?:`key` in )?`\$(?P<path>[^`]*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]|(?P<any>\[\.\.\.\])")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_WORDS = {"array": "list", "object": "mapping", "str": "text", "float": "number"}
_SHOWN_LENGTH = 24
"""Longer text is not repeated in an error: it may be a key that was put in the wrong place."""


def decode(raw: object, kind: type[T], path: str) -> T:
    """Convert `raw` to `kind`.

    Args:
        raw: plain data, as a YAML, TOML or JSON reader gives it.
        kind: a struct.
        path: where `raw` stands in the file, for errors.

    Raises:
        ConfigError: the first thing that does not fit.
    """
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise _explain(str(error), raw, kind, path) from None


def join(path: str, key: str) -> str:
    """Append a key to a path; one that could be misread is quoted."""
    key = key if re.fullmatch(r"[\w*/@:-]+", key) else repr(key)
    return f"{path}.{key}" if path else key


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name that is closest, or nothing."""
    close = difflib.get_close_matches(str(name), [str(one) for one in known], n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def shown(value: object) -> str:
    """Describe a value that was found, without repeating what may be a secret."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return repr(value) if len(value) <= _SHOWN_LENGTH else f"text of {len(value)} characters"
        case list():
            return "an empty list" if not value else "a list"
        case dict():
            return "an empty mapping" if not value else "a mapping"
        case _:
            return str(value)


def _explain(message: str, raw: object, kind: type, path: str) -> ConfigError:
    match = _MESSAGE.fullmatch(message)
    what, where = (match["what"], match["path"] or "") if match else (message, "")
    place, value, struct = _walk(where, raw, kind, path)
    if unknown := _UNKNOWN.fullmatch(what):
        return ConfigError(join(place, unknown["name"]), f"unknown key{nearest(unknown['name'], _keys(struct))}")
    if missing := _MISSING.fullmatch(what):
        return ConfigError(join(place, missing["name"]), "missing")
    if what.startswith("Invalid enum value"):
        forms = struct.types if isinstance(struct, inspect.UnionType) else (struct,)
        words = [str(word) for form in forms if isinstance(form, inspect.LiteralType) for word in form.values]
        other = next((" or a mapping" if isinstance(form, inspect.StructType) else " or a number" for form in forms[1:]), "")
        return ConfigError(place, f"found {shown(value)}, expected {'' if other else 'one of '}{', '.join(words)}{other}")
    return ConfigError(place, _expectation(what, value))


def _expectation(what: str, value: object) -> str:
    expected = what.partition(", got ")[0].replace(" | null", "")
    expected = re.sub(r"`([\w |]+)`", lambda words: " or ".join(_WORDS.get(word, word) for word in words[1].split(" | ")), expected)
    if not expected.startswith("Expected "):
        return expected
    return f"found {shown(value)}, expected {expected.removeprefix('Expected ')}"


def _walk(where: str, raw: object, kind: type, path: str) -> tuple[str, object, inspect.Type]:
    """Follow msgspec's path through the data and the types; return the full path, the value there and its type."""
    node = inspect.type_info(kind)
    for step in _STEP.finditer(where):
        node = core(node)
        if step["name"]:
            path, raw = join(path, step["name"]), raw.get(step["name"]) if isinstance(raw, dict) else None
            node = _member(node, step["name"])
        elif step["index"]:
            path, raw = f"{path}[{step['index']}]", raw[int(step["index"])] if isinstance(raw, list) else None
            node = getattr(node, "item_type", node)
        else:
            path, raw, node = _culprit(path, raw, node)
    return path, raw, core(node)


def core(node: inspect.Type) -> inspect.Type:
    """See through `X | None` and annotations; a value of more than one form stays a union."""
    while True:
        match node:
            case inspect.Metadata(inner):
                node = inner
            case inspect.UnionType(types):
                forms = [one for one in types if not isinstance(one, inspect.NoneType)]
                if len(forms) > 1:
                    return inspect.UnionType(tuple(forms))
                node = forms[0]
            case _:
                return node


def _member(node: inspect.Type, name: str) -> inspect.Type:
    fields = node.fields if isinstance(node, inspect.StructType) else ()
    return next((field.type for field in fields if field.encode_name == name), inspect.AnyType())


def _culprit(path: str, raw: object, node: inspect.Type) -> tuple[str, object, inspect.Type]:
    """Find which value of a mapping is wrong: msgspec says only that one is."""
    if isinstance(node, inspect.DictType) and isinstance(raw, dict):
        inner = core(node.value_type)
        for key, value in raw.items():
            if not _fits(value, inner):
                return join(path, key), value, inner
    return path, raw, node


def _fits(value: object, node: inspect.Type) -> bool:
    """Whether a value of a mapping is right; knows the kinds that our mappings hold."""
    if isinstance(node, inspect.StrType):
        return isinstance(value, str)
    if not isinstance(node, inspect.FloatType):
        return True
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return (node.ge is None or value >= node.ge) and (node.le is None or value <= node.le)


def _keys(node: inspect.Type) -> list[str]:
    return [field.encode_name for field in node.fields] if isinstance(node, inspect.StructType) else []
