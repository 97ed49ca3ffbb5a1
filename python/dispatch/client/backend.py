"""Where the requests of a client go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from openai import AsyncOpenAI

__all__ = ["Backend", "Pieces", "Whole"]

Whole = tuple[bytes, str, int, str]
"""An answer's body, the endpoint that gave it, the attempts that it took, the id of its decision (empty: none was made)."""


class Pieces(Protocol):
    """The bytes of a stream, at any cuts. `aclose` before the end cancels the request upstream."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def __anext__(self) -> bytes: ...
    async def aclose(self) -> None: ...


class Backend(Protocol):
    """See the module. Doors are `chat`, `completions`, `embeddings`, `responses`; bodies are OpenAI's JSON."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def whole(self, door: str, body: bytes, deadline_s: float | None) -> Whole:
        """Wait for a whole answer. Raises `DispatchError`."""

    async def feedback(self, decision: str, score: float) -> None:
        """Tell how good an answer was. Raises `DispatchError`."""

    def stream(self, door: str, body: bytes, deadline_s: float | None) -> Pieces:
        """Ask for a stream; waiting for a piece raises `DispatchError`."""

    async def models(self) -> list[str]: ...
    def openai(self) -> AsyncOpenAI: ...
