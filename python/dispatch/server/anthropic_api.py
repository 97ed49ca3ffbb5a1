"""Anthropic's API as doors of the sidecar (https://docs.anthropic.com/en/api).

Requests, answers and streams pass through as at the other doors, or are translated by the link; here is only what the API
asks of a server beside that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch.server.counting import Counting
from dispatch.server.openai_api import Door

if TYPE_CHECKING:
    from dispatch.exchange import Body
    from dispatch.wire.http1 import Inbound, Scan

__all__ = ["AnthropicCount", "AnthropicDoor"]

_VERSION = b"anthropic-version: 2023-06-01\r\n"
"""The only version since that day; the API refuses requests without one, and so would a client of ours without an SDK be."""


class AnthropicDoor(Door):
    """A POST path of Anthropic's."""

    __slots__ = ()

    @staticmethod
    def body_of(inbound: Inbound, scan: Scan) -> Body:
        """The body, and the version that a client has not named."""
        return scan if inbound.header(b"anthropic-version") else _Versioned(scan)


class AnthropicCount(Counting, AnthropicDoor):
    """How many tokens a request would have."""

    __slots__ = ()
    member = "input_tokens"
    dialect = "messages"


class _Versioned:
    """A body whose request gets the version line."""

    __slots__ = ("_scan",)

    def __init__(self, scan: Scan) -> None:
        self._scan = scan

    def compose(self, prefix: bytes, model: bytes, inject_usage: bool, /) -> bytes:
        """As the scanned body's own."""
        return self._scan.compose(prefix + _VERSION, model, inject_usage)

    @property
    def text_bytes(self) -> int:
        """Bytes of text in the prompt."""
        return self._scan.text_bytes

    def body(self, model: bytes, inject_usage: bool, /) -> bytes:
        """The JSON."""
        return self._scan.body(model, inject_usage)

    def rewritten(self, body: bytes, /) -> _Versioned:
        """Another body under the same version."""
        return _Versioned(self._scan.rewritten(body))
