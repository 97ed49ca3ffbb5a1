"""A worker's process: `python -m dispatch.server.worker_main CHANNEL_FD`, started by the supervisor and by nobody else.

It inherits a channel, the board and a listening socket, hears over the channel who it is and what to do, and lives until it is told to
drain or its supervisor is gone. Ctrl-C in a terminal and a service manager signal every process of the group; the supervisor alone
decides what that means, so both signals are ignored here.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvloop

from dispatch.errors import ConfigError
from dispatch.homes import default_path
from dispatch.routing import Board
from dispatch.routing.bell import Bell
from dispatch.server.accept import Listener, Listeners
from dispatch.server.channel import (
    Applied,
    Apply,
    Ask,
    Channel,
    Closed,
    Cover,
    Drain,
    Drained,
    FromSupervisor,
    Load,
    Mean,
    Ready,
    Refused,
    Setup,
    Told,
)
from dispatch.server.judgement import told_of
from dispatch.server.worker import Worker
from dispatch.telemetry.log import FLUSH_S, Log

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from dispatch.config import Certificate
    from dispatch.server.channel import Settings

__all__ = ["main"]

SETUP_S = 30.0
"""The supervisor sends the first message right after the start; this long only if the machine is stuck."""

LOAD_S = 1.0
"""How often the number of connections is told, and looked at."""

KEPT_BYTES = 8 << 20
"""Of memory that was freed, at most, with a worker that has nothing to do."""

UNEVEN = 1.5
"""Above this multiple of the mean a worker sends connections away (CONTRACT section 8): keep-alive connections never move by themselves."""


def main() -> None:
    """Run one worker. Exit status: 0 after a drain, 1 otherwise."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=int(sys.argv[1])), FromSupervisor)
    try:
        setup = channel.wait(SETUP_S)
    except (Closed, TimeoutError):
        setup = None
    if not isinstance(setup, Setup):
        os._exit(1)
    _keep_heap()
    os._exit(uvloop.run(Main(channel, setup).run()))


