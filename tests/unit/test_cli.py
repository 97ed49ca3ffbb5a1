"""The command line: what it says and how it exits."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.cli import main

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPATCH_CONFIG", raising=False)
    path = tmp_path / "dispatch.yaml"
    path.write_text(
        'endpoints: [{name: a, provider: openai, model: m, api_key: "env:NO_SUCH_KEY"}, {name: b, provider: echo}]\nmodels: {m: a}\n'
    )
    return path


def test_check_says_what_it_found(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--without-secrets"]) == 0

    printed = capsys.readouterr().out
    assert f"{file.name}: valid (2 endpoints, 1 model, 0 keys)" in printed
    assert "note: no model uses endpoint 'b'" in printed


def test_check_misses_secrets_and_serve_check_does_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert main(["serve", "--check", "--config", str(file)]) == 2

    said = "dispatch: configuration: endpoints[0].api_key: endpoint 'a': the environment variable NO_SUCH_KEY is not set"
    assert capsys.readouterr().err.splitlines() == [said, said]


def test_check_tells_what_is_wrong(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("server: {prot: 1}")

    assert main(["check"]) == 2
    assert capsys.readouterr().err == "dispatch: configuration: server.prot: unknown key; did you mean 'port'?\n"


def test_check_finds_what_a_worker_would_fail_at(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And touches no file that the workers write."""
    file.write_text(
        "server: {ledger: books.jsonl}\nendpoints: [{name: a, provider: echo}, {name: b, provider: echo}]\n"
        "models: {m: {cascade: {steps: [a, b], escalate_if: {verify: {function: 'nowhere:f'}}}}, n: {retrieve: {index: no.db, plan: a}}}\n"
    )

    assert main(["check", "--without-secrets"]) == 0
    assert main(["check"]) == 2
    assert "models.m.cascade.escalate_if.verify.function: cannot load 'nowhere:f'" in capsys.readouterr().err
    file.write_text("endpoints: [{name: a, provider: echo}]\nmodels: {n: {retrieve: {index: no.db, plan: a}}}\n")
    assert main(["check"]) == 2
    assert "models.n.retrieve.index: no index at no.db" in capsys.readouterr().err
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_check_finds_a_function_in_the_working_directory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the workers do, which are started from there."""
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one not in ("", str(file.parent))])
    (file.parent / "judges_of_mine.py").write_text("def short(question, answer):\n    return len(answer) < 9\n")
    file.write_text(
        "endpoints: [{name: a, provider: echo}, {name: b, provider: echo}]\n"
        "models: {m: {cascade: {steps: [a, b], escalate_if: {verify: {function: 'judges_of_mine:short'}}}}}\n"
    )
    assert main(["check"]) == 0


@pytest.mark.usefixtures("file")
def test_a_flag_is_checked_like_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--check", "--host", "0.0.0.0"]) == 2
    assert "server.host: found '0.0.0.0'" in capsys.readouterr().err


def test_serve_hands_over_file_and_flags(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    supervisor: Any = ModuleType("dispatch.server.supervisor")
    supervisor.serve = lambda path, overrides, log: seen.append((path, overrides, log))
    monkeypatch.setitem(sys.modules, "dispatch.server", ModuleType("dispatch.server"))
    monkeypatch.setitem(sys.modules, "dispatch.server.supervisor", supervisor)

    assert main(["serve", "--config", str(file), "--port", "9000", "--log", "off"]) == 0
    assert seen == [(file, {"server.host": None, "server.port": 9000, "server.workers": None, "server.unix": None}, "off")]


def test_a_command_of_another_package_brings_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rate", type=int)

    package: Any = SimpleNamespace(add_arguments=add_arguments, run=lambda arguments: arguments.rate)
    monkeypatch.setitem(sys.modules, "dispatch.bench.cli", package)

    assert main(["bench", "--rate", "7"]) == 7


def test_a_reader_that_has_enough_is_no_fault(file: Path) -> None:
    """As `dispatch evaluate ... | head` is."""
    file.write_text("endpoints: [{name: a, provider: echo}]\nmodels: {m: a}\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "dispatch", "check"], stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_help_reads_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert main([]) == 2

    printed = capsys.readouterr().out
    for command in ("serve", "check", "mock", "bench", "chat", "version"):
        assert f"\n    {command} " in printed


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith("dispatch ")
