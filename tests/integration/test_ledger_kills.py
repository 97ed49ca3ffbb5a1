"""A worker that is killed at any instant leaves a ledger in which every attempt that was sent stands once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
from dispatch.errors import Failure
from dispatch.exchange import Call
from dispatch.mock.ask import digest_of
from dispatch.policy.cost import Rates
from dispatch.telemetry.ledger import Ledger
from dispatch.testing import MockProvider

from tests.integration.fleet import TWO, behind
from tests.integration.sidecar import Sidecar, until

if TYPE_CHECKING:
    from pathlib import Path

    from dispatch.exchange import Body, Sink

KILLS = 60
SIDECAR_KILLS = 4
CLIENTS = 24


class Try:
    """An attempt, as far as the ledger cares."""

    relay = None
    sent_ns = 0

    def __init__(self, request_id: str) -> None:
        self.call = Call(cast("Sink", None), "m", "chat", cast("Body", None), 0, 0)
        self.call.request_id = f"x-request-id: {request_id}\r\n".encode()
        self.call.tokens_in = 7
        self.link = self

    name = "e"


def ledger(folder: Path, worker: int = 0) -> Ledger:
    return Ledger(str(folder / "ledger"), worker, {"e": Rates(input=2)}, lambda *_: None)


def lines(folder: Path, worker: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"ledger.{worker}").read_text().splitlines()]


def left(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir() if one.suffix == ".open"]


def send_for_ever(folder: Path, told: int) -> None:
    """Send attempts and book them, two under way at a time, and tell of each when it is sent, as a provider's journal does."""
    books, number = ledger(folder), 0
    while True:
        tries = [cast("Any", Try(f"{os.getpid()}-{number + more}")) for more in (0, 1)]
        number += 2
        for one in tries:
            books.begin(one)
            os.write(told, one.call.request_id[14:-2] + b"\n")
        for one in tries:
            books(one, Failure.NONE, (1, 1, 0, 0), 0)


