"""The supervisor: checks, opens sockets, makes the board, starts workers, and keeps them going. It serves no request itself.

It waits in one place for four things: a message of a worker, a signal, a due restart, a changed file. Nothing in it blocks for
longer, so a dead worker's rows are given back and its successor is started within a moment; meanwhile other workers accept that slot's
new connections, from the socket that the supervisor keeps open.

Imports are few on purpose: from start to first answer is at most 0.5 s, and the workers' share of that begins only when this part is done.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from dispatch._core import __version__
from dispatch.errors import ConfigError
from dispatch.routing import Board, bell
from dispatch.server.channel import Applied, Apply, Ask, Closed, Cover, Drain, FromWorker, Load, Mean, Ready, Refused, Settings, Setup, Told
from dispatch.server.checks import Checks
from dispatch.server.listen import address_of, open_sockets, remove_unix
from dispatch.server.process import Process, raise_descriptors
from dispatch.server.process_signals import WokenBySignals
from dispatch.server.source import WATCH_S, Source, needs_restart
from dispatch.telemetry.log import Log, form_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import Struct

__all__ = ["serve"]

FD_RESERVE = 64
"""Descriptors that a worker keeps free of clients: connections to upstreams, logs, and what else it may have to open."""

FDS_PER_STREAM = 2
"""One to the client, one to the upstream."""

MEAN_S = 1.0
"""How often workers are told how many connections one of them has on average."""

LAST_WAIT_S = 5.0
"""A worker that still lives this long after every deadline has passed is killed."""

SHOWN_MODELS = 8


def serve(config_path: Path | None, overrides: Mapping[str, Any], log: str | None = None) -> int:
    """Run the sidecar until a signal ends it. Returns the exit status of the command.

    Args:
        config_path: the file; None takes what the machine offers.
        overrides: what flags say, by path: `{"server.port": 9000}`; None as a value means "not given".
        log: form of the log lines (`json`, `human`, `off`); None chooses by whether standard error is a terminal.

    Raises:
        ConfigError: the configuration is refused, a secret is missing, or the address cannot be had. Nothing was started.
    """
    source = Source(config_path, overrides)
    settings, workers = source.first()
    fd_limit = raise_descriptors()
    sockets = open_sockets(settings.config.server, workers)
    supervisor = Supervisor(source, settings, sockets, fd_limit, Log(form_for(log)))
    with ExitStack() as stack:
        if settings.config.server.unix is not None:
            stack.callback(remove_unix, settings.config.server.unix, Path(settings.config.server.unix).stat().st_ino)
        stack.enter_context(WokenBySignals(supervisor.woken))
        return supervisor.run()


class Supervisor:
    """See the module.

    Args:
        sockets: one per worker slot.
        fd_limit: descriptors that each process may have.
    """

    def __init__(self, source: Source, settings: Settings, sockets: list[socket.socket], fd_limit: int, log: Log) -> None:
        self._source = source
        self._started_with = settings.config
        self._settings = settings
        self._before = settings
        self._is_reloading = False
        self._fd_limit = fd_limit
        self._log = log
        self._address = address_of(settings.config.server, sockets[0])
        self._board = Board.create(settings.slots.sizes)
        self._checks = Checks(self._board, Log(log.form))
        self._bells = [bell.make() for _ in sockets]
        self._processes = [Process(index, sock, monotonic) for index, sock in enumerate(sockets)]
        self._selector = selectors.DefaultSelector()
        self.woken, self._wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._was_ready = False
        self._why_not = ""
        self._stop_signal = 0
        self._kill_at: float | None = None
        self._watch_at = self._mean_at = monotonic() + WATCH_S
        self._status: int | None = None

    def run(self) -> int:
        """Start the workers and keep them until the end. Returns the exit status."""
        try:
            for process in self._processes:
                self._start(process)
            while self._status is None:
                self._start_due()
                for key, _ in self._selector.select(self._pause_s()):
                    if key.data is None:
                        self._on_signals()
                    else:
                        self._on_channel(key.data)
                self._on_time()
        finally:
            self._end()
        return self._status

    def _pause_s(self) -> float:
        """Return the time until something is due."""
        due = [self._watch_at, self._mean_at]
        due += [one.start_at for one in self._processes if one.start_at is not None and self._may_restart]
        if self._kill_at is not None:
            due.append(self._kill_at)
        return max(0.0, min(due) - monotonic())

    # Workers.

    @property
    def _may_restart(self) -> bool:
        """Whether a second try makes sense: not while stopping, and not before one worker has shown that it can work at all."""
        return self._was_ready and not self._stop_signal

    def _start_due(self) -> None:
        now = monotonic()
        for process in self._processes:
            if process.start_at is not None and process.start_at <= now and self._may_restart:
                self._start(process)

    def _start(self, process: Process) -> None:
        bells = [*(ring for _, ring in self._bells), self._bells[process.index][0]]
        listening = [one.sock.fileno() for one in self._processes]
        try:
            channel = process.start([self._board.fd, *bells, *listening])
        except OSError as error:
            process.postpone()
            self._log.event("worker_not_started", f"worker {process.index} cannot be started: {error}", index=process.index)
            return
        self._selector.register(channel, selectors.EVENT_READ, process)
        setup = Setup(
            index=process.index,
            board_fd=self._board.fd,
            bell_fds=bells,
            listen_fds=listening,
            fd_limit=self._fd_limit - FD_RESERVE,
            log=self._log.form,
            settings=self._settings,
        )
        self._send(process, setup)

    def _send(self, process: Process, message: Struct) -> None:
        if process.channel is not None:
            process.channel.send(message)
            self._follow(process)

    def _follow(self, process: Process) -> None:
        """Ask for writability only while something waits for it."""
        channel = process.channel
        if channel is not None:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.is_behind else 0)
            self._selector.modify(channel, events, process)

    def _on_channel(self, process: Process) -> None:
        channel = process.channel
        if channel is None:
            return
        channel.flush()
        try:
            messages = channel.receive()
        except Closed:
            self._close_channel(process)
            # It has ended, or cannot be talked to any more, which comes to the same.
            process.kill()
            return
        for message in messages:
            self._on_message(process, message)
        self._follow(process)

    def _close_channel(self, process: Process) -> None:
        if process.channel is not None:
            self._selector.unregister(process.channel)
            process.close_channel()

    def _on_message(self, process: Process, message: FromWorker) -> None:
        if isinstance(message, Load):
            process.connections = message.connections
        elif isinstance(message, Ready):
            process.is_ready = True
            process.is_orphaned = False
            self._cover()
            text = f"worker {process.index} (pid {process.last_pid}) is ready"
            self._log.event("worker_ready", text, index=process.index, pid=process.last_pid)
            if not self._was_ready:
                self._was_ready = True
                self._announce()
                self._checks.use(self._settings)
        elif isinstance(message, Applied):
            process.generation = message.generation
            self._on_applied()
        elif isinstance(message, Refused):
            self._on_refused(process, message)
        elif isinstance(message, (Ask, Told)):
            self._pass_on(process, message)
        elif not message.whole:
            text = f"worker {process.index} stopped with requests under way: their deadline had passed"
            self._log.event("requests_cut", text, index=process.index)

    def _cover(self) -> None:
        """Have the workers that can accept from the sockets of those that died."""
        orphaned = [one.index for one in self._processes if one.is_orphaned]
        for process in self._processes:
            if process.is_ready and process.covers != orphaned:
                process.covers = orphaned
                self._send(process, Cover(slots=orphaned))

    def _pass_on(self, process: Process, message: Ask | Told) -> None:
        """Hand a worker's words to another one."""
        other = next((one for one in self._processes if one.index == message.worker and one.channel is not None), None)
        if other is not None and other.channel is not None:
            other.channel.send(msgspec.structs.replace(message, worker=process.index))
            self._follow(other)
        elif isinstance(message, Ask) and process.channel is not None:
            # What a worker knew that has died is gone with it.
            status = 410 if message.worker < len(self._processes) else 404
            process.channel.send(Told(worker=message.worker, number=message.number, status=status, body=b""))

    def _announce(self) -> None:
        """Say on standard output that requests are taken, and where."""
        names = [*self._settings.config.models]
        shown = ", ".join(names[:SHOWN_MODELS]) + (f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else "")
        count = len(self._processes)
        streams = (self._fd_limit - FD_RESERVE) // FDS_PER_STREAM
        with suppress(BrokenPipeError):
            print(f"dispatch {__version__} on {self._address}, {count} worker{'s' * (count > 1)}, models: {shown or 'none'}")  # noqa: T201  # the command's answer
            print(f"room for {streams:,} streams per worker: {self._fd_limit:,} descriptors", flush=True)  # noqa: T201  # as above

    def _reap(self) -> None:
        for process in self._processes:
            status = process.ended()
            if status is not None:
                self._on_death(process, status)

    def _on_death(self, process: Process, status: int) -> None:
        # First of all: until then the dead worker's requests count as load, and keep its share of every concurrency limit.
        self._board.reclaim(process.index)
        # Its last words.
        self._on_channel(process)
        self._close_channel(process)
        if self._stop_signal:
            return
        self._cover()
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        after_s = max(0.0, (process.start_at or 0.0) - monotonic())
        then = f"in {after_s:.1f} s" if after_s else "now"
        text = f"worker {process.index} (pid {process.last_pid}) ended: {how}; the next one starts {then}"
        self._log.event("worker_ended", text, index=process.index, pid=process.last_pid, status=status, restart_after_s=round(after_s, 3))
        if not self._was_ready and not any(one.is_alive for one in self._processes):
            print(f"dispatch: no worker could start: {self._why_not or how}", file=sys.stderr)  # noqa: T201  # the command's answer
            self._status = 1
        self._on_applied()

    # Reload.

    def _reload(self, why: str) -> None:
        try:
            settings = self._source.next(self._settings)
        except ConfigError as error:
            self._log.event("reload_refused", f"{why}, but it changes nothing: {error}", reason=str(error))
            return
        fixed = needs_restart(self._started_with, settings.config, len(self._processes))
        if fixed:
            self._log.event("needs_restart", f"{', '.join(fixed)}: only a restart can change this; the rest is applied", keys=fixed)
        self._before, self._settings = self._settings, settings
        self._is_reloading = True
        self._apply()

    def _apply(self) -> None:
        self._checks.use(self._settings)
        for process in self._processes:
            self._send(process, Apply(settings=self._settings))
        self._on_applied()

    def _on_applied(self) -> None:
        generation = self._settings.generation
        if self._is_reloading and all(one.generation == generation for one in self._processes if one.is_alive):
            self._is_reloading = False
            self._log.event("reloaded", f"configuration {generation} is in force in all workers", generation=generation)

    def _on_refused(self, process: Process, message: Refused) -> None:
        """A worker found what the checks had not: all go back to the settings before."""
        self._why_not = message.reason
        if not process.is_ready or message.generation != self._settings.generation or not self._is_reloading:
            return
        self._is_reloading = False
        self._log.event("reload_refused", f"the configuration changes nothing: {message.reason}", reason=message.reason)
        # Rows given to new names stay given: some worker may have counted on them already.
        slots = self._settings.slots
        self._settings = replace(self._before, generation=message.generation + 1, slots=slots)
        self._apply()

    # Signals and time.

    def _on_signals(self) -> None:
        for number in self._wakeup.recv(4096):
            if number == signal.SIGHUP and not self._stop_signal:
                self._reload("SIGHUP: the configuration was read again")
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._on_stop(number)
        self._reap()

    def _on_stop(self, number: int) -> None:
        if self._stop_signal:
            self._status = 128 + number
            return
        self._stop_signal = number
        server = self._settings.config.server
        longest_s = max((model.settings.deadline_s for model in self._settings.config.models.values()), default=0.0)
        self._kill_at = monotonic() + server.drain_s + longest_s + LAST_WAIT_S
        text = f"{signal.Signals(number).name}: stopping; new requests are taken for {server.drain_s:g} s, those under way are finished"
        self._log.event("draining", text, drain_s=server.drain_s, at_most_s=server.drain_s + longest_s)
        for process in self._processes:
            # Only the worker's own copy is left, so that its close ends the socket.
            process.sock.close()
            if process.is_ready:
                self._send(process, Drain(accept_s=server.drain_s, timeout_s=longest_s))
            else:
                process.kill()

    def _on_time(self) -> None:
        now = monotonic()
        if self._stop_signal and not any(one.is_alive for one in self._processes):
            self._status = 0 if self._status is None else self._status
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            for process in self._processes:
                process.kill()
        if now >= self._watch_at:
            self._watch_at = now + WATCH_S
            if not self._stop_signal and self._source.has_changed():
                self._reload(f"{self._source.path} has changed")
        if now >= self._mean_at:
            self._mean_at = now + MEAN_S
            self._tell_mean()

    def _tell_mean(self) -> None:
        """Let workers know the mean; the one that holds too many sends some away (CONTRACT section 8)."""
        ready = [one for one in self._processes if one.is_ready]
        mean = sum(one.connections for one in ready) / max(1, len(ready))
        for process in ready:
            if len(ready) > 1 and process.connections > mean:
                self._send(process, Mean(connections=mean))

    def _end(self) -> None:
        """Leave nothing behind, however the end came."""
        self._checks.close()
        for process in self._processes:
            process.kill()
            process.reap()
            process.close_channel()
            process.sock.close()
        for fd in {fd for ends in self._bells for fd in ends}:
            os.close(fd)
        self._selector.close()
        self._wakeup.close()
        self.woken.close()
        self._log.event("stopped", "stopped")
