"""`dispatch merge` with a stand-in for mergekit and a server that answers one word."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from dispatch.cli import main
from dispatch.config import load

if TYPE_CHECKING:
    from pathlib import Path

MERGEKIT = """#!{python}
import pathlib, sys
recipe, out = sys.argv[1:3]
pathlib.Path(out).mkdir()
if "--fail" in sys.argv:
    sys.exit(3)
pathlib.Path(out, "config.json").write_text("{{}}")
"""

SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open(sys.argv[1] + "/asked", "a") as file:
            file.write(asked["model"] + "\\n")
        choice = {"index": 0, "message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}
        told = {"id": "x", "object": "chat.completion", "model": asked["model"], "choices": [choice], "usage": {}}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
assert sys.argv[1].endswith("merged") and sys.argv[2] == "merged", sys.argv
HTTPServer(("127.0.0.1", int(sys.argv[3])), Handler).serve_forever()
"""

CONFIG = """# Kept.
server: {port: 0}
endpoints:
  # The parent.
  - {name: parent, provider: echo}
models:
  chat: parent
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    program = tmp_path / "mergekit-yaml"
    program.write_text(MERGEKIT.format(python=sys.executable))
    program.chmod(0o755)
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "dispatch.yaml").write_text(CONFIG)
    (tmp_path / "tasks.jsonl").write_text(json.dumps({"p": "The capital of France?", "answer": "Paris"}) + "\n")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    recipe = {"merge_method": "linear", "models": [{"model": str(tmp_path / "one")}, {"model": str(tmp_path / "two")}]}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    return tmp_path


def merge(folder: Path, *flags: str) -> int:
    known = ["--mergekit", str(folder / "mergekit-yaml"), "--config", str(folder / "dispatch.yaml")]
    return main(["merge", str(folder / "recipe.yaml"), "--out", str(folder / "merged"), *known, *flags])


def test_a_merged_model_ends_as_an_endpoint_with_a_measured_profile(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serve = f"{sys.executable} {folder / 'server.py'} {{model}} {{name}} {{port}}"
    measured = ["--serve", serve, "--tasks", str(folder / "tasks.jsonl"), "--parents", "parent"]
    assert merge(folder, *measured, "--add") == 0
    told = capsys.readouterr().out
    assert "merged: accuracy 1.000" in told
    assert "parent: accuracy 0.000" in told
    text = (folder / "dispatch.yaml").read_text()
    assert text.startswith("# Kept.")
    assert "  # The parent.\n  - {name: parent" in text
    found = load(folder / "dispatch.yaml", {}).endpoint_by_name["merged"]
    assert (found.provider, found.offline_ok, found.profile["accuracy"]) == ("openai_compatible", True, 1.0)
    assert (folder / "merged" / "config.json").exists()
    assert (folder / "merged" / "asked").read_text() == "merged\nmerged\n", "once before it is timed: a server may load its model then"


def test_a_server_may_know_the_merged_model_by_its_folder(folder: Path) -> None:
    assert merge(folder, "--base-url", "http://127.0.0.1:9/v1", "--add", "--model", "{model}") == 0
    assert load(folder / "dispatch.yaml", {}).endpoint_by_name["merged"].model == str(folder / "merged")


def test_without_add_the_endpoint_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert merge(folder, "--base-url", "http://127.0.0.1:9/v1") == 0
    assert '"name":"merged"' in capsys.readouterr().out
    assert (folder / "dispatch.yaml").read_text() == CONFIG


def test_a_configuration_that_cannot_be_changed_as_text_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow = "endpoints: [{name: parent, provider: echo}]\nmodels: {chat: parent}\n"
    (folder / "dispatch.yaml").write_text(flow)
    assert merge(folder, "--base-url", "http://127.0.0.1:9/v1", "--add") == 1
    assert (folder / "dispatch.yaml").read_text() == flow
    assert '"name":"merged"' in capsys.readouterr().out


def test_a_merge_that_fails_leaves_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert merge(folder, "--merge-args=--fail", "--base-url", "http://127.0.0.1:9/v1", "--add") == 1
    assert "ended with 3" in capsys.readouterr().err
    assert not [*folder.glob("merged*")]
    assert (folder / "dispatch.yaml").read_text() == CONFIG


def test_a_server_that_ends_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing = f"{sys.executable} -c 'import sys; sys.exit(7)'"
    assert merge(folder, "--serve", failing, "--tasks", str(folder / "tasks.jsonl"), "--add") == 1
    assert "ended with 7" in capsys.readouterr().err
    assert (folder / "dispatch.yaml").read_text() == CONFIG


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--name", "parent"], "in the configuration already"),
        (["--parents", "mother"], "--parents"),
        (["--mergekit", "no-such-program"], "pip install mergekit"),
        (["--tasks", "tasks.jsonl"], "who serves"),
    ],
)
def test_what_would_fail_after_hours_is_refused_at_once(
    folder: Path, flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert merge(folder, *flags) == 2
    assert reason in capsys.readouterr().err


def test_a_checkpoint_that_is_not_on_this_machine_is_not_fetched(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "recipe.yaml").write_text("merge_method: linear\nmodels: [{model: meta-llama/Llama-3.1-8B}]\n")
    assert merge(folder) == 2
    assert "models[0].model" in capsys.readouterr().err
