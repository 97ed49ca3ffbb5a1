"""The load generator against servers whose behaviour is known."""

from __future__ import annotations

import asyncio
import html.parser
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from dispatch.bench.load import Load
from dispatch.bench.options import Options, Target
from dispatch.bench.page import page_of
from dispatch.bench.prompts import bodies, requests
from dispatch.bench.report import Report, make_report, text_of
from dispatch.mock.faults import Fault
from dispatch.testing import MockProvider

if TYPE_CHECKING:
    from pathlib import Path

    from dispatch.bench.record import Record

pytestmark = pytest.mark.anyio

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


async def measure(url: str, **fields: Any) -> tuple[Record, Report]:
    options = Options(target=Target.parse(url, fields.pop("unix", "")), **fields)
    load = Load(options, requests(options, bodies(options, ["Say hi"], None)), asyncio.get_running_loop())
    record = await load.run()
    return record, make_report(options, load, record)


class StallsOnce(asyncio.Protocol):
    """Answers at once, but the tenth request, and all that come meanwhile, only after `stall_s`."""

    def __init__(self, stall_s: float) -> None:
        self.stall_s = stall_s
        self.seen = 0
        self.stalled_until_s = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.seen += 1
        if self.seen == 10:
            self.stalled_until_s = loop.time() + self.stall_s
        loop.call_at(max(loop.time(), self.stalled_until_s), self.transport.write, ANSWER)


