"""Read a configuration file into plain data: YAML, TOML or JSON, by its suffix.

YAML is read by the core schema of YAML 1.2, not by PyYAML's 1.1: `no` and `on` are text, `2024-10-21` (an API version) is not a date,
`0755` is not octal and `1:30` is not ninety. A key that appears twice is refused everywhere; in all three formats the last one would
silently win (or, in TOML, is an error already).
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from typing import TYPE_CHECKING, Any

import yaml

from dispatch.config.decode import join, shown
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["parse", "read"]

_DEPTH_MAX = 32
_NODES_MAX = 1_000_000
"""Anchors multiply; 10,000 endpoints with 20 keys are 200,000."""


def read(path: Path) -> dict[str, Any]:
    """Read a file.

    Raises:
        ConfigError: it cannot be read, its format is unknown, or it is not well formed.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError("", f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError("", f"{path} is not UTF-8: byte {error.start}") from None
    try:
        return parse(text, path.suffix)
    except ConfigError as error:
        # A file that is not well formed has no path inside; say which file it is.
        raise error if error.path else ConfigError("", f"{path}: {error.reason}") from None


def parse(text: str, suffix: str) -> dict[str, Any]:
    """Parse a configuration.

    Args:
        text: the file's text.
        suffix: `.yaml`, `.yml`, `.toml` or `.json`.

    Raises:
        ConfigError: the format is unknown or the text not well formed.
    """
    raw = _decode(text, suffix.lower())
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError("", f"found {shown(raw)}, expected a mapping with the keys server, endpoints, models, ...")
    _Shape().check(raw, "", 0)
    # `endpoints:` with nothing below it is an empty section, not a wrong one.
    return {key: value for key, value in raw.items() if value is not None}


def _decode(text: str, suffix: str) -> object:
    try:
        if suffix in (".yaml", ".yml"):
            return yaml.load(text, Loader=_Loader)  # noqa: S506  # _Loader is a SafeLoader
        if suffix == ".toml":
            return tomllib.loads(text)
        if suffix == ".json":
            return json.loads(text, object_pairs_hook=_unique)
    except yaml.MarkedYAMLError as error:
        raise ConfigError("", _yaml_reason(error)) from None
    except (yaml.YAMLError, ValueError) as error:
        # tomllib and json raise subclasses of ValueError whose text names line and column.
        raise ConfigError("", f"not valid {suffix[1:].upper()}: {error}") from None
    except RecursionError:
        raise ConfigError("", "nested too deeply") from None
    raise ConfigError("", f"unknown kind of file {suffix!r}, expected .yaml, .yml, .toml or .json")


def _yaml_reason(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}{error.problem or error.context}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} appears twice in one mapping")
        result[key] = value
    return result


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the core schema of YAML 1.2 and without repeated keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML declares it on the instance and reads it on the class

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Compose a mapping and look for repeats here, before `<<` is expanded: overriding a merged key is what `<<` is for."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            if name in seen:
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} appears twice in one mapping", key.start_mark)
            seen.add(name)
        return node

    def construct_int(self, node: yaml.ScalarNode) -> int:
        """Read an integer: decimal, 0o octal or 0x hexadecimal."""
        text = self.construct_scalar(node)
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)

    def construct_float(self, node: yaml.ScalarNode) -> float:
        """Read a float; YAML writes the special ones with a dot."""
        return float(self.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    # The empty plain scalar has no first character; PyYAML files it under "".
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), [c.strip("\0") for c in _first])
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_float)


class _Shape:
    """Holds plain data to what all three formats can say; counts what it visits."""

    def __init__(self) -> None:
        self._visited = 0

    def check(self, value: object, path: str, depth: int) -> None:
        """Refuse keys that are not text, values of other kinds, numbers that are none, and trees without end."""
        self._visited += 1
        if depth > _DEPTH_MAX or self._visited > _NODES_MAX:
            raise ConfigError(path[:200], "nested too deeply (an anchor that contains itself?)")
        match value:
            case dict():
                for key, child in value.items():
                    if not isinstance(key, str):
                        raise ConfigError(path, f"found the key {shown(key)}, expected text; put it in quotes")
                    self.check(child, join(path, key), depth + 1)
            case list():
                for place, child in enumerate(value):
                    self.check(child, f"{path}[{place}]", depth + 1)
            case float() if not math.isfinite(value):
                raise ConfigError(path, f"found {value}, expected a finite number")
            case int() if abs(value) >= 2**63:
                raise ConfigError(path, "found a number of more than 63 bits")
            case None | bool() | int() | float() | str():
                return
            case _:
                raise ConfigError(path, f"found a {type(value).__name__}, expected text, a number, a list or a mapping; put it in quotes")
