"""`dispatch simulate`: scenarios, the core behind them, the reports."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING

import msgspec
import pytest
from dispatch._core import simulate, simulated_retry
from dispatch.cli import main
from dispatch.config import Retry
from dispatch.errors import ConfigError, Failure
from dispatch.policy.retry import Again, judge
from dispatch.simulate.compile import capacity_per_s, compiled, load, rate_per_s, shipped
from dispatch.simulate.outcome import Histogram, run
from dispatch.simulate.policy import Policy

if TYPE_CHECKING:
    from pathlib import Path

SMALL = """
title: Two replicas, one of them gone for a while
seconds: 20
warmup_s: 2
arrivals: {rate_per_s: 12}
endpoints: [{count: 2}]
faults: [{endpoint: 1, what: outage, from_s: 8, to_s: 12}]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_scenario_runs_and_loses_nothing(name: str) -> None:
    scenario = msgspec.structs.replace(shipped()[name], seconds=6.0, warmup_s=0.0)
    for strategy in scenario.strategies:
        outcome = run(compiled(scenario, Policy.parse(strategy), seed=1, workers=4))

        assert outcome.arrived == outcome.whole + sum(outcome.ended.values())
        assert outcome.held == 0
        assert outcome.arrived == pytest.approx(6 * rate_per_s(scenario), rel=0.5)


def test_a_seed_is_a_run(small: Path) -> None:
    def text(seed: int) -> str:
        return simulate(compiled(load(str(small)), Policy.parse("least_work"), seed=seed, workers=3).decode())

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_all_strategies_are_given_the_same_requests(small: Path) -> None:
    outcomes = [run(compiled(load(str(small)), Policy.parse(name), seed=1)) for name in ("random", "least_work")]
    arrived = [[second.arrived for second in outcome.seconds if second.arrived] for outcome in outcomes]

    assert arrived[0] == arrived[1]


def test_views_of_their_own_balance_worse_than_a_shared_one() -> None:
    scenario = msgspec.structs.replace(shipped()["s01-equal"], seconds=60.0)
    p99 = [
        run(compiled(scenario, Policy.parse("least_work"), seed=1, workers=8, shared=shared)).first_token.quantile(0.99)
        for shared in (True, False)
    ]

    assert p99[1] > 1.3 * p99[0]


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ("secnds: 3", "secnds", "did you mean 'seconds'"),
        ("client: {queue: 1}", "client.queue", "unknown key"),
        ("arrivals: {rate_per_s: 1, load: 0.5}", "arrivals", "one of them"),
        ("endpoints: [{server: {kind: hosted}}]\narrivals: {load: 0.5}\nfaults: []", "arrivals.load", "no limit"),
        ("requests: {prompt: 'normal:1,2'}", "requests.prompt", "unknown distribution"),
        ("faults: [{endpoint: 2, what: slow, from_s: 1, to_s: 2}]", "faults[0].endpoint", "expected less than 2"),
        ("strategies: [fastest]", "strategies", "expected one of"),
        ("strategies: ['random:2']", "strategies", "no choices"),
        ("strategies: ['p2c@1.25']", "strategies", "does not hash"),
        ("strategies: ['p2c+cheapest']", "strategies", "expected modifiers among priority, lowest_cost, lowest_latency, affinity"),
        ("endpoints: [{price: {inputs: 1}}]\nfaults: []", "endpoints[0].price.inputs", "did you mean 'input'"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, change: str, path: str, reason: str) -> None:
    kept = [line for line in SMALL.splitlines() if line and line.split(":")[0] not in {row.split(":")[0] for row in change.splitlines()}]
    file = tmp_path / "wrong.yaml"
    file.write_text("\n".join([*kept, change]))

    with pytest.raises(ConfigError, match=reason) as caught:
        load(str(file))
    assert caught.value.path == path


def sent(name: str, policy: str, seconds: float) -> list[int]:
    """Attempts at each endpoint."""
    scenario = msgspec.structs.replace(shipped()[name], seconds=seconds, warmup_s=0.0, faults=())
    return [endpoint.attempts for endpoint in run(compiled(scenario, Policy.parse(policy), seed=1)).endpoints]