def test_of_a_process_killed_at_any_instant_each_attempt_that_was_sent_is_booked_once(tmp_path: Path) -> None:
    random, told = Random(4), tmp_path / "told"
    fd = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for kill in range(1, KILLS + 1):
        pid = os.fork()
        if not pid:
            send_for_ever(tmp_path, fd)
        # It has begun once it tells of something.
        size = told.stat().st_size
        while told.stat().st_size == size:
            time.sleep(0.001)
        time.sleep(random.random() * 0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert len(left(tmp_path)) == 1, kill
    os.close(fd)
    books = ledger(tmp_path)
    booked = Counter((line["id"], line["attempt"]) for line in lines(tmp_path))
    killed = [line for line in lines(tmp_path) if line.get("killed")]

    assert max(booked.values()) == 1
    assert set(told.read_text().split()) <= {name for name, _ in booked}
    # Two were under way at most; a process may have died with none.
    assert 0 < len(killed) <= 2 * KILLS
    assert {(line["outcome"], line["failure"], line["tokens_in"], line["cost_pico"]) for line in killed} == {
        ("unknown", "unknown_execution", 7, 14)
    }
    assert len(left(tmp_path)) == 1
    del books
    assert left(tmp_path) == []


def test_more_attempts_than_places_are_kept_and_long_names_are_cut(tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        books = ledger(tmp_path)
        for number in range(700):
            one = Try(f"r-{number}")
            one.call.model, one.call.key = "m" * 600, "\u20ac" * 900
            books.begin(cast("Any", one))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    ledger(tmp_path)

    assert sorted(line["id"] for line in lines(tmp_path)) == sorted(f"r-{number}" for number in range(700))
    assert {line["model"] for line in lines(tmp_path)} == {"m" * 50}


def test_what_a_living_process_has_under_way_is_left_to_it(tmp_path: Path) -> None:
    books, one = ledger(tmp_path), cast("Any", Try("r"))
    books.begin(one)
    other = ledger(tmp_path)

    assert lines(tmp_path) == []
    assert len(left(tmp_path)) == 2
    books(one, Failure.NONE, (1, 1, 0, 0), 0)
    del books, other
    ledger(tmp_path)
    assert [line.get("killed", False) for line in lines(tmp_path)] == [False]


def test_a_line_that_its_death_cut_is_written_whole_by_the_next_worker(tmp_path: Path) -> None:
    """Linux looks for fatal signals between two pages of a write."""
    pid = os.fork()
    if not pid:
        books = ledger(tmp_path)
        books.begin(cast("Any", Try("r")))
        with (tmp_path / "ledger.0").open("ab", buffering=0) as file:
            file.write(b'{"time":"2026-11-22T14:06:52.538034Z","id":"r","attempt":1,"model":"m",')
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    ledger(tmp_path)

    assert [(line["id"], line["attempt"], line["killed"]) for line in lines(tmp_path)] == [("r", 1, True)]


def leave_under_way(folder: Path, worker: int, attempts: int) -> None:
    """A worker dies with so many attempts under way."""
    pid = os.fork()
    if not pid:
        books = ledger(folder, worker)
        for number in range(attempts):
            books.begin(cast("Any", Try(f"r-{number}")))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def book_and_die_at(folder: Path, worker: int, written: int) -> None:
    """A worker that comes up is killed when the kernel has taken so many bytes of the first lines that it books."""
    pid = os.fork()
    if not pid:
        real = os.write

        def write(fd: int, lines: Any, /) -> int:
            real(fd, bytes(lines)[:written])
            os.kill(os.getpid(), signal.SIGKILL)
            return 0

        os.write = write
        ledger(folder, worker)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("worker", [0, 1], ids=["its successor", "another worker"])
@pytest.mark.parametrize("written", [0, 1, 300, 4096])
def test_who_dies_while_it_books_for_the_dead_leaves_whole_lines(tmp_path: Path, worker: int, written: int) -> None:
    leave_under_way(tmp_path, 0, 60)
    book_and_die_at(tmp_path, worker, written)
    ledger(tmp_path)

    booked = Counter((line["id"], line["attempt"]) for line in lines(tmp_path))
    assert booked == {(f"r-{number}", 1): 1 for number in range(60)}


def test_nobody_writes_for_the_dead_behind_the_lines_of_their_successor(tmp_path: Path) -> None:
    """Half a line of who dies in it could not be cut off there: the successor would go on behind it."""
    books, one = ledger(tmp_path), cast("Any", Try("living"))
    leave_under_way(tmp_path, 0, 2)
    other = ledger(tmp_path, 1)
    books.begin(one)
    books(one, Failure.NONE, (1, 1, 0, 0), 0)

    assert [line["id"] for line in lines(tmp_path)] == ["living"]
    ledger(tmp_path)
    assert [line["id"] for line in lines(tmp_path)] == ["living", "r-0", "r-1"]
    del other


def has(mock: MockProvider, requests: int) -> bool:
    return len(mock.journal) >= requests


def has_started(sidecar: Sidecar, workers: int) -> bool:
    return len([line for line in sidecar.log if line["event"] == "worker_ready"]) >= workers


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough: what is tested runs in other processes."""
    return "asyncio", {"use_uvloop": True}


async def ask(port: int, name: str) -> None:
    """Ask by a connection of its own; what becomes of it does not matter."""
    body = json.dumps({"model": "say", "messages": [{"role": "user", "content": name}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nx-request-id: %b\r\n"
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head % name.encode() + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
        await reader.read()
        writer.close()


@pytest.mark.anyio
@pytest.mark.slow
async def test_killed_workers_of_the_sidecar_leave_no_attempt_out_of_the_ledger(tmp_path: Path) -> None:
    """Requests that a provider received, and was perhaps paid for, stand in the ledger, though their worker had no time to write them."""
    random, names = Random(5), count()
    async with MockProvider(first_token_s="uniform:0.0,0.2") as mock:
        config = behind(mock, ledger=str(tmp_path / "ledger"))
        config["models"]["say"] = {"endpoints": ["up"], "retry": {"attempts": 1}}
        async with Sidecar(tmp_path, config, *TWO) as sidecar:
            is_over = False

            async def client() -> None:
                while not is_over:
                    await ask(sidecar.port, f"c-{next(names)}")

            clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
            for kill in range(SIDECAR_KILLS):
                enough = len(mock.journal) + 2 * CLIENTS
                await until(partial(has, mock, enough), "requests")
                os.kill((await sidecar.workers(2))[kill % 2], signal.SIGKILL)
                await asyncio.sleep(random.random() * 0.1)
                await until(partial(has_started, sidecar, 3 + kill), "a successor")
            is_over = True
            await asyncio.gather(*clients)
            entries = [*lines(tmp_path, 0), *lines(tmp_path, 1)]
            unknown = await sidecar.metric("dispatch_ledger_attempts_total", endpoint="up", outcome="unknown")

    booked = {digest_of(entry["id"]): entry for entry in entries}
    assert len(booked) == len(entries)
    assert [entry.digest for entry in mock.journal if entry.digest not in booked] == []
    killed = [entry for entry in entries if entry.get("killed")]
    assert killed
    assert {entry["outcome"] for entry in killed} == {"unknown"}
    assert unknown == sum(entry["outcome"] == "unknown" for entry in entries)
