"""Every fault of the mock, seen from a bare socket, and what the journal says of it."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from dispatch.mock.ask import digest_of
from dispatch.mock.faults import Fault
from dispatch.testing import MockProvider

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

HANGS = (Fault.HANG_BEFORE_HEAD, Fault.HANG_AFTER_HEAD, Fault.HANG_MID_STREAM)
TERMINATOR = b"\r\n0\r\n\r\n"


def request_of(*, stream: bool = True, path: str = "/v1/chat/completions", version: str = "1.1", **fields: Any) -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": stream, **fields}).encode()
    return f"POST {path} HTTP/{version}\r\nhost: mock\r\nauthorization: Bearer k\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def read_until(reader: asyncio.StreamReader, enough: bytes) -> bytes:
    data, seen = bytearray(), 0
    while data.find(enough, max(0, seen - len(enough))) < 0:
        seen = len(data)
        part = await reader.read(65536)
        if not part:
            break
        data += part
    return bytes(data)


async def play(mock: MockProvider, request: bytes) -> tuple[bytes, str]:
    """Send one request and read to the end of the connection: `fin` or `rst`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
    writer.write(request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
    data = b""
    try:
        while part := await reader.read(65536):
            data += part
    except ConnectionResetError:
        return data, "rst"
    finally:
        writer.close()
    return data, "fin"


def events_of(data: bytes) -> list[bytes]:
    lines = data.partition(b"\r\n\r\n")[2].split(b"\n")
    return [line.removeprefix(b"data: ").rstrip() for line in lines if line.startswith(b"data: ")]


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


async def test_a_rule_holds_for_some_requests_by_their_number() -> None:
    rule = {"model": "m", "from_request": 1, "to_request": 3, "set": {"faults": {"rate_limit": 1}}}
    async with MockProvider(scenario={"rules": [rule]}) as mock:
        for model in ("m", "m", "o", "m", "m"):
            await play(mock, request_of(stream=False).replace(b'"m"', f'"{model}"'.encode()))

    assert [entry.outcome for entry in mock.journal if entry.model == "m"] == ["ok", "rate_limit", "rate_limit", "ok"]


async def test_two_requests_with_one_prompt_have_one_digest() -> None:
    async with MockProvider() as mock:
        for text in ("one", "one", "two"):
            await play(mock, request_of(stream=False, messages=[{"role": "user", "content": text}]))

    first, again, other = (entry.digest for entry in mock.journal)
    assert first == again == digest_of("one")
    assert other == digest_of("two")


async def test_nobody_listens_while_connections_are_refused() -> None:
    scenario = {"connections": [{"fault": "refuse", "to_s": 0.3}]}
    async with MockProvider(scenario=scenario) as mock:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", mock.port)
        sent = b""
        async with asyncio.timeout(10):
            while not sent:
                with suppress(ConnectionRefusedError):
                    sent, _ = await play(mock, request_of(stream=False))
                await asyncio.sleep(0.02)

    assert b"200 OK" in sent


async def test_a_connection_is_reset_as_soon_as_it_is_accepted() -> None:
    async with MockProvider(scenario={"connections": [{"fault": "reset"}]}) as mock:
        # It may come amid the handshake, or at the first read.
        with pytest.raises(ConnectionResetError):  # noqa: PT012  # either line may raise
            reader, _ = await asyncio.open_connection("127.0.0.1", mock.port)
            await reader.read()

    assert len(mock.journal) == 0


async def test_a_slow_handshake_delays_the_first_answer_of_a_connection(tmp_path: Path) -> None:
    cert = trustme.CA().issue_cert("127.0.0.1")
    cert.private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    scenario = {"connections": [{"fault": "slow_handshake", "delay_s": 0.3}]}
    async with MockProvider(scenario=scenario, tls_cert=tmp_path / "cert.pem") as mock:
        started = monotonic()
        _, writer = await asyncio.open_connection("127.0.0.1", mock.port, ssl=context)
        took_s = monotonic() - started
        writer.close()

    assert took_s >= 0.28


async def test_a_script_plays_for_each_model_and_key_on_its_own() -> None:
    async with MockProvider(script=[500, "close_before_head", "ok"]) as mock:
        for model in ("a", "b", "a", "a", "a"):
            await play(mock, request_of(stream=False).replace(b'"m"', f'"{model}"'.encode()))

    assert [(entry.model, entry.outcome) for entry in mock.journal] == [
        ("a", "http_500"),
        ("b", "http_500"),
        ("a", "close_before_head"),
        ("a", "ok"),
        ("a", "ok"),
    ]


async def test_chance_follows_its_rates_and_its_seed() -> None:
    async def outcomes(seed: int) -> list[str]:
        async with MockProvider(scenario={"seed": seed}, errors={500: 0.3}, faults={"no_done": 0.2}, output_tokens=1) as mock:
            reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
            for _ in range(400):
                writer.write(request_of(stream=False))
                await read_until(reader, b"}")
            await mock.until_over(400)
            writer.close()
            return [entry.outcome for entry in mock.journal]

    first, again, other = await outcomes(1), await outcomes(1), await outcomes(2)

    assert first == again != other
    assert 90 <= first.count("http_500") <= 150  # 120 expected, sigma 9.2
    assert 55 <= first.count("no_done") <= 105  # 80 expected, sigma 8


async def test_a_client_that_leaves_early_is_noted() -> None:
    async with MockProvider(output_tokens=1000, tokens_per_s=1000) as mock:
        reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
        writer.write(request_of())
        await read_until(reader, b'"content":" ')
        writer.close()
        await mock.until_over(1)

    assert (mock.journal[0].outcome, mock.journal[0].left) == ("left", True)
    assert 0 < mock.journal[0].tokens_out < 1000


async def test_a_reader_that_takes_nothing_is_not_written_to_without_end() -> None:
    async with MockProvider(output_tokens=50_000) as mock:
        reader, writer = await asyncio.open_connection("127.0.0.1", mock.port, limit=1024)
        writer.write(request_of())
        await mock.until(lambda journal: len(journal) == 1)
        await read_until(reader, b'"content":" ')
        held_back = mock.journal[0].tokens_out
        sent = await read_until(reader, TERMINATOR)
        writer.close()

    assert held_back < 50_000
    assert b"[DONE]" in sent


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with MockProvider(echo=True, first_token_s=0.001) as mock:
        reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
        turns = [[{"role": "user", "content": f"<{number}>"}] for number in range(5)]
        writer.write(b"".join(request_of(stream=False, messages=turn) for turn in turns))
        data = await read_until(reader, b'"content":"<4>"')
        writer.close()

    assert [data.index(f'"content":"<{number}>"'.encode()) for number in range(5)] == sorted(
        data.index(f'"content":"<{number}>"'.encode()) for number in range(5)
    )


async def test_http_1_0_gets_an_unchunked_stream() -> None:
    async with MockProvider(output_tokens=3) as mock:
        sent, end = await play(mock, request_of(version="1.0"))

    assert b"transfer-encoding" not in sent
    assert end == "fin"
    assert sent.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    async with MockProvider() as mock:
        reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
        head, _, body = request_of(stream=False).partition(b"\r\n\r\n")
        writer.write(head + b"\r\nexpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await read_until(reader, b"usage")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_azure_paths_name_the_model() -> None:
    async with MockProvider() as mock:
        request = request_of(stream=False, path="/openai/deployments/my-gpt/chat/completions?api-version=1", model="")
        await play(mock, request.replace(b"authorization: Bearer k", b"api-key: azure-key"))

    assert (mock.journal[0].model, mock.journal[0].key, mock.journal[0].outcome) == ("my-gpt", "azure-key", "ok")


async def test_it_listens_on_a_unix_socket(tmp_path: Path) -> None:
    async with MockProvider(unix=tmp_path / "mock.sock") as mock:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "mock.sock"))
        writer.write(request_of())
        sent = await read_until(reader, TERMINATOR)
        writer.close()

    assert b"[DONE]" in sent
    assert mock.journal[0].outcome == "ok"


