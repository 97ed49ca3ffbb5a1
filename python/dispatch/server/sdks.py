"""What one SDK cannot read of what all others send: done on the last yard, for its clients alone, who are known by their `User-Agent`.

Mistral's SDK wants the name of a tool in every piece of a call, because Mistral's streams bring each call whole. OpenAI's name it in the
first piece alone; later ones get an empty name, which adds nothing where pieces are put together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.replies import framed
from dispatch.wire import sse

if TYPE_CHECKING:
    from dispatch.errors import DispatchError
    from dispatch.exchange import Answer, Call, Sink
    from dispatch.wire.http1 import Inbound

__all__ = ["NamedCalls", "suit"]

_MISTRAL = b"mistral-client"
_CALLS = b'"tool_calls"'


def suit(call: Call, inbound: Inbound) -> None:
    """Let the stream of a chat with tools be one that its client can read."""
    if call.door == "chat" and (inbound.header(b"user-agent") or b"").startswith(_MISTRAL):
        call.sink = NamedCalls(call.sink, chunked=call.chunked)
        call.chunked = False


class NamedCalls:
    """Stands between a call, whose stream it takes unframed, and its client.

    Args:
        sink: the client.
        chunked: how the client's message is framed.
    """

    __slots__ = ("_chunked", "_sink")

    def __init__(self, sink: Sink, *, chunked: bool) -> None:
        self._sink = sink
        self._chunked = chunked

    def on_answer(self, call: Call, answer: Answer) -> None:
        self._sink.on_answer(call, answer)

    def on_chunk(self, call: Call, data: bytes) -> None:
        call.chunked = self._chunked
        self._sink.on_chunk(call, framed(_named(data), self._chunked))
        call.chunked = False

    def on_end(self, call: Call, tail: bytes) -> None:
        call.chunked = self._chunked
        out = framed(_named(tail), self._chunked) if tail else b""
        self._sink.on_end(call, out + sse.LAST_CHUNK if self._chunked else out)

    def on_silence(self, call: Call) -> None:
        call.chunked = self._chunked
        self._sink.on_silence(call)
        call.chunked = False

    def on_error(self, call: Call, error: DispatchError) -> None:
        call.chunked = self._chunked
        self._sink.on_error(call, error)


def _named(data: bytes) -> bytes:
    """Whole events, with a name in every piece of a call."""
    if _CALLS not in data:
        return data
    return b"\n".join(_line(line) if _CALLS in line else line for line in data.split(b"\n"))


def _line(line: bytes) -> bytes:
    field, colon, text = line.partition(b":")
    try:
        tree: Any = msgspec.json.decode(text)
        pieces = [piece["function"] for choice in tree["choices"] for piece in choice["delta"].get("tool_calls") or ()]
        for piece in pieces:
            piece["name"] = piece.get("name") or ""
            piece["arguments"] = piece.get("arguments") or ""
    except (ValueError, KeyError, TypeError, AttributeError):
        return line
    return b"%b%b %b" % (field, colon, msgspec.json.encode(tree))
