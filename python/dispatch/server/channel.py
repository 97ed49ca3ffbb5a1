"""What supervisor and worker say to each other: MessagePack over an inherited socket pair, each message behind its length.

Configuration and secrets travel this way and no other: arguments and environment of a process can be read by its neighbours
(`/proc/PID/cmdline`, `/proc/PID/environ`), a socket pair cannot. Neither side waits for the other to read: what the kernel does not
take at once is kept and sent when the socket is writable again.

The end of the channel is a message too: a worker whose supervisor is gone exits, whatever ended the supervisor.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

import msgspec
from msgspec import Struct

from dispatch.config import Config, Secret, Secrets
from dispatch.routing import Slots

__all__ = [
    "Applied",
    "Apply",
    "Ask",
    "Channel",
    "Closed",
    "Cover",
    "Drain",
    "Drained",
    "FromSupervisor",
    "FromWorker",
    "Load",
    "Mean",
    "Ready",
    "Refused",
    "Settings",
    "Setup",
    "Told",
    "pair",
]

MAX_MESSAGE_BYTES = 256 * 1024 * 1024
"""Far above any configuration; a length beyond it is a broken channel."""

_READ_BYTES = 256 * 1024
_LENGTH = struct.Struct(">I")


class Settings(Struct, frozen=True, kw_only=True):
    """One generation of what a worker works by."""

    generation: int
    """Counts up with each reload; an acknowledgement names it."""
    config: Config
    secrets: Secrets
    slots: Slots


class Setup(Struct, frozen=True, kw_only=True, tag=True):
    """The first message to a worker: who it is and what it has inherited."""

    index: int
    """Its column on the board."""
    board_fd: int
    bell_fds: list[int]
    """By which workers wake each other: of each slot the end to ring, and last the end that this one listens to."""
    listen_fds: list[int]
    """By slot; the same one for all where there is one only."""
    fd_limit: int
    """The worker stops accepting while its descriptors reach this number."""
    log: str
    """Form of its log lines: `json`, `human` or `off`."""
    settings: Settings


class Apply(Struct, frozen=True, kw_only=True, tag=True):
    """Work by these settings from now on."""

    settings: Settings


class Drain(Struct, frozen=True, kw_only=True, tag=True):
    """Stop: accept for `accept_s` more, then finish what is under way, at most `timeout_s`, and exit."""

    accept_s: float
    timeout_s: float


class Cover(Struct, frozen=True, kw_only=True, tag=True):
    """Accept from the sockets of these slots too, and of no others: their workers have died, and successors are still starting."""

    slots: list[int]


class Mean(Struct, frozen=True, kw_only=True, tag=True):
    """Open connections per worker, over all workers."""

    connections: float


class Ask(Struct, frozen=True, kw_only=True, tag=True):
    """A worker asks another one about a decision that the other made. The supervisor passes it on."""

    worker: int
    """To the supervisor: who is asked; from it: who asks."""
    number: int
    """Of the question, as the asking worker counts them."""
    id: str
    key: str | None
    """Only a decision of this key; None: any."""
    score: float | None
    """How good the answer was, if that is what is told."""


class Told(Struct, frozen=True, kw_only=True, tag=True):
    """The answer to `Ask`."""

    worker: int
    """To the supervisor: who asked; from it: who answers."""
    number: int
    status: int
    body: bytes


class Ready(Struct, frozen=True, kw_only=True, tag=True):
    """The worker accepts connections."""


class Applied(Struct, frozen=True, kw_only=True, tag=True):
    """The worker works by this generation."""

    generation: int


class Refused(Struct, frozen=True, kw_only=True, tag=True):
    """The worker cannot work by this generation, and goes on as before; without one before, it exits."""

    generation: int
    reason: str


class Load(Struct, frozen=True, kw_only=True, tag=True):
    """How many client connections the worker holds."""

    connections: int


class Drained(Struct, frozen=True, kw_only=True, tag=True):
    """The worker is done and exits. `whole`: everything that was under way was answered."""

    whole: bool


FromSupervisor = Setup | Apply | Cover | Drain | Mean | Ask | Told
FromWorker = Ready | Applied | Refused | Load | Drained | Ask | Told


class Closed(Exception):
    """The other side has ended."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a channel; the worker's is to be inherited."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


class Channel:
    """One end.

    Args:
        sock: connected to the other end; made non-blocking.
        receives: union of the messages that the other side sends.
    """

    def __init__(self, sock: socket.socket, receives: object) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(receives, dec_hook=_hidden)
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._sock.fileno()

    @property
    def is_behind(self) -> bool:
        """Whether something waits until the socket is writable; then `flush` is due."""
        return bool(self._outgoing)

    def send(self, message: Struct) -> None:
        """Send a message, or keep what cannot leave yet. An end that is gone is noticed by `receive`, not here."""
        body = msgspec.msgpack.encode(message, enc_hook=_revealed)
        self._outgoing += _LENGTH.pack(len(body)) + body
        self.flush()

    def flush(self) -> None:
        """Send what was kept, as far as the socket takes it."""
        try:
            while self._outgoing:
                sent = self._sock.send(self._outgoing)
                del self._outgoing[:sent]
        except BlockingIOError:
            return
        except OSError:
            # EPIPE or ECONNRESET: nobody will read it.
            self._outgoing.clear()

    def receive(self) -> list[Any]:
        """Return the whole messages that have arrived.

        Raises:
            Closed: the other side has ended, and all that it sent was returned before.
        """
        is_open = self._read()
        messages = [*self._whole()]
        if not is_open and not messages:
            raise Closed
        return messages

    def wait(self, timeout_s: float) -> object:
        """Return the next message, waiting for it.

        Raises:
            Closed: the other side has ended.
            TimeoutError: nothing came.
        """
        self._sock.settimeout(timeout_s)
        try:
            while True:
                for message in self._whole(1):
                    return message
                data = self._sock.recv(_READ_BYTES)
                if not data:
                    raise Closed
                self._incoming += data
        finally:
            self._sock.setblocking(False)

    def close(self) -> None:
        """Close this end."""
        self._sock.close()

    def _read(self) -> bool:
        """Take in what is there. Returns whether the other side still lives."""
        try:
            while data := self._sock.recv(_READ_BYTES):
                self._incoming += data
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def _whole(self, most: int = 1 << 30) -> list[Any]:
        found: list[Any] = []
        while len(found) < most and len(self._incoming) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._incoming)
            if length > MAX_MESSAGE_BYTES:
                raise Closed
            end = _LENGTH.size + length
            if len(self._incoming) < end:
                break
            found.append(self._decoder.decode(bytes(self._incoming[_LENGTH.size : end])))
            del self._incoming[:end]
        return found


def _revealed(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"no message holds a {type(value).__name__}")


def _hidden(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError(f"no message holds a {kind.__name__}")
