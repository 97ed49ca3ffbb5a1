"""Learned routers: what is measured, what is refused, and the two commands from a table to a page."""

from __future__ import annotations

import gzip
import json
import math
import re
from random import Random
from typing import TYPE_CHECKING

import pytest
from dispatch.cli import main
from dispatch.errors import ConfigError
from dispatch.learn.measures import aiq, apgr, cpt, curve, hull
from dispatch.learn.table import read
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

EASY = ("apple", "banana", "cherry", "plum")
HARD = ("integral", "manifold", "tensor", "lemma")

scores = st.lists(st.tuples(st.sampled_from((0.0, 1.0)), st.sampled_from((0.0, 1.0))), min_size=4, max_size=40).filter(
    lambda rows: sum(row[1] for row in rows) > sum(row[0] for row in rows)
)


@given(scores)
def test_no_order_of_prompts_beats_the_one_that_knows_the_scores(rows: list[tuple[float, float]]) -> None:
    weak, strong = [row[0] for row in rows], [row[1] for row in rows]
    knowing = curve([b - a for a, b in rows], weak, strong)

    for order in (curve([0.0] * len(rows), weak, strong), curve([a - b for a, b in rows], weak, strong)):
        assert apgr(knowing) >= apgr(order) - 1e-9
        assert cpt(knowing, 0.5) <= cpt(order, 0.5) + 1e-9


def test_a_straight_way_from_weak_to_strong_is_a_half() -> None:
    flat = curve([0.0] * 100, [0.0] * 100, [1.0] * 100)

    assert apgr(flat) == pytest.approx(0.5)
    assert cpt(flat, 0.8) == pytest.approx(0.8)


def test_two_equal_models_have_no_gap_to_close() -> None:
    assert math.isnan(apgr(curve([0.0] * 3, [1.0] * 3, [1.0] * 3)))


def test_the_area_under_the_hull_counts_from_the_cheapest_to_the_dearest() -> None:
    assert hull([(0, 0.2), (1, 0.1), (2, 0.6), (1, 0.5)]) == [(0, 0.2), (1, 0.5), (2, 0.6)]
    assert aiq([(0, 0.0), (2, 1.0)], 0, 2) == pytest.approx(0.5)
    assert aiq([(0, 0.0), (1, 1.0)], 0, 2) == pytest.approx(0.75)
    assert aiq([(1, 0.7)], 1, 1) == pytest.approx(0.7)


def table_file(folder: Path, name: str, rows: int, seed: int) -> Path:
    """Prompts of two kinds, the weak model answers only the easy ones."""
    draw = Random(seed)
    lines: list[dict[str, object]] = [{"meta": "made up", "models": ["weak", "strong", "other"]}]
    for at in range(rows):
        words = " ".join(draw.choices(HARD if at % 2 else EASY, k=8))
        lines.append({"p": words, "s": [1 - at % 2, 1, 0], "g": "maths" if at % 2 else "fruit", "more": 1})
    path = folder / name
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    return path


def test_a_table_becomes_a_router_that_closes_the_gap_with_half_of_the_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = table_file(tmp_path, "train.jsonl.gz", 120, 1), table_file(tmp_path, "test.jsonl.gz", 60, 2)
    router, page = tmp_path / "router.bin", tmp_path / "page.html"

    assert main(["train", str(train), "--out", str(router)]) == 0
    assert "3 models, 120 prompts, 2 kinds of prompts" in capsys.readouterr().out
    command = ["evaluate", str(test), "--router", str(router), "--weak", "weak", "--strong", "strong", "--report", str(page)]
    assert main([*command, "--json", "--resamples", "20"]) == 0

    numbers = json.loads(capsys.readouterr().out)
    assert numbers["cpt80"] <= 0.45
    assert numbers["apgr"] > numbers["baselines"]["random"]["apgr"]
    assert set(numbers) == {"apgr", "cpt50", "cpt80", "aiq", "intervals", "baselines"}
    assert "<svg" in page.read_text()
    assert main([*command, "--resamples", "5"]) == 0
    assert "nearest prompts" in capsys.readouterr().out


