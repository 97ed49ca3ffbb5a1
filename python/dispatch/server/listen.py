"""Listening sockets: made by the supervisor, inherited by workers.

Linux gives each worker slot its own socket under SO_REUSEPORT, and the kernel spreads new connections over them. The supervisor keeps
every socket open, so the backlog of a worker that died is not reset: the other workers, which inherit all sockets, accept from it until a
successor does. Elsewhere (and for Unix sockets, which know no reuse-port groups) all workers accept from one socket.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from dispatch.config import Server

__all__ = ["BACKLOG", "address_of", "open_sockets", "remove_unix"]

BACKLOG = 4096
"""Asked for; the kernel caps it at net.core.somaxconn (4,096 since Linux 5.4)."""

_ADDRESS_FAULTS = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM}


def open_sockets(server: Server, workers: int) -> list[socket.socket]:
    """Return one listening socket per worker; the same one for all where there is one only.

    Raises:
        ConfigError: the address is in use, is not this machine's, or may not be used.
    """
    if server.unix is not None:
        return [_open_unix(server.unix)] * workers
    family, address = _resolved(server.host, server.port)
    if address[1]:
        _check_free(family, address)
    shared = sys.platform != "linux"
    first = _open(family, address, reuse_port=not shared)
    # Port 0: the system has chosen one for the first, the others join it.
    chosen = (address[0], first.getsockname()[1], *address[2:])
    return [first] * workers if shared else [first, *(_open(family, chosen, reuse_port=True) for _ in range(workers - 1))]


def address_of(server: Server, sock: socket.socket) -> str:
    """Return where clients find it, as a base URL."""
    if server.unix is not None:
        return f"unix:{server.unix}"
    host = f"[{server.host.strip('[]')}]" if ":" in server.host else server.host
    return f"{'https' if server.tls else 'http'}://{host}:{sock.getsockname()[1]}"


def remove_unix(path: str, inode: int) -> None:
    """Remove the file of a Unix socket at the end, unless another process has put its own in that place."""
    with suppress(FileNotFoundError):
        if Path(path).stat().st_ino == inode:
            Path(path).unlink()


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError("server.host", f"{host!r} is no address of this machine: {error.strerror}") from error
    # A name such as localhost may stand for both families; clients try IPv4 at the latest after IPv6 failed.
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, address  # type: ignore[return-value]  # AF_INET and AF_INET6 only: both are tuples of host and port


def _check_free(family: socket.AddressFamily, address: tuple[object, ...]) -> None:
    """Refuse an address that someone listens on: under SO_REUSEPORT a second sidecar would silently take half of its clients."""
    _open(family, address, reuse_port=False).close()


def _open(family: socket.AddressFamily, address: tuple[object, ...], *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without it, connections of the last run that are still in TIME_WAIT would hold the port for a minute.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _explained(error, f"{address[0]}:{address[1]}", "server.port") from error
    sock.setblocking(False)
    return sock


def _open_unix(path: str) -> socket.socket:
    if _is_socket(path):
        if _answers(path):
            raise ConfigError("server.unix", f"{path} is in use: another process listens on it")
        # Left behind by a process that was killed.
        Path(path).unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _explained(error, path, "server.unix") from error
    sock.setblocking(False)
    return sock


def _explained(error: OSError, where: str, key: str) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(key, f"{where} is in use: another process listens on it")
    if error.errno in _ADDRESS_FAULTS or key == "server.unix":
        return ConfigError(key, f"cannot listen on {where}: {os.strerror(error.errno or 0)}")
    return error


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
