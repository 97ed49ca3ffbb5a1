"""Log lines: what they say, what they never say, and a reader that does not read."""

from __future__ import annotations

import json
import os
import select
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.errors import Failure, Overloaded
from dispatch.exchange import Call
from dispatch.telemetry.log import KEPT_BYTES, Log

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def call_of(**fields: Any) -> Call:
    call = Call(None, "say", "chat", None, monotonic_ns() - 5_000_000, monotonic_ns())  # type: ignore[arg-type]  # neither is looked at
    call.request_id = b"x-request-id: req-1\r\n"
    for name, value in fields.items():
        setattr(call, name, value)
    return call


def lines_of(end: int) -> list[str]:
    data = b""
    while select.select([end], [], [], 0)[0]:
        data += os.read(end, 1 << 20)
    return data.decode().splitlines()


def test_a_request_is_one_json_line(pipe: tuple[int, int]) -> None:
    log = Log("json", 3, pipe[1])
    received_ns = monotonic_ns() - 5_000_000
    fields: dict[str, Any] = {
        "endpoint": "up",
        "key": "team",
        "attempts": 2,
        "usage": (10, 20, 5, 0),
        "overhead_ns": 55_400,
        "stream": True,
    }

    log.request(call_of(received_ns=received_ns, first_ns=received_ns + 2_000_000, **fields), Failure.NONE, None)
    (line,) = map(json.loads, lines_of(pipe[0]))

    assert line.pop("time").endswith("Z")
    assert 5 <= line.pop("duration_ms") < 5_000
    assert line == {
        "event": "request",
        "worker": 3,
        "id": "req-1",
        "model": "say",
        "endpoint": "up",
        "api": "chat",
        "outcome": "ok",
        "status": 200,
        "attempts": 2,
        "overhead_ms": 0.055,
        "first_token_ms": 2.0,
        "stream": True,
        "key": "team",
        "tokens_in": 10,
        "tokens_out": 20,
        "tokens_cached": 5,
    }


def test_how_it_ended_is_named(pipe: tuple[int, int]) -> None:
    log = Log("json", 0, pipe[1])

    log.request(call_of(), Failure.RATE_LIMITED, Overloaded("full"))
    log.request(call_of(), Failure.CANCELLED, None)
    refused, left = map(json.loads, lines_of(pipe[0]))

    assert (refused["outcome"], refused["status"], refused["error"]) == ("rate_limited", 429, "rate_limit_exceeded")
    assert (left["outcome"], left["status"]) == ("cancelled", 499)


def test_what_a_client_names_cannot_steer_a_terminal(pipe: tuple[int, int]) -> None:
    log = Log("human", 0, pipe[1])

    log.request(call_of(model="a\x1b[2J\nb", request_id=b"x-request-id: \x1b]0;c\r\n"), Failure.NONE, None)
    (line,) = lines_of(pipe[0])

    assert line.isprintable()
    assert r"a\x1b[2J\nb" in line


def test_lines_of_requests_are_written_together(pipe: tuple[int, int]) -> None:
    log = Log("json", 0, pipe[1])
    woken: list[int] = []
    log.wake = lambda: woken.append(1)

    for _ in range(100):
        log.request(call_of(), Failure.NONE, None)
    early = lines_of(pipe[0])
    log.flush()

    assert (early, len(woken)) == ([], 1)
    assert len(lines_of(pipe[0])) == 100


def test_a_reader_that_does_not_read_stops_nothing_and_hears_what_it_missed(pipe: tuple[int, int]) -> None:
    log = Log("json", 0, pipe[1])
    log.wake = lambda: None
    count = 2 * KEPT_BYTES // 150

    for _ in range(count):
        log.request(call_of(), Failure.NONE, None)
        log.flush()
    dropped = log.dropped
    lines: list[str] = []
    while log.is_behind:
        lines += lines_of(pipe[0])
        log.flush()
    lines += lines_of(pipe[0])

    said = [json.loads(line) for line in lines if "dropped" in line]
    assert dropped > 0
    assert [one["count"] for one in said] == [dropped]
    assert len(lines) - len(said) == count - dropped


def test_off_writes_nothing(pipe: tuple[int, int]) -> None:
    Log("off", None, pipe[1]).event("draining", "stopping")

    assert lines_of(pipe[0]) == []


def test_a_reader_that_is_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    Log("json", None, writer).event("draining", "stopping")

    os.close(writer)
