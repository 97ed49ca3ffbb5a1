"""Round trips per CPU second of a client on keep-alive connections: plain, uvloop's TLS, the core's TLS.

    python benches/tls.py [--seconds 3] [--connections 64] [--runs 5]

Method: nginx (one worker) answers about 700 bytes to each 600; the client, one process, does nothing but write the next
request when an answer is whole. Both are pinned, nginx to the last core and the client to the first. CPU is user and system
time of the client alone, so that neither nginx nor another program's load counts. Closed loop: this compares costs, it does
not measure latency.

Each run takes the ways in turn, each in a fresh process, which measures twice after a warm-up of a second, on new
connections. The two differ for uvloop's TLS: it takes and frees 256 KiB for each read, which at first goes back to the
system every time, until a longer history of the heap keeps it. A worker of the sidecar lies between the two.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import ssl
import statistics
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

import trustme
import uvloop
from dispatch.transport.tls import TlsConfig, connect_tls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

NAME = "provider.test"
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: provider.test\r\nContent-Type: application/json\r\nContent-Length: 490\r\n\r\n"
REQUEST = HEAD + b"q" * 490
"""About 600 bytes."""

CONFIGURATION = """
daemon off; worker_processes 1; worker_cpu_affinity {core_mask}; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem;
    location / {{ return 200 "{body}"; }}
  }}
}}
"""
"""Its answers are about 700 bytes, head included."""
WARM_UP_S = 1.0
WAYS = ("plain", "uvloop TLS", "core TLS")


class Asker(asyncio.Protocol):
    """Asks again whenever an answer is whole."""

    answers = 0
    size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self.transport, self.heard = cast("asyncio.Transport", transport), 0
        self.write = self.transport.write

    def ask(self) -> None:
        """Send the first request."""
        self.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        """Count, and ask again."""
        if not self.size:
            self.size = data.index(b"\r\n\r\n") + 4 + 540
        self.heard += len(data)
        if self.heard >= self.size:
            self.heard -= self.size
            Asker.answers += 1
            self.write(REQUEST)


@contextmanager
def nginx(ca: trustme.CA) -> Iterator[tuple[int, int]]:
    """Serve plain and TLS on two free ports, one worker on the last core, until the block is left."""
    ports = free_port(), free_port()
    with TemporaryDirectory() as folder:
        ca.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(f"{folder}/server.pem")
        core_mask = f"{1 << max(os.sched_getaffinity(0)):b}"
        (Path(folder) / "nginx.conf").write_text(
            CONFIGURATION.format(folder=folder, core_mask=core_mask, plain=ports[0], secure=ports[1], body="a" * 540)
        )
        server = subprocess.Popen(["nginx", "-p", folder, "-c", "nginx.conf", "-e", "error.log"])
        try:
            wait_for(ports[0])
            yield ports
        finally:
            server.terminate()
            server.wait()


def free_port() -> int:
    """Return a port that was free a moment ago: nginx cannot tell which one it got."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Return when `port` is listened on."""
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)


async def measure(connect: Callable[[], Awaitable[Asker]], connections: int, seconds: float) -> float:
    """Answers per second of our own CPU time."""
    askers = [await connect() for _ in range(connections)]
    for asker in askers:
        asker.ask()
    await asyncio.sleep(WARM_UP_S)
    answers, cpu_s = Asker.answers, time.process_time()
    await asyncio.sleep(seconds)
    rate = (Asker.answers - answers) / (time.process_time() - cpu_s)
    for asker in askers:
        asker.transport.abort()
    await asyncio.sleep(0.1)
    return rate


def measure_way(way: str, port: int, ca_path: str, arguments: argparse.Namespace) -> list[float]:
    """Measure `way` twice in this process."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    config = TlsConfig(Path(ca_path).read_bytes(), False, None, None)
    context = ssl.create_default_context(cafile=ca_path)

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()

        async def connect() -> Asker:
            if way == "core TLS":
                return (await connect_tls(loop, Asker, host="127.0.0.1", port=port, server_name=NAME, config=config, timeout_s=10))[1]
            if way == "uvloop TLS":
                return (await loop.create_connection(Asker, "127.0.0.1", port, ssl=context, server_hostname=NAME))[1]
            return (await loop.create_connection(Asker, "127.0.0.1", port))[1]

        return [await measure(connect, arguments.connections, arguments.seconds) for _ in range(2)]

    return uvloop.run(main())


def compare(arguments: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Measure all ways in turn, each run in a process of its own."""
    ca = trustme.CA()
    rates: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    with nginx(ca) as (plain, secure), ca.cert_pem.tempfile() as ca_path:
        for _ in range(arguments.runs):
            for way, found in rates.items():
                with ProcessPoolExecutor(1, get_context("spawn")) as process:
                    found.append(process.submit(measure_way, way, plain if way == "plain" else secure, ca_path, arguments).result())
    return rates


def report(rates: dict[str, list[list[float]]]) -> None:
    """Print medians, spreads and the ratios, for fresh and for seasoned processes."""
    for index, age in enumerate(("fresh", "seasoned")):
        middles: dict[str, float] = {}
        for way, runs in rates.items():
            found = [run[index] for run in runs]
            middles[way] = middle = statistics.median(found)
            spread = f"{min(found):,.0f} to {max(found):,.0f}"
            print(f"{age:9} {way:11} {middle:8,.0f} round trips per CPU second ({spread}), {1e6 / middle:5.2f} us each")
        print(f"{age:9} core TLS / uvloop TLS: {middles['core TLS'] / middles['uvloop TLS']:.2f}")


def main() -> None:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    report(compare(parser.parse_args()))


if __name__ == "__main__":
    main()