def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    for text, where in (
        ("", "table.jsonl:1"),
        ('{"models": ["a"]}', "table.jsonl:1"),
        ('{"models": ["a", "b"]}\n{"p": 1}', "table.jsonl:2"),
        ('{"models": ["a", "b"]}\n{"p": "x", "s": [1, 0]}\n{"p": "x", "s": [1]}', "table.jsonl:3"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=where):
            read(path)


def test_a_router_file_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, router = table_file(tmp_path, "test.jsonl.gz", 20, 3), tmp_path / "router.bin"
    router.write_bytes(b"PK\x03\x04 something else")

    assert main(["evaluate", str(table), "--router", str(router), "--weak", "weak", "--strong", "strong"]) == 2
    assert "no router of dispatch" in capsys.readouterr().err
    assert main(["train", str(table), "--models", "weak,unknown", "--out", str(router)]) == 2
    assert "expected one of weak, strong, other" in capsys.readouterr().err


def test_a_file_that_was_packed_and_spoilt_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b'{"models": ["a", "b"]}\n' * 50))
    packed[14] ^= 0xFF
    path = tmp_path / "spoilt"
    path.write_bytes(packed)
    with pytest.raises(ConfigError, match="spoilt"):
        read(path)


ROWS = ['{"p": "one \\u2028 \\ud83c\\udf89", "s": [1, 0], "cost": [3, 4]}', '{"p": "", "s": [true, false]}', ""]


