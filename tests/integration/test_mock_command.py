"""`dispatch mock` as a process: flags, scenario file, journal file, signals."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import openai
import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def start(*flags: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "dispatch", "mock", *flags, stdout=pipe, stderr=pipe)


async def test_flags_patch_the_scenario_and_the_journal_is_on_disk_at_the_end(tmp_path: Path) -> None:
    scenario, journal = tmp_path / "scenario.yaml", tmp_path / "journal.jsonl"
    scenario.write_text("seed: 3\ndefaults: {reply: from the file, retry_after_s: 1}\nmodels: {broken: {errors: {503: 1}}}\n")
    process = await start("--port", "0", "--scenario", str(scenario), "--reply", "from the flag", "--journal", str(journal))
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().removeprefix("listening on ").strip()
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-1", max_retries=0) as sdk:
        reply = await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        with pytest.raises(openai.InternalServerError) as refused:
            await sdk.chat.completions.create(model="broken", messages=[{"role": "user", "content": "x"}])
    process.terminate()
    rest, complaint = await process.communicate()
    entries = [json.loads(line) for line in journal.read_text().splitlines()]

    assert reply.choices[0].message.content == "from the flag"
    assert refused.value.response.headers["retry-after"] == "1"
    assert (process.returncode, complaint) == (0, b"")
    assert b"2 requests" in rest
    assert [(entry["model"], entry["key"], entry["outcome"]) for entry in entries] == [("m", "sk-1", "ok"), ("broken", "sk-1", "http_503")]


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--first-token", "soon"], b"first_token_s"),
        (["--fault", "explode=1"], b"explode"),
        (["--error", "500=often"], b"--error"),
        (["--scenario", "/nowhere"], b"/nowhere"),
    ],
)
async def test_a_wrong_flag_is_refused_by_name(flags: list[str], word: bytes) -> None:
    process = await start("--port", "0", *flags)
    _, complaint = await process.communicate()

    assert process.returncode == 2
    assert word in complaint
    assert b"Traceback" not in complaint
