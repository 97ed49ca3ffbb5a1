"""docs/metrics.md and what a running sidecar tells under `/metrics` agree; the sums of the ledger are those of its lines."""

from __future__ import annotations

import json
import re
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from dispatch.telemetry.families import METRICS
from dispatch.telemetry.mishaps import MISHAPS
from dispatch.telemetry.reference import page
from dispatch.telemetry.routes import TAUGHT
from dispatch.testing import MockProvider
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.hosted import Hosted, pool
from tests.integration.peer import chat

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) \|")
GET = b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
KEY = "sk-team-0123456789"


def documented() -> dict[str, tuple[str, set[str]]]:
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in ROW.findall(PAGE.read_text())}


def told(text: bytes) -> dict[str, Any]:
    families = text_string_to_metric_families(text.decode())
    return {f"{family.name}_total" if family.type == "counter" else family.name: family for family in families}


HEDGE = {"after": 0.01, "max_share": 1, "max_cost_share": 1}


def everything(folder: Path, *base_urls: str, **model: Any) -> dict[str, Any]:
    """A configuration in which nearly each metric has something to tell."""
    config = pool(*base_urls, server={"ledger": str(folder / "ledger")}, **model)
    config["keys"] = [{"name": "team", "key": f"sha256:{sha256(KEY.encode()).hexdigest()}"}]
    for endpoint in config["endpoints"]:
        endpoint["price"] = {"input": 2.5, "output": 10}
        endpoint["limits"] = {"requests_per_min": 60_000}
    return config


async def test_the_page_is_that_of_the_code() -> None:
    assert PAGE.read_text() == page()


async def test_what_a_sidecar_tells_is_on_the_page_and_the_other_way_round(tmp_path: Path) -> None:
    async with (
        MockProvider(first_token_s=0.2, output_tokens=5) as slow,
        MockProvider(output_tokens=5, faults={"unavailable": 0.5}) as other,
        Hosted(everything(tmp_path, slow.base_url, other.base_url, hedge=HEDGE, cache={}, coalesce=True)) as hosted,
    ):
        peer = await hosted.peer()
        for number in range(6):
            reply = await peer.ask(chat("m", f"say {number}", f"authorization: Bearer {KEY}", stream=number % 2 == 0))
            assert reply.status in (200, 503)
        families = told((await peer.ask(GET)).body)

    page_says = documented()
    assert families.keys() <= page_says.keys()
    # Those that tell nothing yet are left out where the page says so.
    missing = page_says.keys() - families.keys()
    assert missing <= {metric.name for metric in (*METRICS, *TAUGHT, MISHAPS) if metric.only}
    for name, family in families.items():
        kind, labels = page_says[name]
        assert family.type == kind
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels


async def test_the_sums_of_the_ledger_are_those_of_its_lines(tmp_path: Path) -> None:
    async with (
        MockProvider(output_tokens=5, faults={"hang_before_head": 1}) as silent,
        MockProvider(output_tokens=5, faults={"server_error": 1}) as broken,
        MockProvider(output_tokens=5) as good,
        Hosted(everything(tmp_path, silent.base_url, broken.base_url, good.base_url, answer_s=0.3)) as hosted,
    ):
        peer = await hosted.peer()
        for number in range(6):
            assert (await peer.ask(chat("m", f"say {number}", f"authorization: Bearer {KEY}"))).status == 200
        await hosted.rested()
        families = told((await peer.ask(GET)).body)
    lines = [json.loads(line) for line in (tmp_path / "ledger.0").read_text().splitlines()]

    attempts = Counter((line["endpoint"], line["outcome"]) for line in lines)
    assert {outcome for _, outcome in attempts} == {"delivered", "wasted", "unknown"}
    assert attempts == {
        (sample.labels["endpoint"], sample.labels["outcome"]): sample.value for sample in families["dispatch_ledger_attempts_total"].samples
    }
    cost: Counter[str] = Counter()
    for line in lines:
        cost[line["outcome"]] += line.get("cost_pico", 0)
    by_model = {sample.labels["outcome"]: sample.value for sample in families["dispatch_model_cost_dollars_total"].samples}
    assert by_model == pytest.approx({outcome: pico / 1e12 for outcome, pico in cost.items() if pico})
    (key,) = families["dispatch_key_cost_dollars_total"].samples
    assert key.value == pytest.approx(cost["delivered"] / 1e12)
    # What may have been executed costs its prompt at least, by estimate.
    assert all(line["estimated"] and line["cost_pico"] for line in lines if line["outcome"] == "unknown")
