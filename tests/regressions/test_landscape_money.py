"""Money: what users of other gateways reported about tokens that were counted wrongly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import chat
from tests.integration.upstream import Line, Upstream, chunk, delta, once, stream_head

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

END = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def usage(cached: int) -> bytes:
    tokens = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107, "prompt_tokens_details": {"cached_tokens": cached}}
    return chunk(b"data: " + json.dumps({"choices": [], "usage": tokens}).encode() + b"\n\n")


async def test_litellm_36083_36168_a_stream_keeps_its_count_of_cached_tokens(tmp_path: Path) -> None:
    """Losing it was a fourfold overcharge: cached tokens cost a tenth."""
    script = once(stream_head() + delta("hello") + delta("", "stop") + usage(cached=90) + END)
    async with Upstream(script) as upstream:
        config = pool(upstream.base_url, server={"ledger": str(tmp_path / "ledger")})
        config["endpoints"][0]["price"] = {"input": 10, "cached_input": 1, "output": 20}
        async with Hosted(config) as hosted:
            await (await hosted.peer()).ask(chat(stream=True))
            counted = {
                dict(labels)["kind"]: value for (name, labels), value in (await hosted.metrics()).items() if name == "dispatch_tokens_total"
            }
    entry = json.loads((tmp_path / "ledger.0").read_text())

    assert counted == {"input": 100, "output": 7, "cached": 90}
    assert (entry["tokens_in"], entry["tokens_cached"], entry["tokens_out"]) == (100, 90, 7)
    assert entry["cost_pico"] == (10 * 10 + 90 * 1 + 7 * 20) * 1_000_000


async def test_litellm_42663_36008_a_stream_that_its_client_leaves_is_booked_with_what_it_used(tmp_path: Path) -> None:
    """The provider has generated and will bill it: the ledger and the endpoint's counters have it, by estimate."""

    async def script(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + b"".join(delta(f"word{number}") for number in range(20)))
        await line.gone()

    async with Upstream(script) as upstream, Hosted(pool(upstream.base_url, server={"ledger": str(tmp_path / "ledger")})) as hosted:
        peer = await hosted.peer()
        await peer.send(chat(stream=True))
        await peer.until(b"word19")
        peer.sock.close()
        await until((tmp_path / "ledger.0").read_text)
        entry = json.loads((tmp_path / "ledger.0").read_text())

    assert (entry["outcome"], entry["failure"]) == ("wasted", "cancelled")
    assert entry["tokens_out"] == 20
    assert entry["tokens_in"] > 0


async def test_a_stream_that_breaks_is_not_charged_to_its_key(tmp_path: Path) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(stream_head() + delta("half"))
        line.reset()

    async with Upstream(script) as upstream, Hosted(pool(upstream.base_url, server={"ledger": str(tmp_path / "ledger")})) as hosted:
        reply = await (await hosted.peer()).ask(chat(stream=True))
    entries = [json.loads(line) for line in (tmp_path / "ledger.0").read_text().splitlines()]

    assert not reply.is_whole
    assert [entry["outcome"] for entry in entries] == ["wasted"]