@pytest.mark.parametrize(("load", "slow"), [({"rate": 200.0, "arrivals": "constant"}, (35, 200)), ({}, (1, 10))])
async def test_a_stalled_server_delays_every_request_that_was_due_meanwhile(load: dict[str, Any], slow: tuple[int, int]) -> None:
    """At 200/s a stall of 0.4 s makes 40 requests wait for half of it or more; a closed loop of one sees one slow answer."""
    server = await asyncio.get_running_loop().create_server(lambda: StallsOnce(0.4), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        record, _ = await measure(f"http://127.0.0.1:{port}", concurrency=1, requests=300, **load)

    late = sum(count for upper_s, count in record.latency.buckets() if upper_s > 0.2)
    assert record.whole == 300
    assert slow[0] <= late <= slow[1]
    assert record.latency.max_s >= 0.39


async def test_latency_and_first_token_are_those_of_the_provider() -> None:
    async with MockProvider(first_token_s=0.05, tokens_per_s=200, output_tokens=11) as mock:
        record, report = await measure(mock.base_url, rate=100.0, requests=40, stream=True)

    assert (report.whole, report.failed, report.sent) == (40, 0, 40)
    assert record.first_token.min_s >= 0.05
    assert record.latency.min_s >= 0.1
    assert report.first_token.p50 < report.latency.p50
    assert record.gap.count == 40 * 10
    assert record.gap.sum_s >= 40 * 0.05 * 0.3  # a first event that comes late shortens the rest
    assert record.tokens_out == 40 * 11


@pytest.mark.parametrize("door", ["chat", "completions", "embeddings", "responses"])
@pytest.mark.parametrize("stream", [True, False])
async def test_every_door_is_measured(door: str, stream: bool) -> None:
    async with MockProvider(output_tokens=5) as mock:
        record, report = await measure(mock.base_url, concurrency=2, requests=20, stream=stream, door=door)

    assert (report.whole, report.errors) == (20, {})
    assert record.tokens_out == (0 if door == "embeddings" else 100)
    assert record.first_token.count == (20 if stream and door != "embeddings" else 0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("behaviour", "streamed", "whole"),
    [
        ({"errors": {429: 1}}, "http_429", "http_429"),
        ({"faults": {Fault.CLOSE_BEFORE_HEAD: 1}}, "closed_before_answer", "closed_before_answer"),
        ({"faults": {Fault.CUT_FIN: 1}}, "cut", "cut"),
        ({"faults": {Fault.END_EARLY: 1}}, "incomplete", "malformed"),
        ({"faults": {Fault.NO_FINISH_REASON: 1}}, "incomplete", "malformed"),
        ({"faults": {Fault.NO_DONE: 1}}, "", ""),
        ({"faults": {Fault.ERROR_EVENT: 1}}, "error_event", ""),
        ({"faults": {Fault.HANG_MID_STREAM: 1}}, "timeout", "timeout"),
    ],
)
async def test_a_failure_is_counted_by_its_kind(behaviour: dict[str, Any], streamed: str, whole: str, stream: bool) -> None:
    hangs = "timeout" in (streamed, whole)
    async with MockProvider(output_tokens=8, **behaviour) as mock:
        record, _ = await measure(mock.base_url, rate=500.0, requests=5, stream=stream, timeout_s=0.3 if hangs else 30)
    kind = streamed if stream else whole

    assert record.errors == ({kind: 5} if kind else {})
    assert record.whole + record.failed == 5


async def test_a_server_that_is_not_there_is_a_connect_error() -> None:
    async with MockProvider() as mock:
        url = mock.base_url
    record, report = await measure(url, rate=200.0, requests=5)

    assert record.errors == {"connect": 5}
    assert report.whole == 0


async def test_warm_up_is_sent_but_not_measured() -> None:
    async with MockProvider() as mock:
        record, _ = await measure(mock.base_url, rate=200.0, arrivals="constant", warmup_s=0.2, requests=20)

        assert len(mock.journal) > 40
    assert record.sent == record.whole == 20


async def test_it_speaks_over_a_unix_socket(tmp_path: Path) -> None:
    async with MockProvider(unix=tmp_path / "s") as mock:
        record, report = await measure("http://mock.local", unix=str(tmp_path / "s"), concurrency=3, requests=9)

        assert [entry.headers["host"] for entry in mock.journal] == ["mock.local"] * 9
    assert record.whole == 9
    assert report.url.startswith("unix:")


async def test_it_speaks_tls(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    async with MockProvider(tls_cert=tmp_path / "both.pem") as mock:
        trusted, _ = await measure(f"https://localhost:{mock.port}", concurrency=1, requests=2, insecure=True)
        refused, _ = await measure(f"https://localhost:{mock.port}", concurrency=1, requests=2)

    assert trusted.whole == 2
    assert refused.errors == {"connect": 2}


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br") and "/" not in (self.get_starttag_text() or "")[-2:]:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


async def test_reports_name_errors_and_the_page_stands_alone() -> None:
    async with MockProvider(errors={500: 0.3}, output_tokens=3, tokens_per_s=500) as mock:
        _, report = await measure(mock.base_url, rate=300.0, requests=60, stream=True, model="<b>&")
    page, text = page_of(report), text_of(report)
    tags = Tags()
    tags.feed(page)

    assert "http_500" in text
    assert "first token" in text
    assert "http_500" in page
    assert "&lt;b&gt;&amp;" in page
    assert (tags.open, tags.sources) == ([], [])
    assert tags.seen.count("svg") == 6
    assert "script" not in tags.seen
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


async def test_a_late_or_busy_generator_marks_its_run_invalid() -> None:
    async with MockProvider() as mock:
        options = Options(target=Target.parse(mock.base_url), rate=200.0, requests=20)
        load = Load(options, requests(options, bodies(options, ["x"], None)), asyncio.get_running_loop())
        record = await load.run()
        for _ in range(10):
            record.lag.record(0.01)
        load.cpu_share = 0.95
        report = make_report(options, load, record)

    assert not report.is_valid
    assert len(report.problems) == 2
    assert text_of(report).count("INVALID RUN") == 2
    assert page_of(report).count("Invalid run") == 2


async def test_the_command_writes_its_reports_and_its_exit_status(tmp_path: Path) -> None:
    async def bench(*flags: str) -> tuple[int, bytes]:
        command = [sys.executable, "-m", "dispatch", "bench", mock.url, "--quiet", *flags]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        out, _ = await process.communicate()
        return process.returncode or 0, out

    async with MockProvider(output_tokens=2) as mock:
        status, out = await bench("--requests", "5", "--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html"))
        wrong, complaint = await bench("--rate", "-1")
        mock.configure(errors={500: 1})
        failed, _ = await bench("--requests", "5")

    assert status == 0, out
    assert b"whole answers" in out
    assert msgspec.json.decode((tmp_path / "r.json").read_bytes())["whole"] == 5
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert (wrong, failed) == (2, 1)
    assert b"--rate" in complaint
