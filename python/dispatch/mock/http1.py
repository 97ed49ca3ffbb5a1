"""One client connection of the mock: bytes to whole requests (llhttp through httptools), answers back, in order."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import httptools

if TYPE_CHECKING:
    from dispatch.mock.provider import Provider

__all__ = ["RESET", "Connection", "Playing", "Request"]

_PIPELINE: Final = 64
"""Requests kept behind the one that is being answered; a client that sends more is cut off."""
_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST."""


class Request:
    """One whole request."""

    __slots__ = ("body", "headers", "keep_alive", "method", "minor", "target")

    def __init__(self, method: str, target: bytes, headers: dict[bytes, bytes], body: bytes, minor: int, *, keep_alive: bool) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        """Names in lower case; of a repeated name the last."""
        self.body = body
        self.minor = minor
        """HTTP/1.minor."""
        self.keep_alive = keep_alive

    def header(self, name: bytes) -> str:
        """Give a header's value, empty if absent."""
        return self.headers.get(name, b"").decode("latin-1")


class Playing(Protocol):
    """An answer in progress on a connection."""

    def client_left(self) -> None:
        """The connection is gone."""

    def writable(self) -> None:
        """The client has taken what was written."""


class Connection(asyncio.Protocol):
    """A client, and the answer that it is getting."""

    __slots__ = (
        "_body",
        "_headers",
        "_parser",
        "_provider",
        "_size",
        "_target",
        "_transport",
        "_waiting",
        "closed",
        "paused",
        "playing",
        "request",
    )

    _transport: asyncio.Transport

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._waiting: deque[Request] = deque()
        self.request: Request | None = None
        """The one being answered."""
        self.playing: Playing | None = None
        self.paused = False
        """The client does not take what was written; do not write more."""
        self.closed = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport  # type: ignore[assignment]  # create_server gives a Transport
        self._provider.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came; each whole request begins an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.close()
        except httptools.HttpParserError:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.close()

    def pause_writing(self) -> None:
        """Stop writing: the client is slow."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on writing."""
        self.paused = False
        if self.playing is not None:
            self.playing.writable()

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell the answer in progress that nobody reads it."""
        self.closed = True
        self._provider.connections.discard(self)
        if self.playing is not None:
            self.playing.client_left()
            self.playing = None

    # the parser's side

    def on_message_begin(self) -> None:
        """Start a request."""
        self._target = b""
        self._headers = {}
        self._body = []
        self._size = 0

    def on_url(self, part: bytes) -> None:
        """Take a part of the target: it comes in pieces."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Say that a body may come, where the client waits for that."""
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        self._body.append(part)
        self._size += len(part)
        if self._size > _MAX_BODY_BYTES:
            self.close()

    def on_message_complete(self) -> None:
        """Answer the request, or keep it until the one before is answered."""
        parser = self._parser
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        minor = 0 if parser.get_http_version() == "1.0" else 1
        method = parser.get_method().decode("ascii")
        request = Request(method, self._target, self._headers, body, minor, keep_alive=parser.should_keep_alive())
        if self.request is not None:
            self._waiting.append(request)
            if len(self._waiting) > _PIPELINE:
                self.close()
            return
        self.request = request
        self._provider.begin(self, request)

    # the answer's side

    def write(self, data: bytes) -> None:
        """Send bytes, unless the client is gone."""
        if not self.closed and not self._transport.is_closing():
            self._transport.write(data)

    def answered(self) -> None:
        """Go on after a whole answer: with the next pipelined request, or with closing."""
        self.playing = None
        if self.request is not None and not self.request.keep_alive:
            self.close()
            return
        self.request = None
        if self._waiting and not self._transport.is_closing():
            self.request = self._waiting.popleft()
            # Not a recursion into `begin`: a long pipeline would be a deep stack.
            asyncio.get_running_loop().call_soon(self._provider.begin, self, self.request)

    def close(self) -> None:
        """Send what is written, then FIN."""
        self._transport.close()

    def reset(self) -> None:
        """Send RST."""
        raw: socket.socket | None = self._transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._transport.abort()
