"""When two requests may have one answer: what must be equal, and how its tokens are divided."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from dispatch.exchange import Body, Call

__all__ = ["IGNORED_FIELDS", "NO_CACHE", "NO_STORE", "freshness", "identity", "is_repeatable", "split"]

IGNORED_FIELDS = frozenset((b"content-length", b"idempotency-key", b"traceparent", b"tracestate", b"user-agent", b"x-request-id"))
"""Header fields that reach the provider and leave its answer as it is. SDKs put new ones of most of these into every request."""


NO_CACHE = 1
"""Do not give what was kept."""
NO_STORE = 2
"""Neither give nor keep."""

Tokens = tuple[int, int, int, int]
"""Input, output, cached, reasoning."""


class _Sampling(msgspec.Struct):
    """What a body says about chance, and about traces that the answer leaves at the provider."""

    temperature: float | None = None
    store: bool | None = None
    background: bool | None = None
    conversation: object = None


def identity(call: Call, body: Body) -> tuple[bytes, bytes]:
    """What makes the answer to a call: a digest of it, and the request's body as text.

    The body to the last byte, the header fields that go upstream, the client's own credential where that is used, the door, the
    model's name, and the form in which the answer leaves: streamed or not, in chunks or not.
    """
    head, _, text = body.compose(b"", b"", False).partition(b"\r\n\r\n")
    lines = sorted(line for line in head.split(b"\r\n") if line.partition(b":")[0] not in IGNORED_FIELDS)
    form = f"{call.door} {call.stream:d}{call.chunked:d}{call.drops:d} {call.upstream_name} {call.model}".encode()
    digest = hashlib.sha256()
    for part in (form, call.credential, *lines, text):
        digest.update(b"%d:%b" % (len(part), part))
    return digest.digest(), text


def is_repeatable(door: str, body: bytes) -> bool:
    """Whether asking once is as good as asking twice: nothing is drawn by chance, and nothing is left at the provider.

    Vectors always are; generated text at `temperature` 0; an answer that the provider stores only if it is told not to.
    """
    if door == "embeddings":
        return True
    try:
        told = msgspec.json.decode(body, type=_Sampling)
    except msgspec.DecodeError:
        return False
    if told.background or told.conversation is not None or told.store or (door == "responses" and told.store is None):
        return False
    return told.temperature == 0


def freshness(cache_control: bytes | None) -> int:
    """What a request's `Cache-Control` forbids (RFC 9111 section 5.2.1): 0, `NO_CACHE` or `NO_STORE`."""
    if cache_control is None:
        return 0
    told = {part.strip() for part in cache_control.lower().split(b",")}
    if b"no-store" in told:
        return NO_STORE
    return NO_CACHE if told & {b"no-cache", b"max-age=0"} else 0


def split(total: Tokens, parts: int) -> list[Tokens]:
    """Divide each number by `parts`, the remainder going to the first ones, so that the sum is exact."""
    return [_part(total, parts, place) for place in range(parts)]


def _part(total: Tokens, parts: int, place: int) -> Tokens:
    first, second, third, fourth = (number // parts + (place < number % parts) for number in total)
    return first, second, third, fourth
