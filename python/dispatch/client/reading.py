"""Answers and events in OpenAI's dialect, read into the library's structs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from dispatch.client.told import from_event
from dispatch.errors import Failure, UpstreamError
from dispatch.providers.chat import decode_answer, decode_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatch.schema import Delta, Response

__all__ = ["DeltaReader", "read_answer", "read_object", "read_vectors"]


class _Row(Struct):
    index: int
    embedding: list[float]


class _Vectors(Struct):
    data: list[_Row]


_vectors = msgspec.json.Decoder(_Vectors)
_object = msgspec.json.Decoder(dict[str, Any])


def read_answer(raw: bytes, endpoint: str, attempts: int, decision: str = "") -> Response:
    """Read a whole answer to a chat request. Raises `UpstreamError` when it is none."""
    try:
        return decode_answer(raw, endpoint=endpoint, attempts=attempts, decision=decision)
    except ValueError as error:
        raise _malformed("the answer is no chat completion", endpoint) from error


def read_vectors(raw: bytes, endpoint: str) -> list[list[float]]:
    """Read the vectors of an answer, in the order of their texts. Raises `UpstreamError` when there are none."""
    try:
        rows = _vectors.decode(raw).data
    except ValueError as error:
        raise _malformed("the answer holds no vectors", endpoint) from error
    rows.sort(key=lambda row: row.index)
    return [row.embedding for row in rows]


def read_object(raw: bytes, endpoint: str) -> dict[str, Any]:
    """Read an answer as it is. Raises `UpstreamError` when it is no JSON object."""
    try:
        return _object.decode(raw)
    except ValueError as error:
        raise _malformed("the answer is no JSON object", endpoint) from error


class DeltaReader:
    """Reads one stream of server-sent events, however its bytes are cut.

    An endpoint that does not stream answers whole; then there is one delta for each choice, at the end.
    """

    __slots__ = ("_data", "_finished", "_is_terminated", "_is_whole", "_open", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._is_whole: bool | None = None
        self._is_terminated = False
        self._open: set[int] = set()
        self._finished: set[int] = set()

    def feed(self, piece: bytes) -> Iterator[Delta]:
        """Take bytes; give the deltas of the events that are whole now.

        Raises:
            DispatchError: the error that an event tells.
            UpstreamError: an event is no chunk of a chat completion.
        """
        if self._is_whole is None:
            self._is_whole = piece.lstrip()[:1] == b"{"
        if self._is_whole:
            self._rest += piece
            return
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].strip())
            elif not line.strip() and self._data:
                data = b"\n".join(self._data)
                self._data.clear()
                yield from self._read(data)

    def finish(self) -> tuple[Delta, ...]:
        """Say that nothing follows.

        Raises:
            UpstreamError: something was still to come.
        """
        if self._is_whole:
            try:
                return decode_event(self._rest)
            except ValueError as error:
                raise _malformed("the answer is no chat completion", "") from error
        if self._is_terminated or (self._finished and not self._open):
            return ()
        raise UpstreamError("the stream ended before its answer did", failure=Failure.BROKEN, endpoint="")

    def _read(self, data: bytes) -> tuple[Delta, ...]:
        if data == b"[DONE]":
            self._is_terminated = True
            return ()
        if b'"error"' in data and (told := from_event(data)) is not None:
            raise told
        try:
            deltas = decode_event(data)
        except ValueError as error:
            raise _malformed("an event is no chunk of a chat completion", "") from error
        for delta in deltas:
            if delta.finish_reason:
                self._finished.add(delta.index)
                self._open.discard(delta.index)
            elif delta.usage is None and delta.index not in self._finished:
                self._open.add(delta.index)
        return tuple(delta for delta in deltas if not _is_empty(delta))


def _malformed(reason: str, endpoint: str) -> UpstreamError:
    return UpstreamError(reason, failure=Failure.MALFORMED, endpoint=endpoint)


def _is_empty(delta: Delta) -> bool:
    """What only names the role says nothing."""
    return not (delta.text or delta.reasoning or delta.refusal or delta.tool_calls or delta.finish_reason or delta.usage)
