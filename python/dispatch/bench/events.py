"""What the events of a stream are, for measuring: told by a search in their bytes, whole events at any cut of the network."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["EventReader"]

_DELTA: Final = re.compile(rb'"(?:content|text|delta|arguments|reasoning_content|reasoning)"\s*:\s*"(?!")')
"""A text, a tool's arguments or reasoning that is not empty."""
_FINISH: Final = re.compile(rb'"finish_reason"\s*:\s*"|"type"\s*:\s*"response\.(?:completed|incomplete)"')
_ERROR: Final = re.compile(rb'"error"\s*:\s*\{|"type"\s*:\s*"(?:error|response\.failed)"')
"""Inside a text the quotes would be escaped."""
_OUTPUT: Final = re.compile(rb'"(?:completion_tokens|output_tokens)"\s*:\s*(\d+)')


class EventReader:
    """Reads one stream.

    Attributes:
        deltas: how many events brought output.
        finished: a finish reason or the dialect's terminator was seen.
        failed: an error event was seen.
        tokens_out: from `usage`, else 0.
    """

    __slots__ = ("_tail", "deltas", "failed", "finished", "tokens_out")

    def __init__(self) -> None:
        self._tail = b""
        self.deltas = 0
        self.finished = False
        self.failed = False
        self.tokens_out = 0

    def feed(self, part: bytes) -> int:
        """Take bytes; give how many of the events that are now whole brought output."""
        data = self._tail + part if self._tail else part
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        *events, self._tail = data.split(b"\n\n")
        deltas = 0
        for event in events:
            deltas += self._read(event)
        self.deltas += deltas
        return deltas

    def _read(self, event: bytes) -> int:
        if event.endswith(b"[DONE]"):
            self.finished = True
            return 0
        if _ERROR.search(event):
            self.failed = True
            return 0
        if _FINISH.search(event):
            self.finished = True
        if b"_tokens" in event:
            counts = _OUTPUT.findall(event)
            if counts:
                self.tokens_out = int(counts[-1])
        if event.startswith(b"event: response.") and b".delta" not in event.partition(b"\n")[0]:
            return 0  # the events that close an item repeat its text
        return 1 if _DELTA.search(event) else 0
