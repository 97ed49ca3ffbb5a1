"""Several processes on one board: limits exact to the unit, and the dead undone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.config import build
from dispatch.errors import Failure
from dispatch.routing import Board, Lease, Refusal, Routing, Sizes, Slots

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESSES = 8
PROBES = 3
START = 10**15
S = 10**9

WORKER = """
import sys
from tests.integration.test_board_processes import work
work(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
"""


def config(limits: dict[str, Any]) -> Any:
    names = ["a", "b"] if limits is LIMITS["probes"] else ["a"]
    endpoints = [{"name": name, "provider": "openai", "model": "m", "api_key": "env:KEY", "limits": limits} for name in names]
    return build({"endpoints": endpoints, "models": {"chat": {"endpoints": names, "health": {"probes": PROBES}}}})


LIMITS = {
    "rate": {"requests_per_min": 60_000, "tokens_per_min": 12_000_000},
    "places": {"concurrency": 50},
    "held": {"concurrency": 1_000},
    "probes": {"concurrency": 10_000},
}


def routing(board: Board, worker: int, name: str) -> Routing:
    found = config(LIMITS[name])
    return Routing(board, worker, found, Slots.of(found, sizes()))


def sizes() -> Sizes:
    return Sizes(workers=16)


def work(fd: int, worker: int, name: str) -> None:
    """Answer each instant on stdin with the number of requests that got in, until stdin ends."""
    acquire = routing(Board.attach(fd, worker), worker, name).routers("chat")[0].acquire
    held = []
    for line in sys.stdin:
        now, tries = map(int, line.split())
        got = [one for one in (acquire(0, 100, 60, now, number, 0) for number in range(tries)) if isinstance(one, Lease)]
        if name == "rate":
            # Used as estimated, so that nothing is given back.
            for one in got:
                one.settle(0, now, 100, 60, 0, 0)
        else:
            held += got
        sys.stdout.write(f"{len(got)}\n")
        sys.stdout.flush()


class Workers:
    def __init__(self, board: Board, name: str) -> None:
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, str(board.fd), str(worker), name],
                pass_fds=[board.fd],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for worker in range(PROCESSES)
        ]

    def ask(self, now: int, tries: int) -> list[int]:
        """Let all go at once; return what each got."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{now} {tries}\n")
            process.stdin.flush()
        return [int(process.stdout.readline()) for process in self.processes if process.stdout is not None]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def board() -> Board:
    return Board.create(sizes())


@pytest.fixture
def workers(request: pytest.FixtureRequest, board: Board) -> Iterator[Workers]:
    started = Workers(board, request.param)
    yield started
    started.close()


def alone(instants: list[int], name: str) -> list[int]:
    """What one process gets at each instant when it takes all that is there: the oracle is the bucket without company."""
    acquire = routing(Board.heap(sizes()), 0, name).routers("chat")[0].acquire
    counts = []
    for now in instants:
        got = 0
        while isinstance(one := acquire(0, 100, 60, now, got, 0), Lease):
            one.settle(0, now, 100, 60, 0, 0)
            got += 1
        counts.append(got)
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["rate"], indirect=True)
def test_eight_processes_take_exactly_what_one_would(workers: Workers) -> None:
    instants = [START + step * S // 7 for step in range(30)]
    oracle = alone(instants, "rate")
    got = [sum(workers.ask(now, 2_000)) for now in instants]

    assert got == oracle
    assert sum(oracle) > 4_000


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["places"], indirect=True)
def test_eight_processes_never_exceed_a_cap_and_leave_no_place_free(workers: Workers, board: Board) -> None:
    got = workers.ask(START, 50)

    assert sum(got) == 50
    assert board.endpoint(0).in_flight == 50


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["held"], indirect=True)
def test_what_a_killed_process_held_is_free_again_and_what_it_counted_stays(workers: Workers, board: Board) -> None:
    here = routing(board, 15, "held")
    mine = here.routers("chat")[0].acquire(0, 100, 60, START, 1, 0)
    assert isinstance(mine, Lease)
    assert workers.ask(START, 7) == [7] * PROCESSES
    victim = workers.processes[3]
    # In the middle of its work: it never answers this one.
    assert victim.stdin is not None
    victim.stdin.write(f"{START} 100000\n")
    victim.stdin.flush()
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    board.reclaim(3)

    state = board.endpoint(0)
    assert (state.in_flight, state.prefill_tokens, state.decode_tokens) == (50, 5_000, 3_000)
    mine.settle(0, START, 0, 0, 0, 0)
    assert board.endpoint(0).in_flight == 49
    assert board.endpoint(0).attempts[0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["probes"], indirect=True)
def test_eight_processes_let_as_many_probes_through_as_one_may(workers: Workers, board: Board) -> None:
    here = routing(board, 15, "probes").routers("chat")[0].acquire
    for number in range(5):
        broken = here(0b10, 1, 1, START, number, 0)
        assert isinstance(broken, Lease)
        broken.settle(Failure.SERVER, START, 0, 0, 0, 0)
    assert isinstance(here(0b10, 1, 1, START, 9, 0), Refusal)
    got = workers.ask(START + 2 * S, 200)

    assert got == [200] * PROCESSES
    assert board.endpoint(0).in_flight == board.endpoint(0).probes == PROBES
    assert board.endpoint(0).panics == 0


def test_a_descriptor_that_is_no_board_is_refused(board: Board) -> None:
    with open("/dev/null") as nothing, pytest.raises((ValueError, OSError)):  # noqa: PTH123 - a descriptor is wanted
        Board.attach(nothing.fileno(), 0)
    with pytest.raises(ValueError, match="worker 16 has no column"):
        Board.attach(board.fd, 16)
    assert Board.heap(sizes()).fd == -1


def test_workers_see_each_other(board: Board) -> None:
    first = routing(board, 0, "places")
    second = routing(Board.attach(board.fd, 1), 1, "places")
    held = [first.routers("chat")[0].acquire(0, 1, 1, START, 1, 0) for _ in range(50)]

    assert isinstance(second.routers("chat")[0].acquire(0, 1, 1, START, 1, 0), Refusal)
    assert second.snapshot(START).endpoints["a"].in_flight == len(held)
