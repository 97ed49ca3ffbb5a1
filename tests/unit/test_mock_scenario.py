"""Distributions, scenario files, and which behaviour applies to whom."""

from __future__ import annotations

import statistics
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.distribution import Distribution
from dispatch.errors import ConfigError
from dispatch.mock.behaviours import Behaviours
from dispatch.mock.sample import sample
from dispatch.mock.scenario import build, load

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("source", "mean", "median"),
    [("2", 2, 2), (0.5, 0.5, 0.5), ("uniform:1,3", 2, 2), ("exponential:2", 2, 2 * 0.6931), ("lognormal:2,0.5", 2 * 1.1331, 2)],
)
def test_a_distribution_has_the_moments_that_it_promises(source: object, mean: float, median: float) -> None:
    distribution, rng = Distribution.parse(source), Random(1)
    draws = [distribution.sample(rng) for _ in range(20_000)]

    assert statistics.fmean(draws) == pytest.approx(mean, rel=0.03)
    assert statistics.median(draws) == pytest.approx(median, rel=0.03)
    assert distribution.mean == pytest.approx(mean, rel=0.001)
    assert Distribution.parse(repr(distribution)) == distribution


@pytest.mark.parametrize("source", ["fast", "normal:1,2", "uniform:3,1", "lognormal:1", "-1", "nan", "exponential:inf", None, True])
def test_a_bad_distribution_is_refused(source: object) -> None:
    with pytest.raises(ValueError, match=r"expected|unknown|takes"):
        Distribution.parse(source)


def test_later_patches_win_and_names_are_patterns() -> None:
    scenario = build(
        {
            "defaults": {"reply": "default", "output_tokens": 3},
            "models": {"gpt-*": {"reply": "model"}},
            "keys": {"sk-special": {"reply": "key"}},
            "rules": [{"model": "gpt-4", "from_s": 10, "to_s": 20, "set": {"reply": "rule"}}],
        }
    )
    behaviours = Behaviours(scenario, 100.0)

    def reply(model: str, key: str, now_s: float) -> str | None:
        return behaviours.of(model, key, "/v1/chat/completions", now_s).reply

    assert reply("other", "sk", 100.0) == "default"
    assert reply("gpt-4", "sk", 100.0) == "model"
    assert reply("gpt-4", "sk-special", 100.0) == "key"
    assert [reply("gpt-4", "sk-special", now_s) for now_s in (109.9, 110.0, 119.9, 120.0)] == ["key", "rule", "rule", "key"]
    assert behaviours.of("gpt-4", "", "", 100.0).output_tokens.constant == 3


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ({"defaults": {"first_token": 1}}, "defaults"),
        ({"models": {"m": {"first_token_s": "soon"}}}, "models.m.first_token_s"),
        ({"keys": {"k": {"limits": {"requests_per_min": -1}}}}, "keys.k.limits.requests_per_min"),
        ({"rules": [{"set": {"faults": {"explode": 1}}}]}, "rules[0].set.faults"),
        ({"defaults": {"errors": {500: 0.7}, "faults": {"slow": 0.7}}}, "defaults"),
        ({"defaults": {"script": ["maybe"]}}, "defaults"),
        ({"colour": "red"}, ""),
    ],
)
def test_a_mistake_is_refused_with_its_path(source: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build(source)

    assert refused.value.path.startswith(path)


def test_a_scenario_file_is_yaml(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text('seed: 7\ndefaults: {errors: {429: 0.1, 500: 0.2}, first_token_s: "lognormal:0.3,0.5"}\n')

    assert load(file).seed == 7
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "absent.yaml")


def test_a_recursive_schema_has_a_finite_sample() -> None:
    node: dict[str, Any] = {
        "type": "object",
        "properties": {"value": {"type": ["string", "null"]}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
        "required": ["value", "next"],
    }
    value = sample({"$ref": "#/$defs/node", "$defs": {"node": node}})

    depth = 0
    while isinstance(value, dict):
        assert set(value) == {"value", "next"}
        value, depth = value["next"], depth + 1
    assert value is None
    assert depth > 1


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "number", "exclusiveMinimum": 0}, 1.0),
        ({"type": "integer", "maximum": -5}, -5),
        ({"type": "string", "minLength": 6}, "mockxx"),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 4}, 4),
        ({"type": "array", "items": {"type": "boolean"}}, [True]),
        ({"allOf": [{"type": "null"}]}, None),
    ],
)
def test_a_sample_satisfies_its_schema(schema: dict[str, Any], value: object) -> None:
    assert sample(schema) == value