async def test_journal_and_scenario_are_reached_by_http() -> None:
    async with MockProvider() as mock:
        await play(mock, request_of(stream=False))
        scenario = b'defaults: {reply: "new"}'
        put = b"PUT /scenario HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(scenario), scenario)
        changed, _ = await play(mock, put)
        wrong, _ = await play(mock, put.replace(b"reply", b"rep1y"))
        sent, _ = await play(mock, request_of(stream=False))
        listed, _ = await play(mock, b"GET /journal?since=1 HTTP/1.1\r\nhost: x\r\n\r\n")
        cleared, _ = await play(mock, b"DELETE /journal HTTP/1.1\r\nhost: x\r\n\r\n")

    assert b"200 OK" in changed
    assert b"400 Bad Request" in wrong
    assert b"rep1y" in wrong
    assert b'"content":"new"' in sent
    journal = json.loads(listed.partition(b"\r\n\r\n")[2])
    assert journal["total"] == 2
    assert [entry["number"] for entry in journal["entries"]] == [1]
    assert b"200 OK" in cleared
    assert len(mock.journal) == 0


async def test_broken_http_is_400_and_closed() -> None:
    async with MockProvider() as mock:
        sent, end = await play(mock, b"NONSENSE\r\n\r\n")

    assert sent.startswith(b"HTTP/1.1 400")
    assert end == "fin"
