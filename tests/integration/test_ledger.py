"""The ledger: every attempt has one entry, a request at most one that is delivered, and the provider's journal agrees with all."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.mock.ask import digest_of
from dispatch.testing import MockProvider

from tests.integration.hosted import Hosted, pool, until
from tests.integration.peer import chat
from tests.integration.upstream import Upstream, hang

if TYPE_CHECKING:
    from pathlib import Path

    from dispatch.mock.journal import Journal

pytestmark = pytest.mark.anyio

ENDPOINTS = ("a", "b")


def booked(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "ledger.0").read_text().splitlines()]


def config(folder: Path, *base_urls: str, **model: Any) -> dict[str, Any]:
    found = pool(*base_urls, server={"ledger": str(folder / "ledger")}, **model)
    for endpoint in found["endpoints"]:
        endpoint["price"] = {"input": 2.5, "output": 10}
    return found


async def test_an_answer_is_one_entry_that_its_key_pays(tmp_path: Path) -> None:
    async with MockProvider(output_tokens=5) as mock, Hosted(config(tmp_path, mock.base_url)) as hosted:
        peer = await hosted.peer()
        reply = await peer.ask(chat())
        stream = await peer.ask(chat(stream=True))
    whole, streamed = booked(tmp_path)

    assert (whole["id"], streamed["id"]) == (reply.headers["x-request-id"], stream.headers["x-request-id"])
    assert [entry["outcome"] for entry in (whole, streamed)] == ["delivered"] * 2
    usage = json.loads(reply.body)["usage"]
    assert (whole["tokens_in"], whole["tokens_out"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert whole["cost_pico"] == usage["prompt_tokens"] * 2_500_000 + usage["completion_tokens"] * 10_000_000
    assert streamed["tokens_out"] == 5
    assert (whole["model"], whole["endpoint"], whole["attempt"], whole["failure"]) == ("m", "a", 1, "none")


FAULTS = {
    "server_error": ("server", "wasted"),
    "rate_limit": ("rate_limited", "wasted"),
    "html_page": ("malformed", "wasted"),
    "cut_after_head": ("broken", "wasted"),
    "close_before_head": ("unknown_execution", "unknown"),
    "hang_before_head": ("first_token_timeout", "unknown"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_retry_is_a_second_entry_and_only_one_is_delivered(tmp_path: Path, fault: str, stream: bool) -> None:
    failure, outcome = FAULTS[fault]
    settings = {"first_token_s": 0.3, "answer_s": 0.3, "retry": {"unknown": True, "base_s": 0.001}}
    async with (
        MockProvider(script=[fault]) as bad,
        MockProvider() as good,
        Hosted(config(tmp_path, bad.base_url, good.base_url, **settings)) as hosted,
    ):
        reply = await (await hosted.peer()).ask(chat(stream=stream))
        await until(lambda: len(booked(tmp_path)) == 2)
        first, second = booked(tmp_path)

    assert reply.status == 200
    assert (first["attempt"], first["endpoint"], first["failure"], first["outcome"]) == (1, "a", failure, outcome)
    assert (second["attempt"], second["endpoint"], second["outcome"]) == (2, "b", "delivered")
    assert first["id"] == second["id"]
    # What may have been executed costs its prompt, by estimate; what surely was not, nothing.
    assert first.get("estimated", False) is (outcome == "unknown")
    assert first.get("cost_pico", 0) == (first["tokens_in"] * 2_500_000 if outcome == "unknown" else 0)
    assert [len(bad.journal), len(good.journal)] == [1, 1]


async def test_a_stream_without_a_report_is_estimated_and_says_so(tmp_path: Path) -> None:
    settings = config(tmp_path, "http://127.0.0.1:1/v1")
    async with MockProvider(output_tokens=5) as mock:
        settings["endpoints"][0] |= {"base_url": mock.base_url, "capabilities": {"stream_usage": False}}
        async with Hosted(settings) as hosted:
            await (await hosted.peer()).ask(chat(stream=True))
        call = hosted.reports[0][0]
    (entry,) = booked(tmp_path)

    assert (entry["outcome"], entry["tokens_out"], entry["estimated"]) == ("delivered", 5, True)
    assert entry["tokens_in"] == call.tokens_in
    assert (call.usage[1], call.is_estimated) == (5, True)


async def test_what_was_never_sent_is_wasted(tmp_path: Path) -> None:
    async with MockProvider(scenario={"connections": [{"fault": "refuse"}]}) as mock, Hosted(config(tmp_path, mock.base_url)) as hosted:
        reply = await (await hosted.peer()).ask(chat())

    assert reply.status == 502
    assert {(entry["failure"], entry["outcome"], entry["sent"]) for entry in booked(tmp_path)} == {("connect", "wasted", False)}
    assert len(mock.journal) == 0


async def test_a_client_that_leaves_before_the_answer_leaves_an_unknown(tmp_path: Path) -> None:
    async with Upstream(hang) as upstream, Hosted(config(tmp_path, upstream.base_url)) as hosted:
        peer = await hosted.peer()
        await peer.send(chat())
        await upstream.until(lambda: upstream.requests)
        peer.sock.close()
        await until(lambda: booked(tmp_path))

    assert [(entry["failure"], entry["outcome"]) for entry in booked(tmp_path)] == [("cancelled", "unknown")]


async def test_ledger_and_journal_agree_entry_by_entry(tmp_path: Path) -> None:
    """Chance plays every fault; what one side has, the other has as often, under the same prompt and in the same order."""
    faults = dict.fromkeys(("server_error", "cut_rst", "close_before_head", "error_event", "empty_body", "no_finish_reason"), 0.1)
    scenario = {"seed": 3, "defaults": {"echo": True, "faults": faults}}
    settings = {"strategy": "random", "retry": {"unknown": True, "base_s": 0.001, "attempts": 4}}
    async with (
        MockProvider(scenario=scenario) as one,
        MockProvider(scenario={**scenario, "seed": 4}) as two,
        Hosted(config(tmp_path, one.base_url, two.base_url, **settings)) as hosted,
    ):
        prompts: dict[str, str] = {}
        for number in range(60):
            text = f"prompt {number} of the agreement"
            reply = await (await hosted.peer()).ask(chat("m", text, stream=number % 2 == 0))
            prompts[reply.headers["x-request-id"]] = digest_of(text)
        entries = booked(tmp_path)

    assert max(Counter(entry["id"] for entry in entries if entry["outcome"] == "delivered").values()) == 1
    ledger = Counter((prompts[entry["id"]], entry["endpoint"], entry["outcome"] == "delivered") for entry in entries)
    assert ledger == journal_of(one.journal, "a") + journal_of(two.journal, "b")
    assert {entry["outcome"] for entry in entries} == {"delivered", "wasted", "unknown"}


def journal_of(journal: Journal, endpoint: str) -> Counter[tuple[str, str, bool]]:
    return Counter((entry.digest, endpoint, entry.outcome == "ok") for entry in journal)


async def test_a_reload_opens_the_file_anew_and_a_path_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    async with MockProvider() as mock, Hosted(config(tmp_path, mock.base_url)) as hosted:
        await (await hosted.peer()).ask(chat())
        (tmp_path / "ledger.0").rename(tmp_path / "rotated")
        hosted.reload(config(tmp_path, mock.base_url))
        await (await hosted.peer()).ask(chat())
        with pytest.raises(Exception, match=r"server\.ledger"):
            hosted.reload(config(tmp_path / "nowhere", mock.base_url))

    assert len((tmp_path / "rotated").read_text().splitlines()) == len(booked(tmp_path)) == 1
