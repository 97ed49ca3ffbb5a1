"""What an answer says, whichever dialect it is in, so that two answers can be compared: its text, and the tools that it calls."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.dialects.form import RefusalDelta, TextDelta, ToolBegin, ToolDelta
from dispatch.dialects.table import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatch.dialects.form import Event

__all__ = ["MOST", "Kept", "said_in_stream", "text_of"]

MOST = 1 << 18
"""Bytes of a stream that are kept to be compared, some 1,300 events of a chat; of a longer one nothing is."""


class Kept:
    """The bytes of a stream as they pass, if they are not too many."""

    __slots__ = ("_parts", "_size", "is_whole")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self.is_whole = True

    def keep(self, data: bytes) -> None:
        """Keep `data` too, or nothing any more."""
        self._size += len(data)
        if self._size <= MOST:
            self._parts.append(data)
        elif self.is_whole:
            self.is_whole = False
            self._parts.clear()

    def release(self) -> bytes:
        """Return what was kept, and keep it no more."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def said_in_stream(data: bytes, door: str, *, is_chunked: bool) -> str | None:
    """What a stream says; None if it says nothing that is known.

    Args:
        data: all that went to the client.
        door: by which it was asked.
        is_chunked: `data` stands in HTTP's chunks.
    """
    dialect = DIALECTS.get(door.removesuffix("_stream"))
    if dialect is None:
        return None
    plain = _unchunked(data) if is_chunked else data
    reader = dialect.reader()
    found: dict[tuple[int, int], list[str]] = defaultdict(list)
    for event in plain.splitlines() if dialect.is_lines else _events(plain):
        if not event.startswith(b"{"):
            continue  # A terminator, or nothing.
        try:
            for one in reader.read(event):
                _note(found, one)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError):
            return None
    return "".join("".join(found[part]) for part in sorted(found)) or None


def _note(found: dict[tuple[int, int], list[str]], event: Event) -> None:
    """Add what an event says to its part of the answer: text stands before calls, choice after choice, however they came."""
    match event:
        case TextDelta() | RefusalDelta():
            found[event.choice, -1].append(event.text)
        case ToolBegin():
            found[event.choice, event.index].append(f"\n{event.name} ")
        case ToolDelta():
            found[event.choice, event.index].append(event.text)
        case _:
            return


def _events(data: bytes) -> Iterator[bytes]:
    """The data of server-sent events."""
    lines: list[bytes] = []
    for line in data.splitlines():
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif not line and lines:
            yield b"\n".join(lines)
            lines.clear()
    if lines:
        yield b"\n".join(lines)


def _unchunked(data: bytes) -> bytes:
    """Take HTTP's chunks off what this process framed itself."""
    parts: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end], 16)
        if not size:
            break
        parts.append(data[end + 2 : end + 2 + size])
        at = end + size + 4
    return b"".join(parts)


def text_of(body: bytes) -> str | None:
    """What a whole answer of any dialect says; None if it says nothing that is known."""
    try:
        tree: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    found = [*_texts(tree)]
    return "".join(found) if found else None


def _texts(node: Any) -> list[str]:  # noqa: ANN401  # JSON
    if isinstance(node, list):
        return [text for item in node for text in _texts(item)]
    if not isinstance(node, dict):
        return []
    own = [value for key, value in node.items() if key in {"content", "text"} and isinstance(value, str)]
    return own + [text for key, value in node.items() if isinstance(value, (dict, list)) and key != "usage" for text in _texts(value)]
