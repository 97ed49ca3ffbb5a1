"""A sidecar in processes of its own, and a client that says exactly what became of each request."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

DEADLINE_S = 30.0
POLL_S = 0.01
DISPATCH = (sys.executable, "-m", "dispatch")


async def until(condition: Callable[[], Any], what: str = "condition", timeout_s: float = DEADLINE_S) -> Any:
    """Poll until `condition()` is true and return what it returned."""
    end = monotonic() + timeout_s
    while not (found := condition()):
        if monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout_s} s")
        await asyncio.sleep(POLL_S)
    return found


class Sidecar:
    """`async with Sidecar(tmp_path, config, "--workers", "2") as sidecar:`. The configuration is written as JSON."""

    def __init__(
        self, folder: Path, config: dict[str, Any] | None, *flags: str, log: str = "json", environ: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.path = folder / "dispatch.json"
        self.out: list[str] = []
        self.log: list[dict[str, Any]] = []
        self.noise: list[str] = []
        self.process: asyncio.subprocess.Process
        if config is not None:
            self.write(config)
            flags = ("--config", str(self.path), *flags)
        self.prefix: list[str] = []
        """Put before the command, such as `prlimit`."""
        self._command = [*DISPATCH, "serve", "--log", log, *flags]
        if not {"--port", "--unix"} & set(flags):
            self._command += ["--port", "0"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCH_") and not name.endswith("_API_KEY")}
        self._environ = clean | (environ or {})
        self._readers: list[asyncio.Task[None]] = []

    def write(self, config: dict[str, Any] | str) -> None:
        """Put a configuration in place at once, as careful editors do."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(config if isinstance(config, str) else json.dumps(config))
        fresh.replace(self.path)

    async def launch(self) -> Self:
        """Start the process, without waiting for it to be ready."""
        self.process = await asyncio.create_subprocess_exec(
            *self.prefix, *self._command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=self._environ, cwd=self.folder
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            asyncio.create_task(self._read(self.process.stdout, self.out.append)),
            asyncio.create_task(self._read(self.process.stderr, self._on_line)),
        ]
        return self

    async def ready(self) -> Self:
        """Wait for the line that says so."""
        await until(lambda: self.out or self.process.returncode is not None, "ready line")
        assert self.out, self.noise
        return self

    async def __aenter__(self) -> Self:
        return await (await self.launch()).ready()

    async def __aexit__(self, *_: object) -> None:
        pids = self.worker_pids() if self.process.returncode is None else []
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await until(lambda: not any(is_alive(pid) for pid in pids), "workers gone")
        await asyncio.gather(*self._readers)

    @property
    def port(self) -> int:
        found = re.search(r"https?://\S+:(\d+)", self.out[0])
        assert found is not None
        return int(found[1])

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def worker_pids(self) -> list[int]:
        """Return the processes that fill the slots now, by slot."""
        pids = {line["index"]: line["pid"] for line in self.log if line["event"] == "worker_ready"}
        return [pids[index] for index in sorted(pids)]

    async def workers(self, count: int) -> list[int]:
        """Wait until so many workers are ready; return their pids."""
        await until(lambda: len(self.worker_pids()) == count, f"{count} workers")
        return self.worker_pids()

    async def event(self, name: str, after: int = 0, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """Wait for a log line with this event, from the `after`-th line on."""
        found: dict[str, Any] = await until(
            lambda: next((line for line in self.log[after:] if line["event"] == name), None),
            f"event {name} in {self.log[after:]}",
            timeout_s,
        )
        return found

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_status(self, timeout_s: float = DEADLINE_S) -> int:
        async with asyncio.timeout(timeout_s):
            status = await self.process.wait()
            await asyncio.gather(*self._readers)
        return status

    async def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        async with Connection(self.port) as connection:
            status, body = await connection.get("/metrics")
        assert status == 200
        families = text_string_to_metric_families(body.decode())
        return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}

    async def metric(self, name: str, **labels: str) -> float:
        return (await self.metrics()).get((name, frozenset(labels.items())), 0.0)

    async def until_metric(self, name: str, wanted: float, timeout_s: float, **labels: str) -> None:
        """Poll a metric until it has the wanted value."""
        end = monotonic() + timeout_s
        while (found := await self.metric(name, **labels)) != wanted:
            assert monotonic() < end, f"{name}{labels} is {found}, not {wanted} within {timeout_s} s"
            await asyncio.sleep(POLL_S)

    async def _read(self, stream: asyncio.StreamReader, take: Callable[[str], object]) -> None:
        while line := await stream.readline():
            take(line.decode().rstrip("\n"))

    def _on_line(self, line: str) -> None:
        try:
            self.log.append(json.loads(line))
        except ValueError:
            self.noise.append(line)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class Gone(Exception):
    """The connection ended before a whole answer."""


class Connection:
    """One keep-alive connection. Knows which worker serves it: request ids name the worker."""

    def __init__(self, port: int = 0, *, unix: str | None = None) -> None:
        self._port = port
        self._unix = unix
        self.worker = -1
        self.is_open = False
        self.head: dict[str, str] = {}
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        if self._unix is not None:
            self.reader, self.writer = await asyncio.open_unix_connection(self._unix)
        else:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.is_open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_open = False
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def get(self, path: str) -> tuple[int, bytes]:
        return await self._exchange(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())

    async def ask(self, model: str, text: str = "hi", **fields: Any) -> tuple[int, bytes]:
        return await self._exchange(chat(model, text, **fields))

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        try:
            self.writer.write(request)
            status = await self.read_head()
            body = await self.reader.readexactly(int(self.head["content-length"]))
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            self.is_open = False
            raise Gone from error
        self.is_open = self.head.get("connection") != "close"
        return status, body

    async def read_head(self) -> int:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.rstrip("\r\n").split("\r\n")
        self.head = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        if self.head.get("x-request-id", "").startswith("req-"):
            self.worker = int(self.head["x-request-id"].split("-")[1], 16)
        return int(line.split()[1])


def chat(model: str, text: str = "hi", **fields: Any) -> bytes:
    """Return a chat request."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **fields}).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        + body
    )


class Load:
    """Clients that ask again and again, one connection each, and write down what became of each request.

    Attributes:
        served: requests answered with 200.
        broken: workers (slots) whose connection ended in the middle of a request.
        refused: statuses other than 200.
    """

    def __init__(self, port: int, model: str, clients: int) -> None:
        self._port = port
        self._model = model
        self._is_over = False
        self._tasks = [asyncio.create_task(self._client()) for _ in range(clients)]
        self.served = 0
        self.broken: list[int] = []
        self.refused: list[tuple[int, bytes]] = []

    async def __aenter__(self) -> Self:
        await until(lambda: self.served >= len(self._tasks), "load")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def more(self, requests: int) -> None:
        """Wait for so many further answers."""
        wanted = self.served + requests
        await until(lambda: self.served >= wanted, f"{requests} more answers")

    async def _client(self) -> None:
        while not self._is_over:
            async with Connection(self._port) as connection:
                while connection.is_open and not self._is_over:
                    try:
                        status, body = await connection.ask(self._model)
                    except Gone:
                        self.broken.append(connection.worker)
                        break
                    if status == 200:
                        self.served += 1
                    else:
                        self.refused.append((status, body))
