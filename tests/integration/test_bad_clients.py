"""Clients that are slow, impatient, old-fashioned, or gone: each is dropped or served, and leaves nothing behind (`Hosted` looks)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from dispatch.errors import Failure
from dispatch.testing import MockProvider

from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import Peer, Reply, body_of, chat, events_of, post
from tests.integration.sidecar import Sidecar
from tests.integration.upstream import Upstream, answer, delta, once, stream_head

pytestmark = pytest.mark.anyio

HASTY = {"read_timeout_s": 0.4, "idle_s": 0.4, "write_timeout_s": 0.4}
BUSY_S = 5.0
"""By how much a busy machine may be later than a quiet one."""
HEALTHY = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


def echo(**server: Any) -> dict[str, Any]:
    return {"server": server, "endpoints": [{"name": "echo", "provider": "echo"}], "models": {"m": "echo"}}


def text_of(reply: Reply) -> str:
    text: str = json.loads(reply.body)["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("sent", [b"P", chat()[:40], chat()[:-5], b"\r\n\r\n", chat() + chat()[:-5]])
async def test_a_client_that_falls_silent_within_a_request_gets_408(sent: bytes) -> None:
    async with Hosted(echo(**(HASTY | {"idle_s": 60}))) as hosted:
        peer = await hosted.peer()
        await peer.send(sent)
        if sent.startswith(chat()):
            assert (await peer.reply()).status == 200
        reply = await peer.reply()

        assert reply.code == (408, "request_timeout")
        assert await peer.to_end() == b""


async def test_a_client_that_says_nothing_is_closed_without_a_word() -> None:
    async with Hosted(echo(**HASTY)) as hosted:
        fresh, used = await hosted.peer(), await hosted.peer()
        assert (await used.ask(HEALTHY)).status == 200

        assert (await fresh.to_end(), fresh.end) == (b"", "fin")
        assert (await used.to_end(), used.end) == (b"", "fin")


async def test_a_kept_connection_is_idle_from_its_answer_on_not_from_its_request() -> None:
    async with MockProvider(first_token_s=2.7) as mock, Hosted(pool(mock.base_url, server={"idle_s": 2.5})) as hosted:
        peer = await hosted.peer()

        assert (await peer.ask(chat())).status == 200
        # Longer than a turn of the slow clock, shorter than `idle_s`: time is what is tested.
        before = monotonic()
        await until(lambda: monotonic() - before > 0.6)

        assert (await peer.ask(HEALTHY)).status == 200


async def test_a_client_that_ends_its_side_before_an_answer_has_left() -> None:
    async with MockProvider(faults={"hang_before_head": 1}) as mock, Hosted(pool(mock.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat())
        await mock.until(lambda journal: len(journal) == 1)
        peer.half_close()

        await mock.until(lambda journal: len(journal) == 1 and journal[0].left)
        assert await peer.to_end() == b""
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})
        assert hosted.attempts() == {Failure.CANCELLED: 1}


async def test_a_client_that_ends_its_side_amid_an_unread_stream_has_left() -> None:
    async with MockProvider(output_tokens=1_000_000) as mock, Hosted(pool(mock.base_url)) as hosted:
        peer = await hosted.peer(receive_bytes=4096)
        await peer.send(chat(stream=True))
        await until(lambda: any(client.paused_ns for client in hosted.front.connections))
        peer.half_close()

        await mock.until(lambda journal: len(journal) == 1 and journal[0].left)
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})


async def test_a_client_that_ends_its_side_within_a_request_is_closed() -> None:
    async with Hosted(echo()) as hosted:
        peer = await hosted.peer()
        await peer.send(chat()[:-1])
        peer.half_close()

        assert await peer.to_end() == b""


async def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    async with MockProvider(echo=True, first_token_s=0.01) as mock, Hosted(pool(mock.base_url)) as hosted:
        peer = await hosted.peer()
        assert (await peer.ask(chat())).status == 200
        await hosted.rested()
        await peer.send(b"".join(chat(text=str(number)) for number in range(20)))
        replies = [await peer.reply() for _ in range(20)]

        assert [text_of(reply) for reply in replies] == [str(number) for number in range(20)]
        assert max(row.in_flight for row in hosted.snapshot().endpoints.values()) == 0
        assert mock.connections == 1


async def test_streams_errors_and_answers_may_follow_each_other_on_a_connection() -> None:
    async with Hosted(echo()) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True, text="one") + chat("nobody") + chat(text="three") + HEALTHY)

        first, second, third, fourth = [await peer.reply() for _ in range(4)]

    assert events_of(first.body)[-1] == "[DONE]"
    assert second.code == (404, "model_not_found")
    assert text_of(third) == "three"
    assert fourth.status == 200


async def test_more_than_64_kib_sent_ahead_closes_the_connection() -> None:
    async with MockProvider(faults={"hang_before_head": 1}) as mock, Hosted(pool(mock.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat())
        await mock.until(lambda journal: len(journal) == 1)
        try:
            await peer.send(chat(text="x" * 70_000))
        except ConnectionError:
            peer.end = "rst"

        assert await peer.to_end() == b""
        await mock.until(lambda journal: len(journal) == 1 and journal[0].left)
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})


async def test_a_client_that_reads_nothing_is_asked_for_nothing_more_and_then_dropped() -> None:
    """Answers that wait are bounded: what was sent ahead is not begun while the answer before it waits."""
    async with Hosted(echo(**(HASTY | {"write_timeout_s": 1.0}))) as hosted:
        peer = await hosted.peer(receive_bytes=4096)
        try:
            for _ in range(60):
                await asyncio.wait_for(peer.send(chat(text="x" * 60_000)), 0.5)
                await asyncio.sleep(0)  # A turn of the loop: the kernel may take all of them, and the sidecar is to see the first.
        except (TimeoutError, ConnectionError):
            pass
        waiting = max((client.transport.get_write_buffer_size() for client in hosted.front.connections), default=0)
        served = len(hosted.reports)

        assert waiting < 400_000
        # What the kernels hold, and what waits here.
        assert served < 60
        await until(lambda: not hosted.front.connections)


async def test_an_http_1_0_client_gets_a_plain_answer_and_the_end() -> None:
    async with Hosted(echo()) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(chat(version="1.0"))

        assert text_of(reply)
        assert "transfer-encoding" not in reply.headers
        assert reply.headers["connection"] == "close"
        assert (await peer.to_end(), peer.end) == (b"", "fin")


async def test_an_http_1_0_client_gets_a_stream_without_chunks() -> None:
    async with MockProvider(output_tokens=4) as mock, Hosted(pool(mock.base_url)) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(chat(version="1.0", stream=True))

        assert "transfer-encoding" not in reply.headers
        assert events_of(reply.body)[-1] == "[DONE]"
        assert peer.end == "fin"


async def test_a_stream_that_breaks_ends_with_a_reset_for_an_http_1_0_client() -> None:
    """Without chunks only the end of the connection ends the message, so that must not look clean."""

    async def cut(line: Any) -> None:
        await line.request()
        await line.send(stream_head() + delta("half"))

    async with Upstream(cut) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(chat(version="1.0", stream=True))

        assert events_of(reply.body)[-1]["error"]["code"] == "upstream_error"
        assert (reply.is_whole, peer.end) == (False, "rst")


async def test_an_http_1_0_client_may_keep_its_connection() -> None:
    async with Hosted(echo()) as hosted:
        peer = await hosted.peer()
        for _ in range(2):
            reply = await peer.ask(chat("m", "hi", "connection: keep-alive", version="1.0"))
            assert reply.status == 200
            assert "connection" not in reply.headers


async def test_a_stream_that_nobody_reads_pauses_its_upstream_and_is_dropped_in_time() -> None:
    async with (
        MockProvider(output_tokens=1_000_000) as mock,
        Hosted(pool(mock.base_url, server=HASTY | {"write_timeout_s": 1.0})) as hosted,
    ):
        peer = await hosted.peer(receive_bytes=4096)
        await peer.send(chat(stream=True))

        await mock.until(lambda journal: len(journal) == 1 and journal[0].left)
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})
        assert mock.journal[0].tokens_out < 200_000


async def test_a_client_that_resets_leaves_nothing() -> None:
    async with MockProvider(tokens_per_s=20, output_tokens=1000) as mock, Hosted(pool(mock.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await peer.until(b"data: ")
        peer.reset()

        await mock.until(lambda journal: len(journal) == 1 and journal[0].left)
        await until(lambda: hosted.outcomes() == {Failure.CANCELLED: 1})


async def test_answers_larger_than_a_socket_takes_arrive_whole() -> None:
    big = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 3_000_000}, "finish_reason": "stop"}]}
    async with Upstream(once(answer(big))) as upstream, Hosted(pool(upstream.base_url)) as hosted:
        peer = await hosted.peer(receive_bytes=4096)

        assert len(text_of(await peer.ask(chat()))) == 3_000_000


@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.parametrize("anyio_backend", [pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")])
async def test_ten_thousand_idle_connections_cost_little_and_are_given_back(tmp_path: Path) -> None:
    """From this process to one worker in another: the first byte of a request from each tenth of them."""
    async with Sidecar(tmp_path, echo(workers=1, idle_s=600, read_timeout_s=600)) as sidecar:
        [pid] = await sidecar.workers(1)
        used = [private_kib(pid)]
        for _ in range(2):
            peers = [Peer(sidecar.port) for _ in range(10_000)]
            for at in range(0, len(peers), 100):
                await asyncio.gather(*(peer.__aenter__() for peer in peers[at : at + 100]))
                await peers[at].send(b"P")
            async with Peer(sidecar.port) as one:
                assert (await one.ask(chat())).status == 200
            used.append(private_kib(pid))
            for peer in peers:
                peer.reset()
            await until(lambda: open_files(pid) < 100)
        before, first, second = used

    assert (first - before) / 10_000 < 12, "KiB for each connection"
    # The allocator keeps some of what it had; what was given back serves the next ten thousand.
    assert second - first < 0.1 * (first - before) + 1024, "each wave costs anew"


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def private_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_share_a_bounded_room_and_give_it_back(chunked: bool) -> None:
    """Announced or not: the first unfinished body takes most of it, the second has no place until the first has gone."""
    framing = b"transfer-encoding: chunked\r\n\r\n17318\r\n" if chunked else b"content-length: 95000\r\n\r\n"
    start = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n" + framing + b" " * 90_000
    async with Hosted(echo(buffer_bytes=100_000, max_body_bytes=100_000)) as hosted:
        first, second, third = [await hosted.peer() for _ in range(3)]
        await first.send(start)
        await until(lambda: hosted.front.room.taken >= 90_000)
        reply = await second.ask(start)

        assert reply.code == (503, "buffers_full")
        assert await second.to_end() == b""
        first.reset()
        await until(lambda: hosted.front.room.taken == 0)
        await third.send(start)
        await until(lambda: hosted.front.room.taken >= 90_000)


async def test_a_body_without_room_waits_a_second_for_it() -> None:
    """What others give back in time is taken; a body that gets none in that second is refused, and not before."""
    start = post(b" " * 60_000)
    async with Hosted(echo(buffer_bytes=100_000, max_body_bytes=100_000)) as hosted:
        first, second, third = [await hosted.peer() for _ in range(3)]
        await first.send(start[:50_000])
        await until(lambda: hosted.front.room.taken == 60_000)
        before = monotonic()
        await second.send(post(body_of(text="x" * 50_000, model="m"))[:40_000])
        await until(lambda: hosted.front.room._waiting)
        first.reset()
        await until(lambda: 0 < hosted.front.room.taken < 60_000)
        assert monotonic() - before < 1 + BUSY_S
        await second.send(post(body_of(text="x" * 50_000, model="m"))[40_000:])
        assert (await second.reply()).status == 200

        other = await hosted.peer()
        await other.send(start[:50_000])
        await until(lambda: hosted.front.room.taken == 60_000)
        before = monotonic()
        reply = await third.ask(start[:50_000])
        assert reply.code == (503, "buffers_full")
        assert monotonic() - before >= 1


async def test_a_client_that_drips_a_request_does_not_hold_its_connection_for_ever() -> None:
    async with Hosted(echo(read_timeout_s=0.5)) as hosted:
        peer = await hosted.peer()
        before = monotonic()
        for byte in chat():
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.05)
            if not hosted.front.reading:
                break

        assert (await peer.reply()).code == (408, "request_timeout")
        assert monotonic() - before < 0.5 + 0.05 * 60 + BUSY_S
