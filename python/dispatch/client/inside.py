"""A client whose engine runs in its own event loop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dispatch.client.local import LocalEngine
from dispatch.config import resolve
from dispatch.dispatcher import Dispatcher
from dispatch.errors import ConfigError
from dispatch.generation import build
from dispatch.routing import Board, Sizes, Slots
from dispatch.routing.bell import Bell

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from dispatch.checks import Prober
    from dispatch.client.backend import Pieces, Whole
    from dispatch.config import Config

__all__ = ["InsideBackend"]


class InsideBackend:
    """See the module. Its board is on the heap: limits and loads are those of this process.

    Args:
        key: name of the configured key whose permissions and limits hold; None for a trusted caller.
        credential: for endpoints that use the client's own.
    """

    def __init__(self, config: Config, key: str | None, credential: str) -> None:
        self._config = config
        self._key = key
        self._credential = credential
        self._engine: LocalEngine | None = None
        self._prober: Prober | None = None

    async def open(self) -> None:
        config = self._config
        secrets = resolve(config, os.environ)
        sizes = Sizes.of(config)
        dispatcher = Dispatcher()
        board = Board.heap(sizes)
        slots = Slots.of(config, sizes)
        generation = build(config, secrets, slots, board, 0, dispatcher)
        key = generation.nobody if self._key is None else generation.key_named(self._key)
        if key is None:
            raise ConfigError("keys", f"no key is named {self._key!r}")
        dispatcher.use(generation)
        dispatcher.start(Bell.alone(board))
        self._engine = LocalEngine(dispatcher, key, self._credential)
        if any(endpoint.check for endpoint in config.endpoints):
            from dispatch.checks import Prober, questions  # noqa: PLC0415  # aiohttp, for the few that check

            self._prober = Prober(board)
            self._prober.use(questions(config, secrets, slots))

    async def close(self) -> None:
        prober, self._prober = self._prober, None
        if prober is not None:
            await prober.close()
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()

    @property
    def engine(self) -> LocalEngine:
        """The engine, while the client is open."""
        if self._engine is None:
            raise RuntimeError("the client is not open: use 'async with'")
        return self._engine

    async def whole(self, door: str, body: bytes, deadline_s: float | None) -> Whole:
        engine = self.engine
        answer, call = await engine.request(door, engine.scan(body), deadline_s)
        return answer.body, call.endpoint, call.attempts, engine.decision_of(call)

    async def feedback(self, decision: str, score: float) -> None:
        self.engine.feedback(decision, score)

    def stream(self, door: str, body: bytes, deadline_s: float | None) -> Pieces:
        engine = self.engine
        return engine.stream(door, engine.scan(body), deadline_s)

    async def models(self) -> list[str]:
        return self.engine.models()

    def openai(self) -> AsyncOpenAI:
        from dispatch.client.openai_sdk import inside  # noqa: PLC0415  # an extra

        return inside(self.engine)
