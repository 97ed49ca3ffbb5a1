"""A value that satisfies a JSON schema: the arguments of a simulated tool call, and answers under `response_format`.

Covers what SDKs generate from typed classes (objects, arrays, enums, unions, `$ref`, bounds, common formats); a keyword
that it does not know is ignored.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

__all__ = ["sample"]

Json: TypeAlias = Any
"""Whatever a JSON text may hold."""
_DEPTH: Final = 12
"""Recursive schemas end here; optional properties and items are left out before."""
_FORMATS: Final = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "12:00:00Z",
    "email": "mock@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


def sample(schema: Json, text: str = "mock", root: Json = None, depth: int = 0) -> Json:
    """Make a value for `schema`; free strings become `text`."""
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > _DEPTH:
        return text
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return sample(_resolve(reference, root), text, root, depth + 1)
    for union in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(union), list) and schema[union]:
            return sample(_shallowest(schema[union], depth), text, root, depth + 1)
    return _typed(schema, text, root, depth)


def _typed(schema: dict[str, Any], text: str, root: Json, depth: int) -> Json:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if kind == "object":
        return _object(schema, text, root, depth)
    if kind == "array":
        count = max(int(schema.get("minItems", 0)), 1 if depth < _DEPTH // 2 else 0)
        return [sample(schema.get("items", {}), text, root, depth + 1) for _ in range(count)]
    if kind in ("integer", "number"):
        return _number(schema, kind)
    if kind == "boolean":
        return True
    return None if kind == "null" else _string(schema, text)


def _object(schema: dict[str, Any], text: str, root: Json, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = schema.get("required", list(properties))
    wanted = properties if depth < _DEPTH // 2 else {name: properties.get(name, {}) for name in required}
    return {name: sample(inner, text, root, depth + 1) for name, inner in wanted.items()}


def _number(schema: dict[str, Any], kind: str) -> float:
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", schema.get("exclusiveMinimum", -step if schema.get("maximum", 1) < 1 else 0))
    if "exclusiveMinimum" in schema and low == schema["exclusiveMinimum"]:
        low += step
    if "maximum" in schema and "minimum" not in schema and "exclusiveMinimum" not in schema:
        low = min(1, schema["maximum"])
    return int(low) if kind == "integer" else float(low)


def _string(schema: dict[str, Any], text: str) -> str:
    value = str(_FORMATS.get(schema.get("format", ""), text))
    value = value.ljust(int(schema.get("minLength", 0)), "x")
    return value[: schema["maxLength"]] if "maxLength" in schema else value


def _shallowest(options: list[Any], depth: int) -> Json:
    if depth >= _DEPTH // 2:  # a recursive type ends by its null or plain branch
        for option in options:
            if isinstance(option, dict) and option.get("type") not in (None, "object", "array"):
                return option
    return options[0]


def _resolve(reference: str, root: Json) -> Json:
    value = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            value = value.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(value, dict) else {}
    return value
