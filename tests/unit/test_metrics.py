"""Prometheus text: valid by Prometheus's own parser, and the numbers of the board."""

from __future__ import annotations

from typing import Any

import pytest
from dispatch.config import Config, build
from dispatch.errors import Failure
from dispatch.policy.booking import BOOKED
from dispatch.routing import BOOKINGS, HEDGES, REFUSED, Board, Hedges, Lease, Routing, Sizes, Slots, Ticket
from dispatch.telemetry.families import OUTCOMES
from dispatch.telemetry.metrics import exposition
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

NOW_NS = 10**15

CONFIG: dict[str, Any] = {
    "endpoints": [
        {"name": "east", "provider": "echo", "limits": {"requests_per_min": 600, "concurrency": 8}},
        {"name": "west", "provider": "echo"},
    ],
    "models": {"chat": {"endpoints": ["east"]}, "other": {"endpoints": ["west"]}},
    "keys": [{"name": "team", "key": "sha256:" + "0" * 64, "limits": {"concurrency": 1}}],
}

CONTRACT = {
    "dispatch_requests": ({"model", "outcome"}, "counter"),
    "dispatch_attempts": ({"endpoint", "failure"}, "counter"),
    "dispatch_retries": ({"endpoint"}, "counter"),
    "dispatch_tokens": ({"endpoint", "kind"}, "counter"),
    "dispatch_breaker_trips": ({"endpoint"}, "counter"),
    "dispatch_stream_events_dropped": ({"endpoint"}, "counter"),
    "dispatch_panics": ({"endpoint"}, "counter"),
    "dispatch_key_requests": ({"key"}, "counter"),
    "dispatch_key_user_overflows": ({"key"}, "counter"),
    "dispatch_key_tokens": ({"key", "kind"}, "counter"),
    "dispatch_in_flight": ({"endpoint"}, "gauge"),
    "dispatch_queue_depth": ({"model"}, "gauge"),
    "dispatch_time_to_first_token_seconds": ({"model", "endpoint"}, "histogram"),
    "dispatch_request_duration_seconds": ({"model", "endpoint"}, "histogram"),
    "dispatch_queue_wait_seconds": ({"model"}, "histogram"),
    "dispatch_overhead_seconds": (set[str](), "histogram"),
    "dispatch_limit_remaining": ({"endpoint", "limit"}, "gauge"),
    "dispatch_breaker_state": ({"endpoint"}, "gauge"),
    "dispatch_found_rate_ratio": ({"endpoint"}, "gauge"),
    "dispatch_found_concurrency": ({"endpoint"}, "gauge"),
}


def parsed(text: bytes) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def value(families: dict[str, Any], sample: str, **labels: str) -> float:
    found = [one.value for family in families.values() for one in family.samples if one.name == sample and one.labels == labels]
    assert len(found) == 1, (sample, labels)
    return float(found[0])


def serve_one(routing: Routing, *, key: int, failure: Failure = Failure.NONE, model: str = "chat") -> None:
    ticket = routing.admit(routing.models[model], key, 10, 20, NOW_NS)
    assert isinstance(ticket, Ticket)
    lease = routing.routers(model)[0].acquire(0, 10, 20, NOW_NS, 1, 0)
    assert isinstance(lease, Lease)
    lease.settle(failure, NOW_NS + 30_000_000, 11, 21, 5, 0)
    ticket.settle(failure, NOW_NS + 30_000_000, 60_000, 11, 21, 5)
    routing.turns(routing.models[model]).serve(1, 30, 1, 10_000_000)


@pytest.fixture
def config() -> Config:
    return build(CONFIG)


def test_every_metric_of_the_contract_is_there_with_its_labels(config: Config) -> None:
    routing = Routing.alone(config)
    serve_one(routing, key=0)
    for model in ("chat", "other"):
        serve_one(routing, key=-1, failure=Failure.RATE_LIMITED, model=model)

    families = parsed(exposition(routing.snapshot(NOW_NS)))

    assert set(families) == set(CONTRACT)
    for name, (labels, kind) in CONTRACT.items():
        assert families[name].type == kind
        assert families[name].samples
        for sample in families[name].samples:
            assert set(sample.labels) - {"le"} == labels


