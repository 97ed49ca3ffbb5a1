"""Which requests the mock's rules hold for, what befalls connections, and the HTTP around its answers."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

import pytest
import trustme
from dispatch.mock.ask import digest_of
from dispatch.testing import MockProvider

if TYPE_CHECKING:
    from pathlib import Path
from tests.integration.bare import TERMINATOR, play, read_until, request_of

pytestmark = pytest.mark.anyio


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
