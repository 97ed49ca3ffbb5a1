from __future__ import annotations

import json
import math

import pytest

from benches.proxy import nginx, sidecar, stream_upstream
from benches.proxy.measure import Result, Run
from benches.proxy.report import verdict
from benches.proxy.rows import HEAD, ROWS
from benches.proxy.sidecar import Metrics

METRICS = """\
# TYPE dispatch_requests_total counter
dispatch_requests_total{model="chat",outcome="ok"} 1000
dispatch_key_requests_total{key="bench"} 1000
dispatch_attempts_total{endpoint="mock-0",failure="none"} 400
dispatch_attempts_total{endpoint="mock-1",failure="none"} 600
dispatch_tokens_total{endpoint="mock-0",kind="input"} 19000
dispatch_in_flight{endpoint="mock-0"} 0
dispatch_limit_remaining{endpoint="mock-0",limit="requests_per_min"} 10
dispatch_limit_remaining{endpoint="mock-0",limit="tokens_per_min"} 99.5
dispatch_limit_remaining{endpoint="mock-0",limit="concurrency"} 64
"""


def run(cpu_us: float) -> Run:
    return Run("nginx", requests=1, cpu_us=cpu_us, per_s=1, busy=0.5, others=0, p50_us=1, p99_us=1, errors=0, pieces=0)


def result(*, faults: tuple[str, ...] = (), ratio: float = 1.0, gate: float | None = 2.0) -> Result:
    return Result("row", gate, 1.5, baseline=[run(10)], candidate=[run(10 * ratio)], faults=list(faults))


def test_the_head_is_as_large_as_the_sdk_sends_it() -> None:
    assert len(HEAD) + len({"Host", "Content-Length"}) == 17


@pytest.mark.parametrize(("name", "size"), [("250 B", 250), ("32 KiB", 32 * 1024), ("2 MiB image", 2 * 1024 * 1024)])
def test_bodies_are_valid_and_have_the_size_that_they_are_named_after(name: str, size: int) -> None:
    body = next(row.body for row in ROWS if row.name == name)

    assert json.loads(body)["model"] == "chat"
    # The image's size is that of its base64.
    assert size <= len(body) <= size + (0 if size < 10**6 else 512)


def test_the_stream_has_its_hundred_events_and_ends_as_openai_ends_it() -> None:
    events = stream_upstream.answer()

    assert len(events) == stream_upstream.EVENTS
    assert events[-1] == b"data: [DONE]\n\n"


def test_the_answer_fits_into_a_quoted_string_of_nginx() -> None:
    assert not {b"'", b"\\", b"$"} & {bytes([byte]) for byte in nginx.ANSWER}


def test_books_that_agree_have_no_faults() -> None:
    assert sidecar.unbooked(Metrics(METRICS), requests=1000, open_at_end=0) == []


@pytest.mark.parametrize("requests", [900, 1001])
def test_a_request_too_many_or_too_few_in_the_books_is_told(requests: int) -> None:
    assert len(sidecar.unbooked(Metrics(METRICS), requests=requests, open_at_end=64)) == 3


def test_a_limit_with_nothing_taken_from_it_is_told() -> None:
    idle = Metrics(METRICS)
    loaded = Metrics(METRICS.replace(" 99.5", " 99.0").replace(" 64\n", " 60\n"))

    assert sidecar.uncharged(idle, [idle, loaded]) == ["requests_per_min"]


def test_a_limit_that_the_metrics_do_not_name_is_told() -> None:
    assert sidecar.uncharged(Metrics(""), [Metrics(METRICS)]) == list(sidecar.LIMITS)


@pytest.mark.parametrize(
    ("measured", "word"),
    [
        (result(ratio=1.4), "pass, target reached"),
        (result(ratio=1.9), "pass"),
        (result(ratio=2.1), "FAIL"),
        (result(ratio=1.0, faults=("an error",)), "INVALID"),
        (result(ratio=9.0, gate=None), "for information"),
    ],
)
def test_the_verdict_follows_the_gate_and_an_error_voids_it(measured: Result, word: str) -> None:
    assert verdict(measured) == word


def test_a_row_without_runs_has_no_ratio_and_does_not_pass() -> None:
    empty = Result("row", 2.0, 1.5, faults=["no answer"])

    assert math.isnan(empty.ratio.median)
    assert not empty.is_passed