def test_the_numbers_are_those_of_the_board(config: Config) -> None:
    routing = Routing.alone(config)
    for _ in range(3):
        serve_one(routing, key=0)
    serve_one(routing, key=-1, failure=Failure.SERVER)
    held = routing.admit(routing.models["chat"], 0, 1, 1, NOW_NS)
    refused = routing.admit(routing.models["chat"], 0, 1, 1, NOW_NS)
    routing.refuse(routing.models["chat"], 0)

    families = parsed(exposition(routing.snapshot(NOW_NS + 10**9)))

    assert isinstance(held, Ticket)
    assert not isinstance(refused, Ticket)
    assert value(families, "dispatch_requests_total", model="chat", outcome="ok") == 3
    assert value(families, "dispatch_requests_total", model="chat", outcome="server") == 1
    assert value(families, "dispatch_requests_total", model="chat", outcome="refused") == 1
    assert value(families, "dispatch_attempts_total", endpoint="east", failure="none") == 3
    assert value(families, "dispatch_attempts_total", endpoint="east", failure="server") == 1
    assert value(families, "dispatch_key_requests_total", key="team") == 3
    assert value(families, "dispatch_key_tokens_total", key="team", kind="output") == 63
    # The endpoint used them for the failed attempt too; no key pays for that.
    assert value(families, "dispatch_tokens_total", endpoint="east", kind="cached") == 20
    assert value(families, "dispatch_request_duration_seconds_count", model="chat", endpoint="east") == 3
    assert value(families, "dispatch_request_duration_seconds_sum", model="chat", endpoint="east") == pytest.approx(0.09)
    assert value(families, "dispatch_limit_remaining", endpoint="east", limit="concurrency") == 8
    assert value(families, "dispatch_breaker_state", endpoint="west") == 0


def test_buckets_are_cumulative_and_end_in_the_count(config: Config) -> None:
    routing = Routing.alone(config)
    serve_one(routing, key=-1)

    families = parsed(exposition(routing.snapshot(NOW_NS)))

    for name, (_, kind) in CONTRACT.items():
        if kind != "histogram":
            continue
        counts = [sample.value for sample in families[name].samples if sample.name.endswith("_bucket")]
        assert counts == sorted(counts)
        assert families[name].samples[len(counts) - 1].labels["le"] == "+Inf"
        assert counts[-1] == 1


def test_two_workers_add_up_whichever_is_asked(config: Config) -> None:
    sizes = Sizes.of(config, 2)
    board = Board.heap(sizes)
    first, second = (Routing(board, worker, config, Slots.of(config, sizes)) for worker in range(2))
    serve_one(first, key=0)
    serve_one(second, key=0)
    lease = second.routers("chat")[0].acquire(0, 1, 1, NOW_NS, 1, 0)

    texts = {exposition(routing.snapshot(NOW_NS)) for routing in (first, second)}

    assert isinstance(lease, Lease)
    assert len(texts) == 1
    families = parsed(texts.pop())
    assert value(families, "dispatch_requests_total", model="chat", outcome="ok") == 2
    assert value(families, "dispatch_in_flight", endpoint="east") == 1


def test_hedges_are_counted_by_model_and_left_out_while_there_are_none(config: Config) -> None:
    routing = Routing.alone(config)
    assert "dispatch_hedges" not in parsed(exposition(routing.snapshot(NOW_NS)))
    hedges = Hedges(routing.routers("chat")[0].core)
    hedges.count(HEDGES.index("won"))
    assert hedges.spend(5)
    assert not hedges.spend(5)

    families = parsed(exposition(routing.snapshot(NOW_NS)))

    assert value(families, "dispatch_hedges_total", model="chat", outcome="won") == 1
    assert value(families, "dispatch_hedges_total", model="chat", outcome="capped") == 1


def test_outcomes_have_one_name_for_each_number() -> None:
    assert [failure.name.lower() for failure in Failure][1:] == list(OUTCOMES)[1:-1]
    assert len(OUTCOMES) == REFUSED + 1


def test_bookings_have_one_name_for_each_place() -> None:
    assert list(BOOKED) == BOOKINGS


def test_a_label_with_quotes_backslash_and_newline_survives_the_parser() -> None:
    hostile = 'a"b\\c\nd'
    routing = Routing.alone(build(CONFIG))
    snapshot = routing.snapshot(NOW_NS)
    renamed = replace(snapshot, endpoints={hostile: snapshot.endpoints["east"]})

    families = parsed(exposition(renamed))

    assert {sample.labels["endpoint"] for sample in families["dispatch_in_flight"].samples} == {hostile}