@pytest.mark.parametrize(
    ("head", "costs"),
    [
        ('{"models": ["a", "b"]}', {}),
        ('{"models": ["a", "b"], "costs": {"a": 1, "b": 2.5}, "meta": {"label": "a word"}}', {"a": 1.0, "b": 2.5}),
        ('{"models": ["a", "b"], "costs": [1, 2.5]}', {"a": 1.0, "b": 2.5}),
        ('\ufeff{"meta": "x", "models": ["a", "b"]}', {}),
        ('{"models": ["a", "b"], "costs": null}', {}),
        ('{"models": ["a", "b"], "costs": {"a": 1, "of nobody here": 9}}', {"a": 1.0}),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_table_of_another_hand_is_read(tmp_path: Path, head: str, costs: dict[str, float], end: str, is_packed: bool) -> None:
    path = tmp_path / "table"
    data = end.join([head, *ROWS]).encode()
    path.write_bytes(gzip.compress(data) if is_packed else data)
    table = read(path)
    assert (table.models, table.costs) == (("a", "b"), costs)
    assert table.prompts == ["one \u2028 \U0001f389", ""]
    assert table.scores == [(1.0, 0.0), (1.0, 0.0)]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (['{"models": ["a", "a"]}'], "twice"),
        (['{"models": ["a", "b"], "costs": [1]}'], "found 1 costs, expected 2"),
        (['{"models": ["a", "b"], "costs": {"a": -1}}'], "costs"),
        (['{"models": ["a"]}'], "length >= 2"),
        (['{"models": ["a", "b"]}', '{"p": "x", "s": [1, null]}'], ":2: Expected"),
        (['{"models": ["a", "b"]}', '{"p": "x", "s": [1, NaN]}'], ":2: "),
        (['{"p": "x", "s": [1, 0]}'], ":1: Object missing required field `models`"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(tmp_path: Path, lines: list[str], reason: str) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=re.escape(reason)):
        read(path)


@pytest.mark.parametrize(("kinds", "groups"), [(("x", "y"), ["x", "y"]), ((1, 2), ["1", "2"]), ((None, 2), []), ((None, None), [])])
def test_kinds_may_be_numbers_and_may_be_missing(tmp_path: Path, kinds: tuple[object, object], groups: list[str]) -> None:
    path = tmp_path / "table"
    path.write_text("\n".join(map(json.dumps, [{"models": ["a", "b"]}, *({"p": "x", "s": [0, 1], "g": kind} for kind in kinds)])))
    assert read(path).groups == groups


def evaluated(table: Path, router: Path, *flags: str) -> int:
    page = str(router.with_name("page.html"))
    return main(["evaluate", str(table), "--router", str(router), "--report", page, "--resamples", "5", *flags])


def test_a_router_that_never_saw_the_pair_still_knows_which_prompts_are_hard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = table_file(tmp_path, "train.jsonl.gz", 120, 1), table_file(tmp_path, "test.jsonl", 60, 2)
    test.write_bytes(gzip.decompress(test.read_bytes()).replace(b'"weak", "strong"', b'"small", "large"'))
    router = tmp_path / "router.bin"
    assert main(["train", str(train), "--out", str(router)]) == 0
    capsys.readouterr()

    assert evaluated(test, router, "--weak", "small", "--strong", "large", "--json") == 0

    told = capsys.readouterr()
    assert json.loads(told.out)["apgr"] > 0.7
    assert "not trained on small, large" in told.err


def test_tables_that_nothing_can_be_measured_on_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    router = tmp_path / "router.bin"
    assert main(["train", str(table_file(tmp_path, "train.jsonl.gz", 40, 1)), "--out", str(router)]) == 0

    for rows in (0, 1):
        assert evaluated(table_file(tmp_path, "few.jsonl.gz", rows, 2), router, "--weak", "weak", "--strong", "strong") == 2
        assert f"found {rows} prompts, expected two or more" in capsys.readouterr().err
    assert evaluated(table_file(tmp_path, "two.jsonl.gz", 2, 2), router, "--weak", "weak", "--strong", "strong") == 0
    assert evaluated(table_file(tmp_path, "two.jsonl.gz", 2, 2), router, "--weak", "weak", "--strong", "weak") == 2
    assert "expected two models" in capsys.readouterr().err


def test_models_without_a_cost_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, router = table_file(tmp_path, "train.jsonl.gz", 40, 1), tmp_path / "router.bin"
    assert main(["train", str(table), "--out", str(router)]) == 0

    assert evaluated(table, router, "--weak", "weak", "--strong", "strong", "--cost", "weak=1", "--cost", "strong=2") == 0
    assert "1 of 3 models have no cost" in capsys.readouterr().err


def test_the_pair_is_found_where_it_is_not_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, router = table_file(tmp_path, "train.jsonl.gz", 40, 1), tmp_path / "router.bin"
    assert main(["train", str(table), "--out", str(router)]) == 0
    for flags, pair in (
        ([], "other 0.0000, strong 1.0000"),
        (["--weak", "weak"], "weak 0.5000, strong 1.0000"),
        (["--costs", "weak=1,strong=2, other=3"], "weak 0.5000, other 0.0000"),
        (["--cost", "weak=1", "--cost", "strong=2", "--strong", "weak"], "strong 1.0000, weak 0.5000"),
    ):
        assert evaluated(table, router, *flags) == 0
        assert pair in capsys.readouterr().out
    assert evaluated(table, router, "--costs", "weak=1") == 2
    assert "expected two models" in capsys.readouterr().err


def test_what_each_prompt_cost_is_taken_in_the_mean(tmp_path: Path) -> None:
    path = tmp_path / "table"
    for name, rows, costs in (
        ("cost", [[1, 5], [3, 7]], {"a": 2.0, "b": 6.0}),
        ("costs", [[1, 5], [3, 7]], {"a": 2.0, "b": 6.0}),
        ("cost", [[1, 5], [3]], {}),
        ("cost", [0.1, 0.2], {}),
        ("cost", [{"usd": 1}, None], {}),
    ):
        lines = [{"models": ["a", "b"]}, *({"p": "x", "s": [0, 1], name: row} for row in rows)]
        path.write_text("\n".join(map(json.dumps, lines)))
        assert read(path).costs == costs


def test_kinds_that_are_nearly_as_many_as_prompts_are_left_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, router = tmp_path / "table.jsonl", tmp_path / "router.bin"
    rows = ({"p": f"{(EASY, HARD)[at % 2][at % 4]} {at}", "s": [at % 2, 1], "g": f"question {at // 2}"} for at in range(600))
    table.write_text("\n".join(map(json.dumps, [{"models": ["a", "b"]}, *rows])))

    assert main(["train", str(table), "--out", str(router)]) == 0
    assert "300 kinds of prompts are too many to learn from 600" in capsys.readouterr().out


@pytest.mark.parametrize("head", [[], [{"meta": "made up"}]])
@pytest.mark.parametrize("labels", [("x", "y"), (0, 1)])
def test_examples_of_classes_may_have_notes_before_them(tmp_path: Path, head: list[object], labels: tuple[object, object]) -> None:
    path = tmp_path / "table"
    path.write_text("\n".join(map(json.dumps, [*head, *({"p": "some words", "label": label} for label in labels)])))
    assert read(path).models == tuple(map(str, labels))
