"""Drives a sidecar with clients that are not ours: each script `by_NAME.py` in an environment of its own, which uv makes, and `vercel`.

    make clients ARGS="langchain vercel"

Behind the sidecar is the simulated provider; the image of each try must have reached it. Ends with status 1 if a try failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from dispatch.testing import MockProvider
from tried import PNG

HERE = Path(__file__).parent
UV = os.environ.get("UV", "uv")
SCRIPT_S = 600.0
"""How long one script may take, the installation of its client included."""
MODELS: dict[str, dict[str, Any]] = {
    "broken": {"errors": {400: 1.0}},
    "json": {"reply": '{"answer": "sunny", "degrees": 7}'},
}
QUIET = {"DO_NOT_TRACK": "1", "LANGCHAIN_TRACING_V2": "false", "LANGSMITH_TRACING": "false", "OPENAI_AGENTS_DISABLE_TRACING": "1"}
"""Nothing is told to anybody."""


def config(url: str) -> dict[str, Any]:
    """One provider of chat completions alone: all other doors are translated."""
    shared = {"provider": "openai_compatible", "base_url": url, "doors": ["chat", "embeddings"]}
    names = ("m", "vectors", "claude-sonnet-4-5", *MODELS)
    return {
        "endpoints": [{"name": f"at-{name}", "model": name, **shared} for name in names],
        "models": {name: f"at-{name}" for name in names},
    }


async def sidecar(url: str, folder: str) -> tuple[asyncio.subprocess.Process, str]:
    """Start a sidecar in front of `url`; give its process and where it listens."""
    path = Path(folder) / "dispatch.json"
    path.write_text(json.dumps(config(url)))
    command = (sys.executable, "-m", "dispatch", "serve", "--config", str(path), "--port", "0", "--workers", "1")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    return process, next(word.rstrip(",") for word in line.split() if word.startswith("http://"))


async def drive(script: Path, root: str) -> list[dict[str, Any]]:
    """Run one script; give the lines that it printed."""
    environ = {**os.environ, **QUIET, "DISPATCH_URL": root}
    command = [UV, "run", "--quiet", "--no-project", "--python", sys.executable, "--script", str(script)]
    if script.suffix == ".mjs":
        if not (script.parent / "node_modules").exists():
            install = ("npm", "install", "--silent", "--no-audit", "--no-fund")
            await (await asyncio.create_subprocess_exec(*install, cwd=script.parent)).wait()
        command = ["node", str(script)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environ, cwd=HERE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), SCRIPT_S)
    except TimeoutError:
        process.kill()
        return [{"try": "start", "ok": False, "shown": f"not within {SCRIPT_S} s"}]
    lines = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    if process.returncode or not lines:
        lines.append({"try": "start", "ok": False, "shown": err.decode()[-800:]})
    return lines


def told(lines: list[dict[str, Any]], pictures: int) -> int:
    """Print what became of one client's tries; give the number of those that failed."""
    failed = 0
    for line in lines:
        if "client" in line:
            print(f"\n{line['client']} {line['version']}")
            continue
        failed += not line["ok"]
        print(f"  ok     {line['try']:<28} {line['shown']!r:.100}" if line["ok"] else f"  FAILED {line['try']}: {line['shown']}")
    wanted = sum("image" in line.get("try", "") and line["ok"] for line in lines)
    if pictures < wanted:
        print(f"  FAILED {wanted} images were sent, {pictures} arrived")
        failed += 1
    return failed


async def main(names: list[str]) -> int:
    """Drive the sidecar with all clients, or those of these names."""
    scripts = {one.stem.removeprefix("by_"): one for one in sorted(HERE.glob("by_*.py"))} | {"vercel": HERE / "vercel" / "drive.mjs"}
    chosen = [one for name, one in scripts.items() if not names or name in names]
    failed = 0
    scenario = {"models": MODELS}
    with tempfile.TemporaryDirectory() as folder:
        async with MockProvider(scenario=scenario, output_tokens=12) as mock:
            process, root = await sidecar(mock.base_url, folder)
            try:
                for script in chosen:
                    before = len(mock.journal)
                    lines = await drive(script, root)
                    pictures = sum(PNG in str(entry.body) for entry in [*mock.journal][before:])
                    failed += told(lines, pictures)
            finally:
                process.terminate()
                await process.wait()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
