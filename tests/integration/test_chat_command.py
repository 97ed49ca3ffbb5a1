"""`dispatch chat`: a question on the command line, in process and through a sidecar."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.sidecar import Sidecar

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

BARE = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCH_") and not name.endswith("_API_KEY")}


async def chat(folder: Path, *words: str, stdin: str = "") -> tuple[int, str, str]:
    """Run the command; return its exit status and what it printed on both channels."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "dispatch", "chat", *words),
        cwd=folder,
        env=BARE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()


async def test_it_answers_in_process(tmp_path: Path) -> None:
    assert await chat(tmp_path, "echo", "Say hi") == (0, "Say hi\n", "")
    assert await chat(tmp_path, "echo", stdin="from a pipe") == (0, "from a pipe\n", "")


async def test_it_answers_through_a_sidecar(tmp_path: Path) -> None:
    async with Sidecar(tmp_path, None, "--workers", "1") as sidecar:
        answered = await chat(tmp_path, "echo", "Say hi", "--url", f"http://127.0.0.1:{sidecar.port}")
        refused = await chat(tmp_path, "nobody", "Say hi", "--url", sidecar.base_url)
    gone = await chat(tmp_path, "echo", "Say hi", "--url", sidecar.base_url)

    assert answered == (0, "Say hi\n", "")
    assert (refused[:2], "nobody" in refused[2]) == ((1, ""), True)
    assert (gone[:2], "no connection" in gone[2]) == ((1, ""), True)


async def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    status, out, error = await chat(tmp_path, "nobody", "Say hi")

    assert (status, out) == (1, "")
    assert error.startswith("dispatch: ")
    assert error.count("\n") == 1
