"""Laws of routes: a recorded choice is made again to the last bit, and a rule that is called dead never fires."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from dispatch.config.plans.conditions import Condition, conditions, first_dead
from dispatch.routing import Judge, Signals, read_router
from hypothesis import given
from hypothesis import strategies as st

SIGNALS = ["language", "code", "math", "json", "question", "personal"]
WHENS = st.fixed_dictionaries(
    {},
    optional={
        "tokens": st.sampled_from([">2", ">5", ">5", "2..8", "<4"]),
        "turns": st.sampled_from([1, ">1", "1..3"]),
        "modality": st.sampled_from(["text", ["text", "image"], "!text"]),
        "personal": st.sampled_from([True, False, ["email"]]),
        "tier": st.sampled_from(["gold", ["gold", "silver"], "!gold"]),
        "code": st.sampled_from([">0.5", "<0.1"]),
    },
)
TEXTS = st.one_of(st.text(max_size=60), st.sampled_from(["write to ann@example.org", "x = 3;\ny = 4;", "Wie geht es dir heute?", ""]))
TIERS = st.sampled_from([None, "gold", "silver", "none"])


def body_of(texts: list[str]) -> bytes:
    messages = [{"role": "user" if at % 2 == 0 else "assistant", "content": text} for at, text in enumerate(texts)]
    return json.dumps({"model": "m", "messages": messages}).encode()


def judge(rules: list[tuple[Condition, ...]]) -> Judge:
    return Judge(
        SIGNALS, [[msgspec.structs.astuple(one) for one in rule] for rule in rules], read_router(""), None, None, [["hello there"]]
    )


@given(st.lists(TEXTS, max_size=4), TIERS, st.lists(WHENS, min_size=1, max_size=4))
def test_what_was_recorded_gives_the_same_choice(texts: list[str], tier: str | None, whens: list[dict[str, Any]]) -> None:
    rules = judge([conditions(when, "") for when in whens])
    signals = rules.read(body_of(texts), [] if tier is None else [("tier", tier)])

    again = Signals.recorded(msgspec.to_builtins(signals.facts))

    assert json.dumps(again.facts) == json.dumps(signals.facts)
    assert rules.first(again) == rules.first(signals)


@given(st.lists(WHENS, min_size=2, max_size=5), st.lists(st.tuples(st.lists(TEXTS, max_size=3), TIERS), max_size=5))
def test_a_rule_that_is_called_dead_never_fires(whens: list[dict[str, Any]], asked: list[tuple[list[str], str | None]]) -> None:
    rules = [conditions(when, "") for when in whens]
    dead = first_dead(rules)
    if dead is None:
        return
    by = judge(rules)
    for texts, tier in asked:
        assert by.first(by.read(body_of(texts), [] if tier is None else [("tier", tier)])) != dead[0]


@given(st.binary(max_size=200))
def test_whatever_the_body_is_it_is_read_or_said_not_to_be(body: bytes) -> None:
    signals = judge([]).read(body, [])
    assert signals.is_read in (True, False)
    if not signals.is_read:
        assert signals.facts["is_read"] is False


@pytest.mark.parametrize(
    ("whens", "dead"),
    [
        (({"tokens": "<=100"}, {"tokens": ">100"}, {"modality": "image"}), (2, (0, 1))),
        (({"tokens": "<100"}, {"tokens": ">100"}, {"modality": "image"}), None),
        (({"turns": "<=2"}, {"turns": ">=3"}, {}), (2, (0, 1))),
        (({"tools": True}, {"tools": False}, {"modality": "image"}), (2, (0, 1))),
        (({"language": "de"}, {"language": "fr"}, {"language": ["fr", "de"]}), (2, (0, 1))),
        (({"language": "de"}, {"language": "!de"}, {"modality": "image"}), (2, (0, 1))),
        (({"difficulty": "<0.5"}, {"difficulty": ">=0.5", "modality": "image"}, {"modality": "image"}), (2, (0, 1))),
        (({"difficulty": "<0.5"}, {"difficulty": ">=0.5", "modality": "image"}, {"modality": "text"}), None),
        (({"score": "<3"}, {"score": ">=3"}, {"modality": "image"}), None),  # it need not be declared
        (({"score": "<3"}, {"score": ">=3"}, {"score": "1..5"}), (2, (0, 1))),
    ],
)
def test_rules_that_together_leave_nothing_are_seen(whens: tuple[dict[str, Any], ...], dead: tuple[int, tuple[int, ...]] | None) -> None:
    assert first_dead([conditions(when, "") for when in whens]) == dead
