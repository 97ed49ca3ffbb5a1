"""Every fault of the mock, seen from a bare socket, and what the journal says of it."""

from __future__ import annotations

import asyncio
import json
from time import monotonic

import pytest
from dispatch.mock.faults import Fault
from dispatch.testing import MockProvider

from tests.integration.bare import TERMINATOR, events_of, play, read_until, request_of

pytestmark = pytest.mark.anyio

HANGS = (Fault.HANG_BEFORE_HEAD, Fault.HANG_AFTER_HEAD, Fault.HANG_MID_STREAM)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", HANGS)
async def test_a_hang_sends_its_part_and_ends_when_the_client_leaves(fault: Fault, stream: bool) -> None:
    async with MockProvider(faults={fault: 1}, output_tokens=8) as mock:
        reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
        writer.write(request_of(stream=stream))
        await mock.until(lambda journal: len(journal) == 1 and journal[0].outcome == fault)
        sent = b"" if fault is Fault.HANG_BEFORE_HEAD else await read_until(reader, b"\r\n\r\n")
        writer.close()
        await mock.until(lambda journal: journal[0].left)

    assert (b"200 OK" in sent) == (fault is not Fault.HANG_BEFORE_HEAD)
    assert not sent.endswith(TERMINATOR)
    assert mock.journal[0].outcome == fault


@pytest.mark.parametrize("fault", [Fault.CLOSE_BEFORE_HEAD, Fault.RESET_BEFORE_HEAD])
async def test_a_connection_ends_without_an_answer_byte(fault: Fault) -> None:
    async with MockProvider(faults={fault: 1}) as mock:
        sent, end = await play(mock, request_of())

    assert (sent, end) == (b"", "fin" if fault is Fault.CLOSE_BEFORE_HEAD else "rst")
    assert [(entry.outcome, entry.status, entry.left) for entry in mock.journal] == [(fault, 0, False)]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("fault", "end"), [(Fault.CUT_FIN, "fin"), (Fault.CUT_RST, "rst")])
async def test_a_cut_answer_breaks_its_framing(fault: Fault, end: str, stream: bool) -> None:
    async with MockProvider(faults={fault: 1}, output_tokens=40, tokens_per_s=2000) as mock:
        sent, ended = await play(mock, request_of(stream=stream))

    assert ended == end
    if fault is Fault.CUT_FIN:  # a reset may take the bytes before it along
        assert b"200 OK" in sent
    assert not sent.endswith(TERMINATOR)
    assert b"finish_reason" not in sent if not stream else b"[DONE]" not in sent
    assert mock.journal[0].outcome == fault


@pytest.mark.parametrize(
    ("fault", "finish", "done"),
    [(Fault.END_EARLY, False, False), (Fault.NO_FINISH_REASON, False, False), (Fault.NO_DONE, True, False), (Fault.SLOW, True, True)],
)
async def test_a_stream_ends_in_good_framing_without_its_last_events(fault: Fault, finish: bool, done: bool) -> None:
    async with MockProvider(faults={fault: 1}, output_tokens=8) as mock:
        sent, _ = await play(mock, request_of())

    assert sent.endswith(TERMINATOR)
    assert (b'"finish_reason":"stop"' in sent) == finish
    assert (b"[DONE]" in sent) == done
    assert sent.count(b'"content":"') - 1 == (4 if fault is Fault.END_EARLY else 8)


async def test_a_malformed_event_stands_among_whole_ones() -> None:
    async with MockProvider(faults={"malformed_event": 1}, output_tokens=8) as mock:
        events = events_of((await play(mock, request_of()))[0])
    broken = []
    for event in events[:-1]:
        try:
            json.loads(event)
        except ValueError:
            broken.append(event)

    assert len(broken) == 1
    assert len(events) == 1 + 8 + 1 + 1
    assert events[-1] == b"[DONE]"


async def test_an_error_event_ends_a_stream_that_began_well() -> None:
    async with MockProvider(faults={"error_event": 1}, output_tokens=8) as mock:
        events = events_of((await play(mock, request_of()))[0])

    assert "error" in json.loads(events[-1])
    assert len(events) == 1 + 4 + 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fault", "needle"),
    [
        (Fault.HTML_PAGE, b"text/html"),
        (Fault.EMPTY_BODY, b"content-length: 0"),
        (Fault.WRONG_CONTENT_TYPE, b"text/plain"),
        (Fault.REDIRECT, b"HTTP/1.1 307"),
    ],
)
async def test_an_answer_is_not_what_it_should_be(fault: Fault, needle: bytes, stream: bool) -> None:
    async with MockProvider(faults={fault: 1}) as mock:
        sent, _ = await play(mock, request_of(stream=stream))

    assert needle in sent
    assert mock.journal[0].outcome == fault


