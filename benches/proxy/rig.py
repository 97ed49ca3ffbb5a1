"""The bench's programs: upstreams and yardstick for the whole session, a sidecar for each row that asks for one."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from benches.proxy import nginx, sidecar
from benches.proxy.process import free_port, running, wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benches.proxy.rows import Kind, Row

__all__ = ["Contender", "Cores", "Rig", "Tools", "find_tools"]


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs that are not part of the project."""

    nginx: str
    wrk: str


def find_tools() -> Tools:
    """Look for nginx and wrk, in the places where a package puts a server too.

    Raises:
        SystemExit: one of them is missing; says how to install it.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
    found = {name: shutil.which(name, path=path) for name in ("nginx", "wrk")}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        raise SystemExit(f"make bench-proxy needs {' and '.join(missing)}: apt install nginx-light wrk (macOS: brew install nginx wrk)")
    return Tools(nginx=str(found["nginx"]), wrk=str(found["wrk"]))


class Cores:
    """Who runs where: the contender alone on the first core, all the rest on the others."""

    def __init__(self) -> None:
        self.all = sorted(os.sched_getaffinity(0))
        if len(self.all) < 2:
            raise SystemExit("make bench-proxy needs two cores: one for the contender, one for the load")
        self.first = self.all[0]
        self.load = set(self.all[1:])

    def contender(self, workers: int) -> set[int]:
        """Give each worker a core; on a machine of two, the second worker shares its core with the load."""
        return set(self.all[:workers])


@dataclass(frozen=True, slots=True)
class Contender:
    """A proxy that can be measured, or several that share the load: each listens on a port of its own."""

    name: str
    ports: tuple[int, ...]
    pids: tuple[int, ...]
    has_metrics: bool


class Rig:
    """What stays up: the mock upstream, the stream upstream, the yardstick."""

    def __init__(self, tools: Tools, folder: Path, cores: Cores) -> None:
        self.tools = tools
        self.folder = folder
        self.cores = cores
        self.upstreams: dict[Kind, int] = {"plain": free_port(), "tls": free_port(), "stream": free_port()}
        self.yardsticks: dict[Kind, int] = {"plain": free_port(), "tls": free_port(), "stream": free_port()}
        self.yardstick_pid = 0

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Run the three while the block lasts."""
        self.write_certificates()
        folder, ports = self.folder, self.upstreams
        mock = nginx.command(self.tools.nginx, nginx.mock_config(folder, plain=ports["plain"], tls=ports["tls"]))
        paced = [sys.executable, "-m", "benches.proxy.stream_upstream", "--port", str(ports["stream"])]
        yardstick = nginx.command(self.tools.nginx, nginx.yardstick_config(folder, upstreams=ports, listen=self.yardsticks))
        with contextlib.ExitStack() as stack:
            for name, program, port in (("mock", mock, ports["plain"]), ("stream", paced, ports["stream"])):
                log = folder / f"{name}.log"
                process = stack.enter_context(running(program, cores=self.cores.load, log=log))
                wait_until_ready(port, process, log)
            log = folder / "yardstick.log"
            process = stack.enter_context(running(yardstick, cores={self.cores.first}, log=log))
            wait_until_ready(self.yardsticks["plain"], process, log)
            self.yardstick_pid = process.pid
            yield

    def write_certificates(self) -> None:
        """Make an authority and a certificate for this session."""
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(self.folder / "ca.pem")
        certificate.private_key_pem.write_to_path(self.folder / "server.key")
        for number, part in enumerate(certificate.cert_chain_pems):
            part.write_to_path(self.folder / "server.pem", append=number > 0)

    def yardstick(self, kind: Kind) -> Contender:
        """nginx, in front of that upstream."""
        return Contender("nginx", (self.yardsticks[kind],), (self.yardstick_pid,), has_metrics=False)

    @contextlib.contextmanager
    def candidate(self, row: Row, *, stand_in: str | None) -> Iterator[Contender]:
        """Run the sidecar for `row`, or another proxy by the command line `stand_in` with `{listen}` and `{upstream}` in it."""
        name = "dispatch" if stand_in is None else "stand-in"
        with self.proxy(row, workers=row.workers, cores=self.cores.contender(row.workers), stand_in=stand_in) as (port, pid):
            ports = (port,) * row.workers
            yield Contender(f"{name}, {row.workers} workers" if row.workers > 1 else name, ports, (pid,), has_metrics=stand_in is None)

    @contextlib.contextmanager
    def apart(self, row: Row) -> Iterator[Contender]:
        """Run as many sidecars of one worker as `row` has workers, a core each: the same places without anything shared.

        On a machine of two cores the second worker runs beside the load, which costs it a fifth more, shared board or not: one worker
        on a core of its own would be no baseline.
        """
        with contextlib.ExitStack() as stack:
            cores = sorted(self.cores.contender(row.workers))
            started = [stack.enter_context(self.proxy(row, workers=1, cores={core}, stand_in=None)) for core in cores]
            ports, pids = zip(*started, strict=True)
            yield Contender(f"{row.workers} x dispatch", ports, pids, has_metrics=False)

    @contextlib.contextmanager
    def proxy(self, row: Row, *, workers: int, cores: set[int], stand_in: str | None) -> Iterator[tuple[int, int]]:
        """Run one proxy and return its port and process."""
        port = free_port()
        upstream = self.upstreams[row.kind]
        if stand_in is None:
            dispatch = str(Path(sys.executable).with_name("dispatch"))
            config = sidecar.write_config(row, self.folder, upstream=upstream)
            command = sidecar.command(dispatch, config, port=port, workers=workers)
        else:
            command = shlex.split(stand_in.format(listen=port, upstream=upstream))
        log = self.folder / f"candidate-{row.kind}-{port}.log"
        with running(command, cores=cores, log=log, env=sidecar.environment()) as process:
            wait_until_ready(port, process, log)
            yield port, process.pid
