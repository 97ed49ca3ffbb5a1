"""One worker as the supervisor sees it: its process, its channel, when it may start again; and what this machine grants it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dispatch.server.channel import Channel, FromWorker, pair

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["MAX_WORKERS", "Process", "backoff_s", "default_workers", "quota_cpus", "raise_descriptors"]

MAX_WORKERS = 16
"""Columns of the board."""

SHORT_LIFE_S = 5.0
"""A worker that dies younger than this is not started again at once."""

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 10.0
_CGROUPS = Path("/sys/fs/cgroup")


def backoff_s(short_lives: int) -> float:
    """Return how long a worker waits for its next start, after so many short lives in a row."""
    # The exponent is bounded so that a worker that fails for weeks does not overflow a float.
    return min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(short_lives - 1, 32))


class Process:
    """One worker slot over all the processes that fill it, one after the other.

    Args:
        index: the slot, and the column on the board.
        sock: its listening socket.
        now: monotonic seconds.
    """

    def __init__(self, index: int, sock: socket.socket, now: Callable[[], float]) -> None:
        self.index = index
        self.sock = sock
        self._now = now
        self.channel: Channel | None = None
        self.is_ready = False
        self.is_orphaned = False
        """Its worker has died, and no other one accepts by its socket yet."""
        self.covers: list[int] = []
        """Slots without a worker whose connections this one takes."""
        self.generation = 0
        """The last one that it acknowledged."""
        self.connections = 0
        self._started_at = 0.0
        self.start_at: float | None = None
        """When the next process of this slot is due; None while one lives."""
        self.last_pid = 0
        """Number of the process that fills the slot, or filled it last."""
        self._short_lives = 0
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether a process fills the slot, as far as `ended` has looked."""
        return self._popen is not None

    def start(self, inherited: list[int]) -> Channel:
        """Start a fresh interpreter that inherits `inherited`. Returns the channel to it."""
        ours, theirs = pair()
        command = [sys.executable, "-m", "dispatch.server.worker_main", str(theirs.fileno())]
        passed = [theirs.fileno(), *inherited]
        with theirs:
            self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=passed)  # noqa: S603  # our own interpreter and module
        self.last_pid = self._popen.pid
        self._started_at = self._now()
        self.start_at = None
        self.is_ready = False
        self.covers = []
        self.generation = 0
        self.connections = 0
        self.channel = Channel(ours, FromWorker)
        return self.channel

    def ended(self) -> int | None:
        """Return how the process ended, if it has: its status, or a signal's negative number. The next start is set then."""
        if self._popen is None:
            return None
        status = self._popen.poll()
        if status is None:
            return None
        self._popen = None
        self.is_ready = False
        self.is_orphaned = True
        now = self._now()
        if now - self._started_at < SHORT_LIFE_S:
            self.postpone()
        else:
            self._short_lives = 0
            self.start_at = now
        return status

    def postpone(self) -> None:
        """Count a short life: the next start waits longer than the one before."""
        self._short_lives += 1
        self.start_at = self._now() + backoff_s(self._short_lives)

    def close_channel(self) -> None:
        """Let go of the channel; a process that still lives takes it as the end of its supervisor."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def kill(self) -> None:
        """End the process at once."""
        if self._popen is not None:
            self._popen.kill()

    def reap(self) -> None:
        """Wait for the end of a killed process."""
        if self._popen is not None:
            self._popen.wait()
            self._popen = None


def raise_descriptors() -> int:
    """Raise the soft limit of open descriptors to the hard one. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard or hard == resource.RLIM_INFINITY:
        wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            # macOS caps the soft limit below the hard one it reports.
            return soft
        return wanted
    return soft


def default_workers() -> int:
    """Return one worker for each CPU that this process may use: by affinity and by the container's quota, 16 at most."""
    # Not on macOS.
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = quota_cpus(_CGROUPS, _own_cgroup())
    return max(1, min(affinity, MAX_WORKERS, affinity if quota is None else _rounded_up(quota)))


def quota_cpus(root: Path, own: str) -> float | None:
    """Return the least CPU quota of a control group and its parents, in CPUs; None without one.

    Args:
        root: where control groups are mounted; version 2, or version 1 with its controllers below.
        own: path of the group below the root, as `/proc/self/cgroup` says.
    """
    group = Path(own.strip("/"))
    # In a container the path may be the host's, which does not exist here; its own limit is then at the root.
    quotas = [_quota_of(root / folder / "cpu.max") for folder in (group, *group.parents)]
    quotas.append(_quota_of_v1(root / "cpu"))
    return min((quota for quota in quotas if quota is not None), default=None)


def _rounded_up(quota: float) -> int:
    return -int(-quota // 1)


def _own_cgroup() -> str:
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line[3:] for line in lines if line.startswith("0::")), "")


def _quota_of(file: Path) -> float | None:
    """Read `cpu.max`: quota and period in microseconds, or `max` for no quota (Linux, cgroup-v2.rst)."""
    try:
        quota, period = file.read_text("utf-8").split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_of_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text("utf-8"))
        period = int((folder / "cpu.cfs_period_us").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
