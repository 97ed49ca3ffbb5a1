"""The supervisor's parts one by one: channel, backoff, CPU quotas, the watched file, listening sockets."""

from __future__ import annotations

import json
import os
import socket
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.config import Config, Secret, Secrets, build
from dispatch.errors import ConfigError
from dispatch.routing import Sizes, Slots
from dispatch.server.channel import Applied, Apply, Channel, Closed, Drain, FromSupervisor, FromWorker, Ready, Settings, pair
from dispatch.server.listen import address_of, open_sockets, remove_unix
from dispatch.server.process import backoff_s, default_workers, quota_cpus
from dispatch.server.source import Source, needs_restart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ECHO: dict[str, Any] = {"endpoints": [{"name": "e", "provider": "echo"}], "models": {"say": "e"}}


# Channel.


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    supervisor, worker = pair()
    channels = Channel(supervisor, FromWorker), Channel(worker, FromSupervisor)
    yield channels
    for channel in channels:
        channel.close()


def settings_of(config: Config, secrets: Secrets | None = None) -> Settings:
    slots = Slots.of(config, Sizes.of(config))
    return Settings(generation=3, config=config, secrets=secrets or Secrets(endpoints={}, keys={}), slots=slots)


def test_settings_arrive_as_they_were_sent_secrets_included(ends: tuple[Channel, Channel]) -> None:
    supervisor, worker = ends
    secrets = Secrets(endpoints={"e": Secret("sk-1")}, keys={bytes(range(32)): "team"})
    sent = settings_of(build(ECHO), secrets)

    supervisor.send(Apply(settings=sent))
    (got,) = worker.receive()

    assert got.settings.config == sent.config
    assert got.settings.slots == sent.slots
    assert got.settings.secrets.keys == secrets.keys
    assert got.settings.secrets.endpoints["e"].reveal() == "sk-1"
    assert "sk-1" not in repr(got)


def test_a_message_that_the_kernel_does_not_take_at_once_arrives_whole(ends: tuple[Channel, Channel]) -> None:
    supervisor, worker = ends
    models = {f"model-{number}": "e" for number in range(20_000)}
    sent = Apply(settings=settings_of(build(ECHO | {"models": models})))

    supervisor.send(sent)
    was_behind = supervisor.is_behind
    got: list[Any] = []
    while not got:
        supervisor.flush()
        got = worker.receive()

    assert was_behind
    assert not supervisor.is_behind
    assert got[0].settings.config == sent.settings.config


def test_messages_sent_before_the_end_are_received_before_it(ends: tuple[Channel, Channel]) -> None:
    supervisor, worker = ends
    worker.send(Ready())
    worker.send(Applied(generation=1))
    worker.close()

    assert supervisor.receive() == [Ready(), Applied(generation=1)]
    with pytest.raises(Closed):
        supervisor.receive()


def test_to_send_to_an_end_that_is_gone_is_no_error(ends: tuple[Channel, Channel]) -> None:
    supervisor, worker = ends
    worker.close()

    supervisor.send(Drain(accept_s=0, timeout_s=0))
    supervisor.send(Drain(accept_s=0, timeout_s=0))

    with pytest.raises(Closed):
        supervisor.receive()


def test_waiting_returns_one_message_and_keeps_the_next(ends: tuple[Channel, Channel]) -> None:
    supervisor, worker = ends
    supervisor.send(Drain(accept_s=1, timeout_s=2))
    supervisor.send(Drain(accept_s=3, timeout_s=4))

    assert worker.wait(1) == Drain(accept_s=1, timeout_s=2)
    assert worker.receive() == [Drain(accept_s=3, timeout_s=4)]
    with pytest.raises(TimeoutError):
        worker.wait(0.01)


# Processes.


def test_the_wait_doubles_from_a_tenth_to_ten_seconds() -> None:
    waits = [backoff_s(lives) for lives in range(1, 12)]

    assert waits[0] == 0.1
    assert all(later in (2 * earlier, 10.0) for earlier, later in pairwise(waits))
    assert waits[-1] == backoff_s(10**9) == 10.0


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"pod/app/cpu.max": "max 100000"}, None),
        ({"pod/app/cpu.max": "150000 100000"}, 1.5),
        ({"pod/cpu.max": "200000 100000", "pod/app/cpu.max": "max 100000"}, 2.0),
        ({"cpu.max": "50000 100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"pod/app/cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_least_quota_of_a_group_and_its_parents_holds(tmp_path: Path, files: dict[str, str], cpus: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert quota_cpus(tmp_path, "/pod/app") == cpus


def test_there_is_a_worker_for_each_cpu_that_may_be_used() -> None:
    assert 1 <= default_workers() <= min(16, len(os.sched_getaffinity(0)))


# The file.


def test_a_changed_file_counts_once_it_rests(tmp_path: Path) -> None:
    path = tmp_path / "dispatch.json"
    path.write_text(json.dumps(ECHO))
    source = Source(path, {})
    settings, _ = source.first()

    before = source.has_changed()
    path.write_text("{")
    while_written = source.has_changed()
    path.write_text(json.dumps(ECHO | {"models": {"say": "e", "sing": "e"}}))
    seen = [source.has_changed(), source.has_changed()]
    after = source.next(settings)

    assert (before, while_written, seen) == (False, False, [False, True])
    assert (after.generation, [*after.config.models]) == (2, ["say", "sing"])
    assert after.slots.models["say"] == settings.slots.models["say"]
    assert not source.has_changed()


def test_a_file_that_is_refused_is_not_read_again_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "dispatch.json"
    path.write_text(json.dumps(ECHO))
    source = Source(path, {})
    settings, _ = source.first()
    path.write_text("{")
    changes = [source.has_changed(), source.has_changed()]
    with pytest.raises(ConfigError):
        source.next(settings)

    assert changes == [False, True]
    assert [source.has_changed(), source.has_changed()] == [False, False]


def test_a_file_that_is_away_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "dispatch.json"
    path.write_text(json.dumps(ECHO))
    source = Source(path, {})
    path.unlink()

    assert [source.has_changed(), source.has_changed()] == [False, False]


def test_what_a_reload_cannot_change_is_named() -> None:
    before = build({"server": {"port": 1, "workers": 2}})
    after = build({"server": {"port": 2, "workers": 3, "drain_s": 9}})

    assert needs_restart(before, after, 2) == ["server.port", "server.workers"]
    assert needs_restart(before, before, 2) == []


# Sockets.


def test_every_slot_listens_on_the_port_that_the_system_chose() -> None:
    server = build({"server": {"port": 0}}).server
    sockets = open_sockets(server, 3)
    ports = {sock.getsockname()[1] for sock in sockets}

    try:
        assert len({sock.fileno() for sock in sockets}) == 3
        assert len(ports) == 1
        assert address_of(server, sockets[0]) == f"http://127.0.0.1:{ports.pop()}"
    finally:
        for sock in sockets:
            sock.close()


def test_an_address_of_another_machine_is_refused() -> None:
    server = build({"server": {"host": "192.0.2.1", "port": 1}, "keys": [{"name": "k", "key": "sha256:" + "0" * 64}]}).server

    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:1"):
        open_sockets(server, 1)


def test_a_path_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    server = build({"server": {"unix": str(path)}}).server

    with pytest.raises(ConfigError, match="in use"):
        open_sockets(server, 1)

    assert path.read_text() == "mine"


def test_the_socket_file_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        inode = path.stat().st_ino

        remove_unix(str(path), inode + 1)
        was_left = path.exists()
        remove_unix(str(path), inode)

    assert was_left
    assert not path.exists()
