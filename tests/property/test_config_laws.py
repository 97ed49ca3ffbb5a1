"""Laws of the configuration: whatever is written, it is a `Config` or a `ConfigError`, and the error leads to its cause."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import yaml
from dispatch.config import Config, Pool, build, pools
from dispatch.config.read import parse
from dispatch.errors import ConfigError
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.sampled_from(
    [
        "server",
        "defaults",
        "keys",
        "endpoints",
        "models",
        "name",
        "provider",
        "model",
        "base_url",
        "api_key",
        "limits",
        "retry",
        "attempts",
        "strategy",
        "choices",
        "fallback",
        "hash_on",
        "a",
        "b",
        "m",
        "m*",
        "echo",
        "openai",
        "azure",
        "openai_compatible",
        "env:A",
        "http://h/v1",
        "random",
        "maglev",
        "deadline_s",
        "price",
        "input",
        "headers",
        "options",
        "port",
        "host",
        "127.0.0.1",
        "-1",
    ]
)
LEAVES = st.one_of(WORDS, st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=8), st.dates())
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.one_of(WORDS, st.integers()), inner, max_size=5)),
    max_leaves=25,
)


def outcome(text: str, suffix: str = ".yaml") -> Config | ConfigError:
    try:
        return build(parse(text, suffix))
    except ConfigError as error:
        return error


@given(st.one_of(st.text(), st.text(alphabet="ab:{}[],&*!|>-? \n\t'\"#%@`<~.0")))
def test_any_text_is_read_or_refused(text: str) -> None:
    for suffix in (".yaml", ".toml", ".json"):
        outcome(text, suffix)


@given(TREES)
def test_any_tree_is_taken_or_refused(tree: object) -> None:
    outcome(yaml.safe_dump(tree))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("server", "defaults", "keys", "endpoints", "models"), TREES)))
def test_any_sections_are_taken_or_refused(tree: dict[str, Any]) -> None:
    found = outcome(yaml.safe_dump(tree))

    if isinstance(found, Config):
        assert msgspec.json.decode(msgspec.json.encode(found), type=Config) == found


NAMES = ("a", "b", "c")
POOLS = st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(lambda names: {"endpoints": names})
PLANS = st.recursive(
    st.one_of(st.sampled_from(NAMES), st.sampled_from(["m0", "m1", "m2"]), POOLS),
    lambda plan: st.fixed_dictionaries({"fallback": st.lists(plan, min_size=1, max_size=3)}),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["m0", "m1", "m2"]), PLANS))
def test_a_finished_plan_holds_only_pools_of_endpoints(models: dict[str, object]) -> None:
    config = outcome(json.dumps({"endpoints": [{"name": name, "provider": "echo"} for name in NAMES], "models": models}), ".json")
    if isinstance(config, ConfigError):
        # Only two things can be wrong with these: a name that is nobody's, and a circle.
        assert "expected the name of an endpoint" in config.reason or "lead back" in config.reason
        return
    for model in config.models.values():
        for pool in pools(model.plan):
            assert isinstance(pool, Pool)
            assert set(pool.endpoints) <= set(NAMES)


@given(st.text(min_size=1), st.sampled_from(["headers", "base_url", "options", "api_key"]))
def test_no_text_of_a_config_ends_a_header_line(text: str, place: str) -> None:
    fields: dict[str, Any] = {"name": "e", "provider": "openai", "model": "m", "api_key": "env:A"}
    fields[place] = {"headers": {"x": text}, "options": {"organization": text}}.get(place, text)
    try:
        config = build({"endpoints": [fields]})
    except ConfigError:
        return
    from dispatch.providers.base import find_provider

    head = find_provider("openai").head(config.endpoints[0], "chat", "SECRET") or b""
    lines = head.split(b"\r\n")
    assert head.count(b"\n") == head.count(b"\r") == len(lines) - 1
    assert sum(line.startswith((b"host:", b"authorization:")) for line in lines) == 2
