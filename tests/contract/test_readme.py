"""What the README tells a newcomer to type is typed here, against a simulated provider."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import socket
import sys
import urllib.request
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import dispatch
import pytest
from dispatch.config import load, resolve
from dispatch.testing import MockProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = {
    (language, number): body
    for language in ("sh", "yaml", "python")
    for number, body in enumerate(re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
}
USES = README.partition("## Three uses")[2].partition("\n## ")[0].split("\n### ")[1:]
START, CURL, BENCH = (BLOCKS["sh", number] for number in range(3))
CONFIG, SDK, LIBRARY = BLOCKS["yaml", 0], BLOCKS["python", 0], BLOCKS["python", 1]

SECRETS = {"AZURE_KEY": "azure-secret", "OPENAI_API_KEY": "openai-secret"}
HASTY = {"DISPATCH_DRAIN_S": "0"}
"""A sidecar that is asked to stop goes on accepting for a while; nobody comes here."""
ANSWER = "Hi from behind the pool"

needs_sidecar = pytest.mark.skipif(find_spec("dispatch.server.supervisor") is None, reason="the sidecar is not part of this build")
needs_client = pytest.mark.skipif(not hasattr(dispatch, "Client"), reason="the library is not part of this build")
needs_bench = pytest.mark.skipif(find_spec("dispatch.bench.cli") is None, reason="the load generator is not part of this build")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def run(*command: str, folder: Path, codes: frozenset[int] = frozenset({0})) -> str:
    """Run a command to its end and return what it printed, insisting that it succeeded."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env={**os.environ, **SECRETS}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await process.communicate()
    assert process.returncode in codes, error.decode()
    return out.decode()


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """A folder with the README's configuration, its providers replaced by simulated ones that speak the same dialect."""
    async with MockProvider(reply=ANSWER) as mock:
        text = re.sub(r'base_url: "[^"]*"', f'base_url: "{mock.base_url}"', CONFIG)
        text = text.replace("provider: azure", "provider: openai_compatible").replace(
            "provider: openai,", f'provider: openai, base_url: "{mock.base_url}",'
        )
        (tmp_path / "dispatch.yaml").write_text(text)
        yield tmp_path


@asynccontextmanager
async def listening(*arguments: str, port: int, folder: Path) -> AsyncIterator[None]:
    """`dispatch ...` in the background, once it listens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dispatch", *arguments, cwd=folder, env={**os.environ, **SECRETS, **HASTY}
    )
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert process.returncode is None
                await asyncio.sleep(0.02)
            else:
                writer.close()
                break
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
async def sidecar(folder: Path) -> AsyncIterator[str]:
    """`dispatch serve` in that folder; the value is where it listens."""
    port = free_port()
    async with listening("serve", "--port", str(port), "--workers", "1", port=port, folder=folder):
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize("use", USES, ids=[use.partition("\n")[0] for use in USES])
def test_no_use_takes_more_than_fifteen_lines(use: str) -> None:
    blocks = re.findall(r"^```\w+\n(.*?)^```", use, re.MULTILINE | re.DOTALL)

    assert 0 < sum(block.count("\n") for block in blocks) <= 15


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    commands = [line.split("#")[0].split() for line in START.splitlines()]

    assert commands == [["make", "serve"], ["make", "test"]]
    assert all(f"\n{target}:" in makefile for _, target in commands)


def test_the_configuration_is_valid_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "dispatch.yaml"
    path.write_text(CONFIG)

    config = load(path, SECRETS)
    resolve(config, SECRETS)

    assert list(config.models) == ["chat"]


@needs_sidecar
async def test_the_first_request_is_answered_with_its_own_words(tmp_path: Path) -> None:
    port = free_port()
    words = shlex.split(CURL.replace("\\\n", "").replace("8080", str(port)))
    data = words[words.index("-d") + 1].encode()
    request = urllib.request.Request(words[1], data=data, headers={"content-type": "application/json"})

    async with listening("serve", "--port", str(port), "--workers", "1", port=port, folder=tmp_path):
        answer = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=30).read()))

    assert answer["choices"][0]["message"]["content"] == "Say hi"


@needs_sidecar
async def test_an_sdk_works_by_changing_its_base_url(sidecar: str, folder: Path) -> None:
    printed = await run(sys.executable, "-c", SDK.replace("127.0.0.1:8080", sidecar), folder=folder)

    assert printed.strip() == ANSWER


@needs_client
async def test_the_library_answers_and_streams(folder: Path) -> None:
    printed = await run(sys.executable, "-c", LIBRARY, folder=folder)

    assert printed.split("\n") == [ANSWER, ANSWER]


@needs_bench
async def test_the_load_bench_runs_against_the_simulated_provider(tmp_path: Path) -> None:
    port = free_port()
    mock, bench = (shlex.split(line)[1:] for line in BENCH.replace("9001", str(port)).replace("--duration 30", "--duration 1").splitlines())

    assert mock.pop() == "&"
    async with listening(*mock, port=port, folder=tmp_path):
        # 3: the machine was too busy to send on time, so the figures are void; what was typed is right all the same.
        printed = await run(sys.executable, "-m", "dispatch", *bench, folder=tmp_path, codes=frozenset({0, 3}))

    assert "p99" in printed
