"""A client that says exactly what it wants said, and reads only when it is told to."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any, Self

from msgspec import Struct

__all__ = ["Peer", "Reply", "body_of", "chat", "events_of", "post"]

DEADLINE_S = 30.0
_READ = 65536


class Reply(Struct):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    is_whole: bool = True
    """False: the connection ended before the message did."""

    @property
    def error(self) -> dict[str, Any]:
        """The error object; fails if that is not what came."""
        assert self.headers["content-type"].startswith("application/json"), self
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert isinstance(error["message"], str)
        assert error["message"]
        return error  # type: ignore[no-any-return]  # JSON

    @property
    def code(self) -> tuple[int, str]:
        """Status and code of an error."""
        return self.status, self.error["code"]


class Peer:
    """One connection to the sidecar. No task reads for it: what it does not read stays in the kernel."""

    def __init__(self, port: int, receive_bytes: int = 0) -> None:
        self._port = port
        self._receive_bytes = receive_bytes
        self.sock = socket.socket()
        self.data = bytearray()
        self.end = ""
        """`fin` or `rst` once the other side has ended."""

    async def __aenter__(self) -> Self:
        if self._receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
        self.sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(self.sock, ("127.0.0.1", self._port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.sock.close()

    @property
    def address(self) -> tuple[str, int]:
        """This side's own address."""
        return self.sock.getsockname()  # type: ignore[no-any-return]  # an AF_INET socket

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def half_close(self) -> None:
        """End this side; the other may still talk."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End both sides by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    async def more(self, size: int = _READ) -> bool:
        """Read something. False when the other side has ended."""
        if self.end:
            return False
        try:
            async with asyncio.timeout(DEADLINE_S):
                data = await asyncio.get_running_loop().sock_recv(self.sock, size)
        except ConnectionError:
            self.end = "rst"
            return False
        self.data += data
        self.end = "" if data else "fin"
        return bool(data)

    async def until(self, enough: bytes) -> bytes:
        """Read until `enough` has come, or the end."""
        while enough not in self.data and await self.more():
            pass
        return bytes(self.data)

    async def to_end(self) -> bytes:
        """Read until the other side ends."""
        while await self.more():
            pass
        return bytes(self.data)

    async def reply(self, *, head_only: bool = False) -> Reply:
        """Read one final answer; what follows it stays in `data`."""
        while True:
            await self.until(b"\r\n\r\n")
            head, found, rest = bytes(self.data).partition(b"\r\n\r\n")
            assert found, f"no answer but {bytes(self.data)!r} and {self.end}"
            line, *fields = head.decode("latin-1").split("\r\n")
            reply = Reply(int(line.split()[1]), dict(_field(field) for field in fields))
            self.data[:] = rest
            if reply.status >= 200:
                break
        if not head_only:
            await self._body(reply)
        return reply

    async def ask(self, request: bytes) -> Reply:
        """Send a request and read its answer."""
        await self.send(request)
        return await self.reply()

    async def _body(self, reply: Reply) -> None:
        if reply.headers.get("transfer-encoding") == "chunked":
            reply.body, reply.is_whole = await self._chunks()
        elif "content-length" in reply.headers:
            length = int(reply.headers["content-length"])
            while len(self.data) < length and await self.more():
                pass
            reply.body, reply.is_whole = bytes(self.data[:length]), len(self.data) >= length
            del self.data[:length]
        elif reply.status != 204:
            reply.body = await self.to_end()
            reply.is_whole = self.end == "fin"
            self.data.clear()

    async def _chunks(self) -> tuple[bytes, bool]:
        body = bytearray()
        while True:
            while b"\r\n" not in self.data and await self.more():
                pass
            line, found, _ = bytes(self.data).partition(b"\r\n")
            if not found:
                return bytes(body), False
            size, start = int(line, 16), len(line) + 2
            while len(self.data) < start + size + 2 and await self.more():
                pass
            body += self.data[start : start + size]
            if len(self.data) < start + size + 2:
                return bytes(body), False
            assert self.data[start + size : start + size + 2] == b"\r\n"
            del self.data[: start + size + 2]
            if not size:
                return bytes(body), True


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


def body_of(model: str = "m", text: str = "hi", **fields: Any) -> bytes:
    """The JSON of a chat request."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **fields}).encode()


def post(body: bytes, *fields: str, path: str = "/v1/chat/completions", version: str = "1.1", length: int | None = None) -> bytes:
    """A POST of JSON; `length` is claimed instead of the true one, -1 claims none."""
    length = len(body) if length is None else length
    lines = [f"POST {path} HTTP/{version}", "host: 127.0.0.1", "content-type: application/json", *fields]
    if length >= 0:
        lines.append(f"content-length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chat(model: str = "m", text: str = "hi", *lines: str, version: str = "1.1", **fields: Any) -> bytes:
    """A whole chat request."""
    return post(body_of(model, text, **fields), *lines, version=version)


def events_of(body: bytes) -> list[Any]:
    """The data of a stream's events: JSON where it is."""
    texts = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [text.decode() if text == b"[DONE]" else json.loads(text) for text in texts]
