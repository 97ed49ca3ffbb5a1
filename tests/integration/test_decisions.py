"""Decisions across workers, commands and the library: why, where to, and how good it was."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from dispatch import Client
from dispatch.cli import main
from dispatch.config import build
from dispatch.errors import BadRequest
from dispatch.learn.table import read

from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

CONFIG: dict[str, Any] = {
    "endpoints": [{"name": name, "provider": "echo"} for name in ("a", "b")],
    "models": {"m": {"route": {"by": "rules", "rules": [{"when": {"language": "de"}, "to": "a"}], "default": "b"}}},
}
GERMAN = "Könnten Sie mir bitte erklären, wie das funktioniert?"


async def ask(port: int, path: str, body: dict[str, Any]) -> tuple[int, str, Any]:
    """Over a connection of its own: status, decision, JSON."""
    async with aiohttp.ClientSession() as session, session.post(f"http://127.0.0.1:{port}{path}", json=body) as reply:
        return reply.status, reply.headers.get("x-dispatch-decision", ""), await reply.json()


async def test_any_worker_shows_and_takes_feedback_on_the_decision_of_another(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, {**CONFIG, "server": {"port": 0}}, "--workers", "2") as sidecar:
        question = {"model": "m", "messages": [{"role": "user", "content": GERMAN}]}
        made: dict[str, str] = {}
        for _ in range(200):
            _, name, _ = await ask(sidecar.port, "/v1/chat/completions", question)
            made[name.partition("-")[0]] = name
            if len(made) == 2:
                break
        assert len(made) == 2, "both workers have decided"

        root = f"http://127.0.0.1:{sidecar.port}"
        # One connection stays with one worker, which has to ask the other.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            for name in made.values():
                async with session.get(f"{root}/admin/decision", params={"id": name}) as reply:
                    found = await reply.json()
                    assert (reply.status, found["id"], found["steps"][0]["replayed"]) == (200, name, True)
                async with session.post(f"{root}/v1/feedback", json={"id": name, "score": 0.5}) as reply:
                    assert reply.status == 200
                async with session.get(f"{root}/admin/decision", params={"id": name + "0"}) as reply:
                    assert reply.status == 404

        # `dispatch why`, as a person reads it.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dispatch", "why", made["1"], "--url", root), stdout=asyncio.subprocess.PIPE
        )
        told = (await process.communicate())[0].decode()
        assert process.returncode == 0
        assert re.search(r"route by rules -> a: rules\[0\]; made again: the same", told)
        assert "feedback 0.5" in told


def test_a_command_tells_where_a_prompt_would_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dispatch.json"
    path.write_text(json.dumps(CONFIG))

    assert main(["route", GERMAN, "--model", "m", "--config", str(path)]) == 0
    assert "route by rules -> a: rules[0]" in capsys.readouterr().out
    assert main(["route", "hello there", "--model", "m", "--config", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"][0]["chosen"] == "b"
    assert main(["route", "hi", "--model", "nobody", "--config", str(path)]) == 1


async def test_the_library_tells_how_good_an_answer_was() -> None:
    async with Client(build(CONFIG)) as client:
        answer = await client.chat("m", "hi")
        assert answer.decision
        await client.feedback(answer, 0.9)
        with pytest.raises(BadRequest, match="no decision"):
            await client.feedback("nonsense", 0.9)
        with pytest.raises(BadRequest, match="from 0 to 1"):
            await client.feedback(answer, 9)


async def test_a_client_of_a_sidecar_does_too(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, {**CONFIG, "server": {"port": 0}}, "--workers", "1") as sidecar, Client(sidecar.base_url) as client:
        answer = await client.chat("m", "hi")
        await client.feedback(answer, 0.9)


def test_examples_of_classes_are_a_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"p": "a", "label": "x"}\n{"p": "b", "label": "y"}\n')

    table = read(path)

    assert (table.models, table.scores) == (("x", "y"), [(1.0, 0.0), (0.0, 1.0)])
