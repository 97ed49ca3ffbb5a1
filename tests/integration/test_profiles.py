"""`dispatch profile`: endpoints measured on tasks, and a route that follows what was measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.cli import main
from dispatch.config import build

from tests.integration.hosted import Hosted
from tests.integration.peer import Peer, chat

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

TASKS = [
    {"p": "four", "answer": "Four."},
    {"p": "anything at all", "answer": "five"},
    {"p": "abc-123", "answer": r"\d{3}$", "score": "regex", "axis": "form"},
    {"p": "I would give 7 points", "answer": "x", "score": "judge", "axis": "taste"},
]


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_endpoints_are_measured_and_a_route_follows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"endpoints": [{"name": name, "provider": "echo"} for name in ("a", "b")], "models": {"judge": "a"}}
    source = written(tmp_path, "dispatch.json", json.dumps(config))
    tasks = written(tmp_path, "tasks.jsonl", "\n".join(map(json.dumps, TASKS)))
    out = tmp_path / "profiles.json"

    assert main(["profile", "--tasks", tasks, "--out", str(out), "--config", source, "--judge", "judge", "--endpoints", "a"]) == 0

    found = json.loads(out.read_text())["a"]
    assert {axis: found["profile"][axis] for axis in ("accuracy", "form", "speed")} == {"accuracy": 0.5, "form": 1.0, "speed": 1.0}
    # This judge echoes what it is asked, whose first number is 7.
    assert found["profile"]["taste"] == 0.7
    assert "a: accuracy 0.500" in capsys.readouterr().out


async def test_a_route_takes_the_measured_profiles(tmp_path: Path) -> None:
    profiles = written(tmp_path, "profiles.json", json.dumps({"a": {"profile": {"taste": 0.1}}, "b": {"profile": {"taste": 0.9}}}))
    plan: dict[str, Any] = {"by": "profile", "among": ["a", "b"], "prefer": {"taste": 1}, "profiles": profiles}
    config = {"endpoints": [{"name": name, "provider": "echo"} for name in ("a", "b")], "models": {"m": {"route": plan}}}
    async with Hosted(config) as hosted, Peer(hosted.port) as peer:
        assert (await peer.ask(chat("m", "hi"))).headers["x-dispatch-endpoint"] == "b"


def test_tasks_that_cannot_be_read_are_refused_with_their_line(tmp_path: Path) -> None:
    tasks = written(tmp_path, "tasks.jsonl", '{"p": "x", "answer": "(", "score": "regex"}')
    assert main(["profile", "--tasks", tasks, "--out", str(tmp_path / "o"), "--config", written(tmp_path, "c.json", "{}")]) != 0


def test_a_profile_file_that_is_not_there_stops_the_start() -> None:
    plan = {"by": "profile", "among": ["a", "b"], "profiles": "/nowhere/profiles.json"}
    config = {"endpoints": [{"name": name, "provider": "echo"} for name in ("a", "b")], "models": {"m": {"route": plan}}}
    with pytest.raises(Exception, match=r"models\.m\.route\.profiles: cannot read"):
        build(config)
