"""A client whose engine runs in its own event loop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dispatch.client.local import LocalEngine
from dispatch.config import resolve
from dispatch.dispatcher import Dispatcher
from dispatch.generation import build
from dispatch.routing import Board, Sizes, Slots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from openai import AsyncOpenAI

    from dispatch.config import Config

__all__ = ["InsideBackend"]

CLOSE_S = 5.0


class InsideBackend:
    """See the module. Its board is on the heap: limits and loads are those of this process."""

    def __init__(self, config: Config, key: str | None) -> None:
        self._config = config
        self._dispatcher = Dispatcher()
        self.engine = LocalEngine(self._dispatcher, key)

    async def open(self) -> None:
        config = self._config
        secrets = resolve(config, os.environ)
        sizes = Sizes.of(config)
        slots = Slots.of(config, sizes)
        board = Board.heap(sizes)
        self._dispatcher.use(build(config, secrets, slots, board, 0, self._dispatcher))
        self._dispatcher.start()

    async def close(self) -> None:
        await self._dispatcher.drain(CLOSE_S)
        self._dispatcher.close()

    async def whole(self, door: str, body: bytes, deadline_s: float | None) -> tuple[bytes, str, int]:
        answer, call = await self.engine.request(door, body, deadline_s)
        return answer.body, call.endpoint, call.attempts

    def stream(self, door: str, body: bytes, deadline_s: float | None) -> AsyncIterator[bytes]:
        return self.engine.stream(door, body, deadline_s)

    async def models(self) -> list[str]:
        return [name for name, model in self._config.models.items() if not model.is_pattern]

    def openai(self) -> AsyncOpenAI:
        from dispatch.client.openai_sdk import inside  # noqa: PLC0415  # an extra

        return inside(self.engine, self.models)
