"""What is known of models, and what it is used for."""

from __future__ import annotations

from typing import Any

import pytest
import tiktoken
from dispatch.catalogue import catalogue, find, with_prices
from dispatch.catalogue.budgets import check_budgets
from dispatch.catalogue.counting import count_tokens
from dispatch.catalogue.update import reduced
from dispatch.config import Price, build
from dispatch.errors import ConfigError


def test_the_data_has_a_source_a_day_and_numbers_that_can_be_true() -> None:
    known = catalogue()
    assert known.source
    assert known.date >= "2026-11-22"
    for provider, models in known.models.items():
        for name, model in models.items():
            where = f"{provider}/{name}"
            assert 0 <= model.price.input <= model.price.output + 30 < 1_000, where
            assert model.price.cached_input is None or model.price.cached_input <= max(model.price.input, 0.5), where
            assert model.output >= 0, where


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "gpt-5", "gpt-5"),
        ("azure", "gpt-5", "gpt-5"),
        ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
        ("vertex", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5-20250929"),
        ("vertex", "gemini-2.5-pro", "gemini-2.5-pro"),
        ("gemini", "models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("openai", "gpt-5-2031-01-01", "gpt-5"),
    ],
)
def test_a_model_is_known_by_the_names_that_it_has_at_its_hosts(provider: str, model: str, name: str) -> None:
    found = find(provider, model)
    assert found is not None
    assert found in [models[name] for models in catalogue().models.values() if name in models]
    assert found.context >= 200_000
    assert found.price.output > found.price.input > 0
    assert {"tools", "schema"} <= found.can
    assert "image" in found.reads


@pytest.mark.parametrize(("provider", "model"), [("openai", "my-own"), ("openai_compatible", "gpt-5"), ("nobody", "gpt-5"), ("openai", "")])
def test_of_others_nothing_is_known(provider: str, model: str) -> None:
    assert find(provider, model) is None


def test_an_endpoint_costs_what_the_configuration_says_else_the_list_price() -> None:
    def end(name: str, **more: object) -> dict[str, object]:
        return {"name": name, "provider": "openai", "model": "gpt-5", "api_key": "env:KEY", **more}

    own = {"base_url": "http://127.0.0.1:8000/v1"}
    told = {"price": {"input": 7, "output": 8}}
    endpoints = [end("list"), end("told", **told), end("free", price={}), end("own", **own), end("other", model="x")]
    config = build({"endpoints": endpoints, "models": {"m": "list"}}, {"KEY": "k"})
    prices = {endpoint.name: endpoint.price for endpoint in with_prices(config).endpoints}

    known = find("openai", "gpt-5")
    assert known is not None
    assert prices["list"] == Price(input=known.price.input, output=known.price.output, cached_input=known.price.cached_input)
    assert prices["told"] == Price(input=7, output=8)
    assert prices["free"] == Price()
    assert prices["own"] is None
    assert prices["other"] is None


def budgeted(*names: str, dollars: float | None = 0.01) -> dict[str, Any]:
    """A cascade with a budget over these endpoints."""
    budget = {"tokens": 5} if dollars is None else {"dollars": dollars}
    return {"cascade": {"steps": [*names], "escalate_if": {"verify": {"regex": "x"}}, "budget": budget}}


ENDPOINTS = [
    {"name": "listed", "provider": "openai", "model": "gpt-5", "api_key": "env:KEY"},
    {"name": "unlisted", "provider": "openai", "model": "my-own", "api_key": "env:KEY"},
    {"name": "free", "provider": "openai_compatible", "model": "x", "base_url": "https://llm.example/v1", "price": {}},
    {"name": "own", "provider": "openai_compatible", "model": "x", "base_url": "http://[::1]:8000/v1"},
    {"name": "local", "provider": "ollama", "model": "x"},
    {"name": "built-in", "provider": "echo", "model": "echo"},
]


def with_plan(plan: object) -> None:
    check_budgets(with_prices(build({"endpoints": ENDPOINTS, "models": {"m": plan}})))


@pytest.mark.parametrize(
    "plan",
    [
        budgeted("listed", "free", "own", "local", "built-in"),
        # Who writes that an endpoint costs nothing means it.
        budgeted("free", "own"),
        budgeted("unlisted", "own", dollars=None),
        {"fallback": ["unlisted", budgeted("listed", "listed")]},
    ],
)
def test_a_budget_in_dollars_is_one_where_prices_are_known(plan: object) -> None:
    with_plan(plan)


@pytest.mark.parametrize(
    ("plan", "path", "found"),
    [
        (budgeted("listed", "unlisted"), "models.m.cascade.budget.dollars", "nothing says what endpoint 'unlisted' costs"),
        (budgeted("own", "local"), "models.m.cascade.budget.dollars", "no endpoint that has a price"),
        ({"fallback": ["listed", budgeted("listed", "unlisted")]}, "models.m.fallback[1].cascade.budget.dollars", "'unlisted'"),
        (
            {"chain": {"steps": [{"plan": {"fallback": ["listed", "unlisted"]}}, {"plan": "own"}], "budget": {"dollars": 1}}},
            "models.m.chain.budget.dollars",
            "'unlisted'",
        ),
    ],
)
def test_a_budget_in_dollars_that_would_never_be_spent_is_refused(plan: object, path: str, found: str) -> None:
    with pytest.raises(ConfigError, match="expected") as caught:
        with_plan(plan)
    assert caught.value.path == path
    assert found in caught.value.reason


def test_a_table_is_reduced_to_what_is_used_here() -> None:
    row = {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 9, "input_cost_per_token": 2.5e-6, "supports_vision": True}
    found = reduced({"a": row, "b": {**row, "mode": "embedding"}, "c": {**row, "litellm_provider": "x"}}, "s", "2026-01-01")
    assert found["models"]["openai"] == {
        "a": {"context": 9, "output": 0, "reads": ["text", "image"], "writes": ["text"], "can": [], "price": {"input": 2.5}}
    }


def test_tokens_are_counted_by_the_tokenizer_itself() -> None:
    # A byte is a token: no vocabulary has to be fetched.
    encoding = tiktoken.Encoding("bytes", pat_str=r"(?s).", mergeable_ranks={bytes([byte]): byte for byte in range(256)}, special_tokens={})
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "hé"},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "ab"}, {"type": "x"}]},
    ]
    assert count_tokens(messages, "gpt-5", encoding) == 3 + (3 + 4 + 3) + (3 + 4 + 3 + 1 + 2)