@pytest.mark.parametrize("fault", [Fault.TRUNCATED_JSON, Fault.END_EARLY, Fault.MALFORMED_EVENT])
async def test_a_whole_answer_is_half_its_json_under_a_length_that_fits(fault: Fault) -> None:
    async with MockProvider(faults={fault: 1}) as mock:
        head, _, body = (await play(mock, request_of(stream=False)))[0].partition(b"\r\n\r\n")

    assert f"content-length: {len(body)}".encode() in head
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(body)


ANSWERS = {
    Fault.RATE_LIMIT: (429, b"rate_limit_exceeded"),
    Fault.QUOTA: (429, b"insufficient_quota"),
    Fault.SERVER_ERROR: (500, b"server_error"),
    Fault.BAD_GATEWAY: (502, b"<html>"),
    Fault.UNAVAILABLE: (503, b"unavailable"),
    Fault.OVERLOADED: (529, b"overloaded_error"),
    Fault.BAD_KEY: (401, b"invalid_api_key"),
    Fault.CONTEXT_LENGTH: (400, b"context_length_exceeded"),
    Fault.CONTENT_FILTER: (400, b"content_filter"),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", ANSWERS)
async def test_an_error_answer_has_its_providers_words(fault: Fault, stream: bool) -> None:
    status, words = ANSWERS[fault]
    async with MockProvider(faults={fault: 1}) as mock:
        sent, _ = await play(mock, request_of(stream=stream))

    assert sent.startswith(b"HTTP/1.1 %d " % status)
    assert words in sent
    assert (b"retry-after: 1" in sent) == (fault is Fault.RATE_LIMIT)
    assert (mock.journal[0].outcome, mock.journal[0].status, mock.journal[0].whole) == (fault, status, False)


@pytest.mark.parametrize(
    ("fault", "deltas", "finish", "whole"),
    [
        (Fault.CUT_AFTER_HEAD, 0, False, False),
        (Fault.CUT_MID_EVENT, 4, False, False),
        (Fault.CUT_BEFORE_FINISH, 8, False, False),
        (Fault.CUT_AFTER_FINISH, 8, True, True),
    ],
)
async def test_a_stream_is_cut_at_any_place(fault: Fault, deltas: int, finish: bool, whole: bool) -> None:
    async with MockProvider(faults={fault: 1}, output_tokens=8) as mock:
        sent, end = await play(mock, request_of())

    assert (end, sent.endswith(TERMINATOR)) == ("fin", False)
    assert sent.count(b'"content":"') - (1 if deltas else 0) == deltas
    assert sent.endswith(b"\n\n\r\n") == (fault in (Fault.CUT_BEFORE_FINISH, Fault.CUT_AFTER_FINISH))
    assert (b'"finish_reason":"stop"' in sent, b"[DONE]" in sent) == (finish, False)
    assert (mock.journal[0].outcome, mock.journal[0].whole) == (fault, whole)


async def test_a_503_is_the_first_event_of_a_stream() -> None:
    async with MockProvider(faults={"unavailable_event": 1}) as mock:
        sent, _ = await play(mock, request_of())

    assert sent.startswith(b"HTTP/1.1 200")
    assert json.loads(events_of(sent)[0])["error"]["code"] == 503
    assert len(events_of(sent)) == 1


async def test_a_tool_call_stops_in_the_middle_of_its_arguments() -> None:
    async with MockProvider(faults={"half_tool_call": 1}) as mock:
        sent, _ = await play(mock, request_of())
    calls = [json.loads(event)["choices"][0]["delta"]["tool_calls"][0] for event in events_of(sent)]

    assert calls[0]["function"]["name"] == "lookup"
    assert 0 < len("".join(call["function"]["arguments"] for call in calls)) < len('{"query": "mock", "limit": 0}')
    assert sent.endswith(TERMINATOR)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_huge_answer_is_as_long_as_it_was_asked_to_be(stream: bool) -> None:
    async with MockProvider(faults={"huge_answer": 1}, huge_bytes=300_000) as mock:
        sent, _ = await play(mock, request_of(stream=stream))

    assert sent.count(b"x" * 1000) >= 299
    assert mock.journal[0].sent_bytes == len(sent) > 300_000
    assert mock.journal[0].whole


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", ["stall", "trickle"])
async def test_what_is_late_comes_whole(fault: str, stream: bool) -> None:
    async with MockProvider(faults={fault: 1}, reply="a b c d", stall_s=0.3, chars_per_s=20 if stream else 2000) as mock:
        started = monotonic()
        sent, _ = await play(mock, request_of(stream=stream))
        took_s = monotonic() - started

    assert b'"finish_reason":"stop"' in sent
    assert took_s >= (0.28 if fault == "stall" else 0.1)
    assert mock.journal[0].whole
