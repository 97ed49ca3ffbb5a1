"""The upstream of the stream row: at every tick one event to every open stream, each in a write of its own.

That is how an inference server emits: one step of the batch gives one token to each request in it. nginx cannot pace events, and an
upstream that writes all hundred at once measures how well a proxy joins them, which is not the question.

One thread, epoll, blocking nowhere: at 32,000 events a second it uses about a fifth of a core.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EVENTS", "TICK_S", "WORDS", "Upstream", "answer", "whole"]

EVENTS = 100
"""Flushes of each stream: the role, 97 words, the finish reason, the terminator (with the usage before it, if that was asked)."""
TICK_S = 0.004
"""250 tokens a second for each stream."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nx-request-id: req_0123456789\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
WORDS = [f" word{number}" for number in range(EVENTS - 3)]


def event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    """Build one event in OpenAI's form, about 200 bytes."""
    frame = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion.chunk",
        "created": 1741569952,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
    }
    return b"data: %b\n\n" % json.dumps(frame, separators=(",", ":")).encode()


USAGE = b'data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":98,"total_tokens":103}}\n\n'  # noqa: E501 - one event is one line
DONE = b"data: [DONE]\n\n"


def answer() -> list[bytes]:
    """Build the events of a stream without usage: what a client must receive, in order."""
    words = [event({"content": word}) for word in WORDS]
    return [event({"role": "assistant", "content": ""}), *words, event({}, "stop"), DONE]


def named(tree: Mapping[str, object]) -> bytes:
    """Build one event in Anthropic's form."""
    return b"event: %b\ndata: %b\n\n" % (str(tree["type"]).encode(), json.dumps(tree, separators=(",", ":")).encode())


MESSAGE = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "stop_sequence": None,
}
SPENT = {"input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 98}


def messages() -> list[bytes]:
    """Build the same stream as Anthropic sends it, in as many flushes: each word is an event, the rest stands at both ends."""
    begin = {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None, "usage": SPENT | {"output_tokens": 1}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    words = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in WORDS]
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": SPENT}
    return [
        named(begin) + named(block),
        *(named(each) for each in words),
        named({"type": "content_block_stop", "index": 0}) + named(end),
        named({"type": "message_stop"}),
    ]


def whole(*, is_messages: bool) -> bytes:
    """Build an answer of all the words in one, of OpenAI or of Anthropic."""
    text = "".join(WORDS)
    if is_messages:
        tree: dict[str, object] = {**MESSAGE, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": SPENT}
    else:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 98, "total_tokens": 103}
        tree = {"id": "chatcmpl-B9", "object": "chat.completion", "created": 1741569952, "model": "gpt-4o-mini"}
        tree |= {"choices": [choice], "usage": usage}
    body = json.dumps(tree, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def chunk(data: bytes) -> bytes:
    """Frame `data` as one chunk of the transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(slots=True)
class Connection:
    """One client: what it has sent of its request, and how far its stream is."""

    socket: socket.socket
    received: bytes = b""
    sent: int = -1
    """Events written; -1 while no stream is open."""
    chunks: tuple[bytes, ...] = ()


class Upstream:
    """The loop. Counts what it sends, for `GET /count`."""

    def __init__(self, port: int) -> None:
        events = answer()
        ended = chunk(events[-1]) + LAST_CHUNK
        self.plain = (*(chunk(each) for each in events[:-1]), ended)
        self.with_usage = (*self.plain[:-1], chunk(USAGE) + ended)
        events = messages()
        self.messages = (*(chunk(each) for each in events[:-1]), chunk(events[-1]) + LAST_CHUNK)
        self.whole = {is_messages: whole(is_messages=is_messages) for is_messages in (False, True)}
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.connections: dict[int, Connection] = {}
        self.events = 0
        self.late = 0

    def run(self) -> None:
        """Serve until the process is ended."""
        due = time.monotonic() + TICK_S
        while True:
            for descriptor, _ in self.poll.poll(max(0.0, due - time.monotonic())):
                if descriptor == self.listener.fileno():
                    self.accept()
                else:
                    self.read(self.connections[descriptor])
            now = time.monotonic()
            if now >= due:
                self.tick()
                self.late += now - due > TICK_S
                # A late tick is not made up for: two in a row would let a proxy join what belongs apart.
                due = now + TICK_S

    def accept(self) -> None:
        """Take a new connection."""
        accepted, _ = self.listener.accept()
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.connections[accepted.fileno()] = Connection(accepted)
        self.poll.register(accepted, select.EPOLLIN)

    def read(self, connection: Connection) -> None:
        """Take in a piece of a request; open its stream once it is whole."""
        try:
            data = connection.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.drop(connection)
            return
        connection.received += data
        head, blank, body = connection.received.partition(b"\r\n\r\n")
        if not blank or len(body) < length_of(head):
            return
        connection.received = b""
        if head.startswith(b"GET /count"):
            report = json.dumps({"events": self.events, "late_ticks": self.late}).encode()
            connection.socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(report), report))
            return
        is_messages = head.startswith(b"POST /v1/messages")
        if b'"stream":true' not in body:
            connection.socket.send(self.whole[is_messages])
            return
        if is_messages:
            connection.chunks = self.messages
        else:
            connection.chunks = self.with_usage if b'"include_usage":true' in body.replace(b" ", b"") else self.plain
        connection.sent = 0
        connection.socket.send(HEAD)

    def tick(self) -> None:
        """Write the next event of every open stream."""
        for connection in list(self.connections.values()):
            if connection.sent < 0:
                continue
            data = connection.chunks[connection.sent]
            try:
                written = connection.socket.send(data)
            except ConnectionError:
                self.drop(connection)
                continue
            if written != len(data):
                raise RuntimeError("a client reads too slowly: what it costs cannot be told apart from what it leaves lying")
            self.events += 1
            connection.sent += 1
            if connection.sent == EVENTS:
                connection.sent = -1

    def drop(self, connection: Connection) -> None:
        """Forget a client that left."""
        self.poll.unregister(connection.socket)
        del self.connections[connection.socket.fileno()]
        connection.socket.close()


def length_of(head: bytes) -> int:
    """Read Content-Length, 0 if there is none."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def main() -> None:
    """Serve on the port that is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    Upstream(parser.parse_args().port).run()


if __name__ == "__main__":
    main()
