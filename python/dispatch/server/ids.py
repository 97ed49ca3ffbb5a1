"""Ids in requests and answers: what a request names decides which account is asked, what an answer gives is remembered.

Only for models whose endpoints have several accounts; see `dispatch.homes`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.wire.http1 import JSON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatch.errors import DispatchError
    from dispatch.exchange import Answer, Call, Sink
    from dispatch.generation import Model
    from dispatch.homes import Homes
    from dispatch.wire.http1 import Inbound

__all__ = ["PINNED", "Remembering", "look", "pin"]

MOST_IDS = 1_000
"""More of one answer are not remembered."""
MOST_BYTES = 1 << 20
"""Of an answer that is looked through: what follows is a picture or somebody's file, and the answer's own id stands before it."""
MOST_DEPTH = 64
_FIELDS = frozenset(
    (
        *("previous_response_id", "conversation", "file_id", "file_ids", "input_file_id", "part_ids", "response_id", "batch_id"),
        *("vector_store_id", "vector_store_ids", "container", "container_id"),
    )
)
"""Fields of a request that name something."""
_MARKS = (
    b'"previous_response_id"',
    b'"conversation"',
    b"file_id",
    b'"part_ids"',
    b'"response_id"',
    b'"batch_id"',
    b'"vector_store_id',
    b'"container',
    b'"item_reference"',
)
"""What a body has that names something."""
_GIVEN = re.compile(rb'"(?:id|(?:input|output|error)_file_id|file_id|vector_store_id|container_id)"\s*:\s*"([A-Za-z0-9_.:-]{1,256})"')
_UNKEPT = re.compile(rb'"store"\s*:\s*false')
_RESPONSES = frozenset(("responses", "responses_stored"))
PINNED = _RESPONSES | {"stored", "responses_counted"}
"""Doors that look after their ids themselves, by `amend`: all others do it only for models whose files are kept here."""


def look(model: Model, call: Call, inbound: Inbound) -> None:
    """What the doors do by which things are made: `Door.amend`."""
    if model.homes is not None:
        pin(model.homes, model.name, call, inbound)


def pin(homes: Homes, model: str, call: Call, inbound: Inbound) -> None:
    """Have a call go where its ids are known, and what its answer gives remembered. Raises `BadRequest` where nobody knows them."""
    is_stored = call.door == "stored"
    path = inbound.line.partition(b" ")[2]
    named: dict[str, str | None] = dict.fromkeys(path.decode("latin-1").split("/")[3:4]) if is_stored else {}
    body = inbound.body
    if inbound.flags & JSON and any(mark in body for mark in _MARKS):
        named = {**dict(_named(msgspec.json.decode(body), MOST_DEPTH)), **named}
    if named:
        call.home = homes.home_of(named, model)
    if (is_stored and not path.endswith(b"/content")) or (call.door in _RESPONSES and not _UNKEPT.search(body)):
        call.sink = Remembering(call.sink, homes)


def _named(tree: Any, depth: int) -> Iterator[tuple[str, str]]:
    """The ids that a body names, each with its field. Not those of `metadata`, which is the client's own."""
    if isinstance(tree, list):
        for one in tree:
            yield from _named(one, depth - 1) if depth else ()
        return
    if not isinstance(tree, dict) or not depth:
        return
    if tree.get("type") == "item_reference" and isinstance(tree.get("id"), str):
        yield tree["id"], "id"
    for field, value in tree.items():
        if field in _FIELDS:
            told = value if isinstance(value, list) else [value.get("id") if isinstance(value, dict) else value]
            yield from ((one, field) for one in told if isinstance(one, str))
        if field != "metadata" and isinstance(value, (dict, list)):
            yield from _named(value, depth - 1)


class Remembering:
    """Stands between a call and its client, and remembers the ids that pass before the client knows them."""

    __slots__ = ("_homes", "_seen", "_sink")

    def __init__(self, sink: Sink, homes: Homes) -> None:
        self._sink = sink
        self._homes = homes
        self._seen: set[bytes] = set()

    def on_answer(self, call: Call, answer: Answer) -> None:
        if answer.status < 300 and not call.is_kept:
            self._look(call, answer.body)
        self._sink.on_answer(call, answer)

    def on_chunk(self, call: Call, data: bytes) -> None:
        self._look(call, data)
        self._sink.on_chunk(call, data)

    def on_end(self, call: Call, tail: bytes) -> None:
        self._look(call, tail)
        self._sink.on_end(call, tail)

    def on_silence(self, call: Call) -> None:
        self._sink.on_silence(call)

    def on_error(self, call: Call, error: DispatchError) -> None:
        self._sink.on_error(call, error)

    def _look(self, call: Call, data: bytes) -> None:
        if b'id"' not in data or len(self._seen) > MOST_IDS:
            return
        fresh = {*_GIVEN.findall(data, 0, MOST_BYTES)} - self._seen
        if fresh:
            self._seen |= fresh
            self._homes.remember([name.decode("ascii") for name in sorted(fresh)[:MOST_IDS]], call.endpoint)