def _keep_heap() -> None:
    """Let glibc keep what requests free, in place of giving it back and taking it anew, page fault by page fault, for the next ones.

    It gives the end of its heap back above a threshold of 128 KiB, which four requests of 32 KiB reach, until a larger block was mapped and
    freed: the threshold becomes twice that block (mallopt(3), M_MMAP_THRESHOLD). Its pages are never touched, so it takes no memory.
    """
    bytes(KEPT_BYTES // 2)


class Main:
    """The channel's side of a worker."""

    def __init__(self, channel: Channel, setup: Setup) -> None:
        self._channel = channel
        self._setup = setup
        self._log = Log(setup.log, setup.index)
        report = None if setup.log == "off" else self._log.request
        board = Board.attach(setup.board_fd, setup.index)
        self._worker = Worker(setup.index, board, report, _bell(board, setup.bell_fds))
        self._worker.dispatcher.say = self._log.event
        self._worker.dispatcher.ids_path = default_path(setup.settings.config.server)
        self._status: asyncio.Future[int]
        self._draining: asyncio.Task[None] | None = None
        self._told = 0
        self._asked = 0
        self._asking: dict[int, Callable[[int, bytes], None]] = {}
        self._worker.front.ask_other = self._ask
        self._listeners = self._inherited()

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit status."""
        loop = asyncio.get_running_loop()
        self._status = loop.create_future()
        self._log.wake = self._flush_log_soon
        if not self._apply(self._setup.settings):
            return 1
        await self._worker.listen(self._listeners)
        loop.add_reader(self._channel.fileno(), self._on_readable)
        self._channel.send(Ready())
        self._channel.send(Applied(generation=self._setup.settings.generation))
        # What came together with the setup is read already, so the descriptor does not tell.
        self._on_readable()
        self._tell_load()
        try:
            return await self._status
        finally:
            self._log.flush()

    def _inherited(self) -> Listeners:
        setup = self._setup
        tls = _tls(setup.settings.config.server.tls)
        fds = setup.listen_fds
        # Where all share one socket, nothing ever waits for one of them.
        slots = {fd: slot for slot, fd in enumerate(fds)} | {fds[setup.index]: setup.index}
        found = {slot: Listener(socket.socket(fileno=fd), self._worker.accepted, setup.fd_limit, tls) for fd, slot in slots.items()}
        return Listeners(found.pop(setup.index), found)

    def _on_readable(self) -> None:
        try:
            messages = self._channel.receive()
        except Closed:
            # The supervisor is gone, whatever it died of; another one may want the port now.
            self._stop(1)
            return
        for message in messages:
            self._on_message(message)

    def _ask(self, worker: int, name: str, key: str | None, score: float | None, told: Callable[[int, bytes], None]) -> None:
        """Ask another worker about a decision of its own."""
        self._asked += 1
        self._asking[self._asked] = told
        self._channel.send(Ask(worker=worker, number=self._asked, id=name, key=key, score=score))

    def _on_message(self, message: Apply | Ask | Cover | Drain | Mean | Setup | Told) -> None:
        if isinstance(message, Apply):
            if self._apply(message.settings):
                self._channel.send(Applied(generation=message.settings.generation))
        elif isinstance(message, Drain):
            if self._draining is None:
                self._listeners.abandon_others()
                self._draining = asyncio.get_running_loop().create_task(self._drain(message))
        elif isinstance(message, Cover):
            if self._draining is None:
                self._listeners.cover(message.slots)
        elif isinstance(message, Mean):
            self._even_out(message.connections)
        elif isinstance(message, Ask):
            status, body = told_of(self._worker.dispatcher, message.id, message.key, message.score)
            self._channel.send(Told(worker=message.worker, number=message.number, status=status, body=body))
        elif isinstance(message, Told):
            self._asking.pop(message.number)(message.status, message.body)

    def _apply(self, settings: Settings) -> bool:
        """Work by `settings` from here on; whatever is wrong with them, the supervisor hears of it and nothing has changed."""
        try:
            self._worker.apply(settings.config, settings.secrets, settings.slots)
        except (ConfigError, OSError, ValueError) as error:
            self._channel.send(Refused(generation=settings.generation, reason=str(error)))
            return False
        return True

    async def _drain(self, order: Drain) -> None:
        whole = await self._worker.drain(order.accept_s, order.timeout_s)
        self._channel.send(Drained(whole=whole))
        self._stop(0)

    def _stop(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)

    def _flush_log_soon(self) -> None:
        asyncio.get_running_loop().call_later(FLUSH_S, self._flush_log)

    def _flush_log(self) -> None:
        self._log.flush()
        if self._log.is_behind:
            self._flush_log_soon()

    def _tell_load(self) -> None:
        asyncio.get_running_loop().call_later(LOAD_S, self._tell_load)
        connections = self._worker.connections
        if connections != self._told:
            self._told = connections
            self._channel.send(Load(connections=connections))

    def _even_out(self, mean: float) -> None:
        """Send a quarter of what is too much away, at least one: those come back anywhere, and the next mean tells whether it sufficed."""
        over = self._worker.connections - mean
        if over >= 1 and self._worker.connections > UNEVEN * mean:
            self._worker.send_away(random.sample, max(1, int(over / 4)))


def _bell(board: Board, fds: list[int]) -> Bell:
    """Hang up all workers' bells, and listen to the own one."""
    *rings, own = fds
    board.hang_bells(rings)
    for fd in {*rings} - {own}:
        os.close(fd)
    return Bell(own)


def _tls(certificate: Certificate | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    import ssl  # noqa: PLC0415  # 40 ms that only HTTPS needs

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate.cert, certificate.key)
    context.set_alpn_protocols(["http/1.1"])
    return context


if __name__ == "__main__":
    main()
