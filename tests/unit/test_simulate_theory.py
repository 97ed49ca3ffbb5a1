"""The simulation against closed forms, to 2 %: what it says of strategies is worth as much as what it says of these."""

from __future__ import annotations

import pytest
from dispatch.simulate.compile import compiled
from dispatch.simulate.outcome import Outcome, run
from dispatch.simulate.policy import Policy
from dispatch.simulate.scenario import Arrivals, Client, Endpoint, Requests, Scenario, Servers


def sojourn_s(*, pool: int, servers: int, load: float, requests: float, seeds: int = 1, policy: str = "p2c") -> float:
    """Mean time of a request that is served for 1 s on average."""
    rate = load * pool * servers
    scenario = Scenario(
        title="",
        seconds=requests / rate,
        warmup_s=requests / rate / 10,
        arrivals=Arrivals(rate_per_s=rate),
        requests=Requests(prompt="1", output="1"),
        endpoints=(Endpoint(count=pool, server=Servers(servers=servers)),),
        client=Client(first_token_s=1e8, deadline_s=1e8),
    )
    outcomes = [run(compiled(scenario, Policy.parse(policy), seed=seed)) for seed in range(seeds)]
    return sum(map(mean_s, outcomes)) / seeds


def mean_s(outcome: Outcome) -> float:
    assert outcome.arrived == outcome.whole
    assert outcome.held == 0
    return outcome.first_token.sum_s / outcome.first_token.count


def erlang_c_s(servers: int, load: float) -> float:
    offered, blocked = load * servers, 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return 1 + blocked / (1 - load * (1 - blocked)) / (servers * (1 - load))


def fixed_point_s(load: float, choices: int) -> float:
    return float(sum(load ** ((choices**i - choices) / (choices - 1)) for i in range(1, 40)))


@pytest.mark.parametrize("load", [0.5, 0.7, 0.8])
def test_one_server_is_m_m_1(load: float) -> None:
    assert sojourn_s(pool=1, servers=1, load=load, requests=400_000, seeds=2) == pytest.approx(1 / (1 - load), rel=0.02)


@pytest.mark.parametrize(("servers", "load"), [(4, 0.8), (16, 0.9)])
def test_servers_with_one_line_are_m_m_c(servers: int, load: float) -> None:
    assert sojourn_s(pool=1, servers=servers, load=load, requests=400_000) == pytest.approx(erlang_c_s(servers, load), rel=0.02)


@pytest.mark.parametrize("load", [0.5, 0.8, 0.9])
def test_two_choices_of_500_are_at_the_fixed_point(load: float) -> None:
    assert sojourn_s(pool=500, servers=1, load=load, requests=200_000) == pytest.approx(fixed_point_s(load, 2), rel=0.02)


def test_random_choice_is_many_m_m_1() -> None:
    assert sojourn_s(pool=50, servers=1, load=0.7, requests=400_000, policy="random") == pytest.approx(1 / 0.3, rel=0.02)


def test_16_queues_and_a_look_at_all_of_them_are_known_to_wait_1_6() -> None:
    assert sojourn_s(pool=16, servers=1, load=0.9, requests=400_000, policy="least_connections:0") == pytest.approx(1.58, rel=0.03)
