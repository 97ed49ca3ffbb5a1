"""What is measured: each row a body, a kind of upstream, and what it may cost."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Literal

__all__ = ["HEAD", "KEY", "MODEL", "ROWS", "Kind", "Row"]

Kind = Literal["plain", "tls", "stream"]

MODEL = "chat"
KEY = "sk-bench-0123456789abcdef0123456789abcdef0123456789abcdef"

HEAD = {
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": "AsyncOpenAI/Python 2.8.1",
    "X-Stainless-Lang": "python",
    "X-Stainless-Package-Version": "2.8.1",
    "X-Stainless-OS": "Linux",
    "X-Stainless-Arch": "x64",
    "X-Stainless-Runtime": "CPython",
    "X-Stainless-Runtime-Version": "3.11.7",
    "Authorization": f"Bearer {KEY}",
    "X-Stainless-Async": "async:asyncio",
    "X-Stainless-Retry-Count": "0",
    "X-Stainless-Read-Timeout": "600",
}
"""What the official Python SDK sends; with `Host` and `Content-Length`, which the load generator adds, 17 fields."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a pair of contenders under the same load."""

    name: str
    kind: Kind
    body: bytes
    connections: int
    """Requests in flight at any time."""
    rate: float
    """Requests per second that the sidecar will not exceed; its limits are set to this."""
    gate: float | None = None
    """Highest ratio of CPU time that still passes; None where the row only informs."""
    target: float | None = None
    workers: int = 1
    """Workers of the candidate. With more than one, the baseline is as many sidecars of one worker on the same cores, else nginx."""
    times: int = 1
    """How many times the usual number of pairs: where the load shares a contender's core, single pairs spread widely."""


def chat(content: object, **fields: object) -> bytes:
    """Build a request as the SDK encodes it: compact, UTF-8 not escaped."""
    message = {"role": "user", "content": content}
    return json.dumps({"messages": [message], "model": MODEL, **fields}, separators=(",", ":"), ensure_ascii=False).encode()


def small() -> bytes:
    """A question of 250 bytes."""
    frame = len(chat("", max_tokens=128, temperature=0.7))
    return chat(
        "Tell me a story about a robot who learns to paint. "[: 250 - frame].ljust(250 - frame, "."), max_tokens=128, temperature=0.7
    )


def conversation() -> bytes:
    """32 KiB of conversation: escapes, line breaks and letters beyond ASCII, as prompts have them."""
    turn = 'He said: "paint what you see, not what you know".\nThen he went (café, 画家, naïve) and painted.\tNothing else. '
    frame, size = len(chat("", max_tokens=128)), 32 * 1024
    turns, rest = divmod(size - frame, len(chat(turn)) - len(chat("")))
    return chat(turn * turns + "." * rest, max_tokens=128)


def image() -> bytes:
    """A picture of 2 MiB in base64, without compressible runs."""
    picture = base64.b64encode(bytes((i * i + i // 251) & 0xFF for i in range(3 * 512 * 1024))).decode()
    parts = [
        {"type": "text", "text": "What is in this image?"},
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
    ]
    return chat(parts, max_tokens=128)


ROWS = (
    Row("250 B", "plain", small(), 64, rate=80_000, gate=2.5, target=1.5),
    Row("32 KiB", "plain", conversation(), 64, rate=40_000, gate=2.5, target=1.5),
    Row("2 MiB image", "plain", image(), 8, rate=2_000),
    Row("250 B, TLS", "tls", small(), 64, rate=60_000, gate=3.2, target=1.5),
    Row("32 KiB, TLS", "tls", conversation(), 64, rate=30_000, gate=3.2, target=1.5),
    Row("2 MiB image, TLS", "tls", image(), 8, rate=1_000),
    Row("stream of 100 events", "stream", chat("Tell me a story.", stream=True), 128, rate=1_000, gate=1.5, target=1.2),
    Row("250 B, two workers", "plain", small(), 64, rate=80_000, gate=1.1, target=1.1, workers=2, times=3),
)