def test_modifiers_narrow_the_choice() -> None:
    tiers = sent("s11-tiers", "least_work+priority", 20.0)
    cheap, fast = sent("s11-prices", "least_work+lowest_cost", 20.0), sent("s11-latency", "p2c+lowest_latency", 60.0)

    assert tiers[4] == 0 < tiers[0]
    assert sum(cheap[4:]) < 0.05 * sum(cheap)
    assert sum(fast[:2]) < 0.4 * sum(fast)


def test_the_core_refuses_what_is_no_scenario() -> None:
    with pytest.raises(ConfigError, match="missing field"):
        simulate("{}")


def test_capacity_is_what_full_batches_can_do() -> None:
    # 1150 * 0.04 ms + 210 * (0.05 + 8/128) ms
    assert capacity_per_s(shipped()["s01-equal"]) == pytest.approx(16 / 0.069625, rel=1e-3)


def test_quantiles_of_a_histogram_are_within_its_half_percent() -> None:
    histogram = Histogram({0: 50, 1000: 50}, 0.0)

    assert histogram.quantile(0.5) == pytest.approx(1e-5, rel=0.005)
    assert histogram.quantile(0.51) == pytest.approx(1e-5 * 1.005**1000, rel=0.005)
    assert Histogram.joined([histogram, histogram]).count == 200


SIMULATED = [
    Failure.CONNECT, Failure.UNKNOWN_EXECUTION, Failure.FIRST_TOKEN_TIMEOUT, Failure.RATE_LIMITED, Failure.SERVER, Failure.BROKEN,
    Failure.DEADLINE,
]  # fmt: skip


@pytest.mark.parametrize("failure", SIMULATED)
def test_the_simulation_retries_as_the_dispatcher_does(failure: Failure) -> None:
    retry = Retry()
    places = ((False, False, False), (False, True, False), (True, True, False), (True, True, True))
    for attempt, committed, left_s, after_s, (others, elsewhere, fresh) in product(
        (1, 2, 3), (False, True), (0.1, 100.0), (0.0, 3.0), places
    ):
        facts = {"attempt": attempt, "committed": committed, "left_s": left_s, "others": others, "elsewhere": elsewhere, "fresh": fresh}
        verdict = judge(failure, draw=0.7, retry=retry, retry_after_s=after_s, **facts)  # type: ignore[arg-type]  # bools and floats, mixed
        pauses = (retry.attempts, retry.base_s, retry.cap_s)
        simulated = simulated_retry(int(failure), attempt, committed, left_s, 0.7, after_s, others, elsewhere, fresh, pauses)

        assert simulated == (verdict.after_s if isinstance(verdict, Again) else None)


def test_the_command_writes_tables_numbers_and_a_page(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, numbers, tables = tmp_path / "report.html", tmp_path / "report.json", tmp_path / "report.md"
    flags = ["--seeds", "2", "--quiet", "--workers", "1", "--workers", "4"]
    code = main(["simulate", str(small), *flags, "--out", str(out), "--json", str(numbers), "--markdown", str(tables)])
    shown = capsys.readouterr().out

    assert code == 0
    assert "least_work, 4 workers" in shown
    assert "TTFT p99" in shown
    [study] = json.loads(numbers.read_text())
    assert [row["policy"] for row in study["results"]] == ["p2c", "p2c", "least_work", "least_work"]
    assert "| least_work |" in tables.read_text()
    page = out.read_text()
    assert page.count("<svg") == 4
    assert "<script" not in page
    assert "NaN" not in page


def test_the_command_names_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--list"]) == 0

    listed = capsys.readouterr().out
    assert all(name in listed for name in shipped())
    assert {name[:3] for name in shipped()} == {f"s{number:02}" for number in range(1, 12)}


def test_the_command_refuses_a_name_that_is_not_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "s99"]) == 2
    assert "s01-equal" in capsys.readouterr().err
