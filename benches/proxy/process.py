"""Programs under measurement: started on a core of their own, their CPU time read, stopped by the handle that started them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["busy_s", "cpu_s", "free_port", "pinned", "running", "tree_of", "wait_until_ready"]

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
READY_WITHIN_S = 15.0


def free_port() -> int:
    """Ask the system for a port that nobody listens on. Another program may take it before we do; then the start fails and says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Start children on `cores`: affinity is inherited, which spares a wrapper process whose CPU time would have to be told apart."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running(
    command: Sequence[str], *, cores: set[int], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program on `cores` while the block lasts; what it prints goes to `log`."""
    with log.open("wb") as output, pinned(cores):
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a program listens on `port`.

    Raises:
        RuntimeError: the program ended, or never listened; with the end of its log.
    """
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen on port {port}:\n{log.read_text(errors='replace')[-2000:]}")


def tree_of(pid: int) -> list[int]:
    """Find a process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found.extend(tree_of(int(child)))
    return found


def cpu_s(pid: int) -> float:
    """Add up user and system time of a process and its descendants, those that ended (and were waited for) included."""
    total = 0
    for each in tree_of(pid):
        # The name in brackets may hold spaces: count from the last bracket. Fields 14 to 17 of proc(5).
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS_PER_S


def busy_s(core: int) -> float:
    """Read how long `core` was not idle since boot, time that the hypervisor took away included."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _wait, *rest = (int(field) for field in line.split()[1:9])
            return (user + nice + system + sum(rest)) / TICKS_PER_S
    raise RuntimeError(f"/proc/stat has no core {core}")
