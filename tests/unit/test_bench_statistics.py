"""The bench's numbers against distributions whose numbers are known."""

from __future__ import annotations

import itertools
import math
import statistics
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest
from dispatch.bench.arrivals import Arrivals
from dispatch.bench.events import EventReader
from dispatch.bench.histogram import Histogram
from dispatch.bench.options import Options, Target
from dispatch.bench.prompts import bodies, generated, read_prompts, requests
from dispatch.distribution import Distribution
from dispatch.errors import ConfigError
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

durations = st.lists(st.floats(1e-9, 1e4), min_size=1, max_size=200)


def filled(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(durations, st.floats(0.001, 1))
def test_a_quantile_is_at_most_a_128th_above_the_exact_one(values: list[float], share: float) -> None:
    exact = sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]
    found = filled(values).quantile(share)

    assert exact - 2e-9 <= found <= exact * (1 + 1 / 128) + 2e-9


@given(durations, durations)
def test_histograms_add_up(first: list[float], second: list[float]) -> None:
    total = filled(first)
    total.add(filled(second))
    whole = filled(first + second)

    assert list(total.buckets()) == list(whole.buckets())
    assert (total.count, total.max_s, total.min_s) == (whole.count, whole.max_s, whole.min_s)
    assert total.mean_s == pytest.approx(statistics.fmean(first + second))


def test_quantiles_of_an_exponential_are_those_of_the_formula() -> None:
    rng, histogram = Random(1), Histogram()
    for _ in range(200_000):
        histogram.record(rng.expovariate(10))

    for share in (0.5, 0.9, 0.99, 0.999):
        assert histogram.quantile(share) == pytest.approx(-math.log(1 - share) / 10, rel=0.06)
    assert histogram.mean_s == pytest.approx(0.1, rel=0.01)


def test_an_empty_histogram_has_no_quantile() -> None:
    assert (Histogram().quantile(0.99), Histogram().mean_s) == (0.0, 0.0)


@pytest.mark.parametrize(("kind", "variation"), [("poisson", 1.0), ("constant", 0.0)])
def test_arrivals_have_the_rate_and_the_variation_of_their_kind(kind: str, variation: float) -> None:
    arrivals = Arrivals(250, kind, 3, 50.0)  # type: ignore[arg-type]  # parametrised
    times = []
    for _ in range(20_000):
        times.append(arrivals.next_s)
        arrivals.advance()
    gaps = [after - before for before, after in itertools.pairwise(times)]

    assert times[0] >= 50.0
    assert statistics.fmean(gaps) == pytest.approx(1 / 250, rel=0.03)
    assert statistics.stdev(gaps) / statistics.fmean(gaps) == pytest.approx(variation, abs=0.03)


STREAM = (
    b'data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    b": ping\n\n"
    b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": null}]}\r\n\r\n'
    b'data: {"choices":[{"delta":{"content":" \\"error\\": {"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{"}}]},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":17,"completion_tokens_details":{"reasoning_tokens":0}}}\n\n'
    b"data: [DONE]\n\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_where_the_network_cuts_a_stream_does_not_change_what_is_counted(cuts: list[int]) -> None:
    reader, places = EventReader(), [0, *sorted(cuts), len(STREAM)]
    deltas = sum(reader.feed(STREAM[start:end]) for start, end in itertools.pairwise(places))

    assert (deltas, reader.deltas, reader.finished, reader.failed, reader.tokens_out) == (3, 3, True, False, 17)


@pytest.mark.parametrize(
    ("event", "failed", "finished", "deltas"),
    [
        (b'data: {"error":{"message":"x"}}', True, False, 0),
        (b'data: {"id":"g","choices":[],"error": {"code":502}}', True, False, 0),
        (b'event: response.failed\ndata: {"type":"response.failed","response":{}}', True, False, 0),
        (b'event: response.completed\ndata: {"type":"response.completed","response":{"error":null,"text":"x"}}', False, True, 0),
        (b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"x"}', False, False, 1),
        (b'event: response.output_text.done\ndata: {"type":"response.output_text.done","text":"x"}', False, False, 0),
    ],
)
def test_an_event_is_told_by_its_bytes(event: bytes, failed: bool, finished: bool, deltas: int) -> None:
    reader = EventReader()

    assert reader.feed(event + b"\n\n") == deltas
    assert (reader.failed, reader.finished) == (failed, finished)


@pytest.mark.parametrize(
    ("url", "expected", "header"),
    [
        ("http://127.0.0.1:9001", ("127.0.0.1", 9001, "/v1", False), "127.0.0.1:9001"),
        ("http://localhost:80/openai/v1/", ("localhost", 80, "/openai/v1", False), "localhost"),
        ("https://api.example.com", ("api.example.com", 443, "/v1", True), "api.example.com"),
        ("http://[::1]:8080", ("::1", 8080, "/v1", False), "[::1]:8080"),
    ],
)
def test_a_base_url_is_what_an_sdk_takes(url: str, expected: tuple[str, int, str, bool], header: str) -> None:
    target = Target.parse(url)

    assert (target.host, target.port, target.path, target.tls) == expected
    assert target.host_header == header


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://x:99999"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        Target.parse(url)


def test_prompts_of_a_file_are_texts_messages_or_bodies(tmp_path: Path) -> None:
    file = tmp_path / "prompts"
    file.write_text('Plain text\n\n"quoted"\n[{"role":"system","content":"x"}]\n{"messages":[],"temperature":0}\n{broken\n')
    options = Options(target=Target.parse("http://x"), stream=True, model="m")
    decoded = [msgspec.json.decode(body) for body in bodies(options, read_prompts(file), Distribution.parse(9))]

    assert [body["messages"] for body in decoded] == [
        [{"role": "user", "content": "Plain text"}],
        [{"role": "user", "content": "quoted"}],
        [{"role": "system", "content": "x"}],
        [],
        [{"role": "user", "content": "{broken"}],
    ]
    assert all(body["model"] == "m" and body["stream"] and body["max_tokens"] == 9 for body in decoded)
    assert decoded[3]["temperature"] == 0
    with pytest.raises(ConfigError, match="cannot read"):
        read_prompts(tmp_path / "absent")


def test_generated_prompts_have_the_asked_lengths_and_requests_their_own() -> None:
    prompts = generated(Distribution.parse("uniform:10,20"), 1)
    options = Options(target=Target.parse("http://x:1"), door="embeddings", key="sk")
    request = requests(options, bodies(options, prompts, None))[0]
    head, _, body = request.partition(b"\r\n\r\n")

    assert all(10 <= len(str(prompt).split()) <= 20 for prompt in prompts)
    assert generated(Distribution.parse("uniform:10,20"), 1) == prompts
    assert head.startswith(b"POST /v1/embeddings HTTP/1.1\r\nhost: x:1\r\n")
    assert b"authorization: Bearer sk" in head
    assert f"content-length: {len(body)}".encode() in head
