"""The real thing as processes: four mocks, some special upstreams, and one sidecar of two workers in front of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import trustme

from tests.crash.cases import FIRST_TOKEN_S, GOOD, STALL_S, VARIANTS, Case, runs_of, scenario, slug
from tests.crash.strain import Strain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ENDPOINTS", "Fleet", "Process"]

ENDPOINTS: Final = 4
WORKERS: Final = 2
READY_S: Final = 60.0
STOP_S: Final = 20.0
KEY: Final = "sk-crash-0123456789abcdef"
RETRY: Final = {"attempts": 4, "base_s": 0.05}


class Process:
    """One program, its standard output read line by line, its standard error in a file."""

    def __init__(self, name: str, folder: Path, *words: str) -> None:
        self.name = name
        self._words = words
        self._log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> str:
        """Start it; give its first line."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "dispatch", *self._words, stdout=asyncio.subprocess.PIPE, stderr=log, env=_environ()
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_S):
            line = (await self._process.stdout.readline()).decode()
        if not line:
            raise RuntimeError(f"{self.name} did not start:\n{self._log.read_text()[-2000:]}")
        return line

    def complaints(self) -> str:
        """What it has said on standard error."""
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it; what does not end in time is killed."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class Fleet:
    """`async with Fleet(folder, cases) as fleet:`."""

    def __init__(self, folder: Path, cases: Sequence[Case], *, ledger: bool = True, extra: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.cases = cases
        self.ledger = folder / "ledger" if ledger else None
        self._extra = extra or {}
        self.mocks: list[Process] = []
        self.ports = [_free_port() for _ in range(ENDPOINTS + 3)]
        self.journals = [folder / f"journal-{number}.jsonl" for number in range(ENDPOINTS)]
        self.config = folder / "dispatch.json"
        self.port = 0
        self.complaints = ""
        """What the sidecar said on standard error, after its end: nothing, if all is well."""
        self.strain = Strain(self.worker_pids)
        self.sidecar = Process("sidecar", folder, "serve", "--config", str(self.config), "--port", "0", "--log", "off")

    async def __aenter__(self) -> Self:
        self._write_upstreams()
        for number in range(ENDPOINTS):
            words = ["--port", str(self.ports[number]), "--scenario", str(self.folder / "scenario.json")]
            words += ["--journal", str(self.journals[number])]
            self.mocks.append(Process(f"mock-{number}", self.folder, "mock", *words))
        # The one at `closed` does not exist.
        for number, door in ((ENDPOINTS + 1, "reset"), (ENDPOINTS + 2, "slow")):
            words = ["--port", str(self.ports[number]), "--scenario", str(self.folder / f"{door}.json")]
            tls = ["--tls-cert", str(self.folder / "cert.pem")] if door == "slow" else []
            self.mocks.append(Process(f"mock-{door}", self.folder, "mock", *words, *tls))
        await asyncio.gather(*(mock.start() for mock in self.mocks))
        self.write_config()
        line = await self.sidecar.start()
        found = re.search(r"https?://\S+:(\d+)", line)
        assert found is not None, line
        self.port = int(found[1])
        await self.until_workers(WORKERS)
        await self.strain.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.strain.__aexit__()
        await self.sidecar.stop()
        self.complaints = self.sidecar.complaints()
        await asyncio.gather(*(mock.stop() for mock in self.mocks))

    def _write_upstreams(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.folder / "ca.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(self.folder / "cert.pem")
        (self.folder / "scenario.json").write_text(json.dumps(scenario(tuple(self.cases))))
        (self.folder / "reset.json").write_text(json.dumps({"connections": [{"fault": "reset"}]}))
        (self.folder / "slow.json").write_text(json.dumps({"connections": [{"fault": "slow_handshake", "delay_s": 30}]}))

    def write_config(self, **more_models: Any) -> None:
        """Put the sidecar's configuration in place at once."""
        endpoints: list[dict[str, Any]] = []
        models: dict[str, Any] = {}
        for run in runs_of(tuple(self.cases)):
            case, faulty = run.case, VARIANTS[run.variant]
            names = [f"{run.model}-{number}" for number in range(ENDPOINTS)]
            # Its own idle time gives each run connections of its own: what one leaves behind is no other's trouble.
            idle_s = 3 + len(models) / 1000
            for number, name in enumerate(names):
                endpoints.append({**self._endpoint(name, case if number < faulty else None, number), "idle_s": idle_s})
            settings = {key: value for key, value in case.model.items() if key != "retry"}
            models[run.model] = {"endpoints": names, "retry": {**RETRY, **case.model.get("retry", {})}, **settings}
        server: dict[str, Any] = {"workers": WORKERS, "drain_s": 0, "max_answer_bytes": 1_000_000}
        if self.ledger is not None:
            server["ledger"] = str(self.ledger)
        config = {
            "server": {**server, **self._extra},
            "defaults": {"deadline_s": 60, "connect_s": 1, "first_token_s": FIRST_TOKEN_S, "answer_s": FIRST_TOKEN_S, "stall_s": STALL_S},
            "endpoints": endpoints,
            "models": {**models, **more_models},
        }
        fresh = self.config.with_suffix(".new")
        fresh.write_text(json.dumps(config))
        fresh.replace(self.config)

    def _endpoint(self, name: str, case: Case | None, number: int) -> dict[str, Any]:
        """An endpoint of a pool: faulty by its upstream's model name, or by where it is."""
        door = "" if case is None else case.door
        port = self.ports[{"": number, "closed": ENDPOINTS, "reset": ENDPOINTS + 1, "slow": ENDPOINTS + 2}[door]]
        model = GOOD if case is None or door else f"bad-{slug(case.name)}"
        endpoint = {"name": name, "provider": "openai_compatible", "model": model, "api_key": "env:CRASH_KEY"}
        endpoint["price"] = {"input": 2.5, "output": 10.0}  # type: ignore[assignment]  # JSON
        if door == "slow":
            return {**endpoint, "base_url": f"https://localhost:{port}/v1", "ca_file": str(self.folder / "ca.pem")}
        return {**endpoint, "base_url": f"http://127.0.0.1:{port}/v1"}

    def worker_pids(self) -> list[int]:
        """The workers that live now."""
        pids = (Path(f"/proc/{self.sidecar.pid}/task/{self.sidecar.pid}/children")).read_text().split()
        return [int(pid) for pid in pids]

    def kill(self, pid: int) -> None:
        """End one of the workers at once."""
        assert pid in self.worker_pids()
        os.kill(pid, signal.SIGKILL)

    async def until_workers(self, count: int) -> None:
        """Wait until so many workers live and answer."""
        async with asyncio.timeout(READY_S):
            while len(self.worker_pids()) < count or not await self._answers():  # noqa: ASYNC110  # they are other processes
                await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer.startswith(b"HTTP/1.1 200")
        return False

    async def metrics(self) -> dict[str, float]:
        """All samples, by name and labels as written."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines if name.startswith("dispatch_")}


def _environ() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCH_") and not name.endswith("_API_KEY")}
    return {**clean, "CRASH_KEY": KEY, "PYTHONFAULTHANDLER": "1"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
