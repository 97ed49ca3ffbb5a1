"""Gemini's other form of a stream: one JSON array, whose elements come one by one (`streamGenerateContent` without `alt=sse`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.server.reframed import Reframed

if TYPE_CHECKING:
    from dispatch.exchange import Call

__all__ = ["ArraySink"]


class ArraySink(Reframed):
    """Makes the events' data elements."""

    __slots__ = ()
    kind = b"content-type: application/json; charset=UTF-8"
    sign = b"\n"

    def event(self, data: bytes) -> bytes:
        """One element, with what divides it from the one before."""
        return (b",\r\n" if self._begun else b"[") + data

    def close(self) -> bytes:
        """The end of the array."""
        return b"]" if self._begun else b"[]"

    def break_off(self, call: Call) -> None:
        """The error is an element too, if there are any."""
        if self._begun:
            call.door = "generate_array"
