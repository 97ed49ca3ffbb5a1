"""A provider with one place that answers when it is told to: for tests of who gets the place next."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

from tests.integration.hosted import pool, until
from tests.integration.peer import chat
from tests.integration.upstream import Upstream, answer, chunk, delta, stream_head

if TYPE_CHECKING:
    from tests.integration.hosted import Hosted
    from tests.integration.peer import Peer
    from tests.integration.upstream import Line

__all__ = ["Kitchen", "ordered", "served"]

STREAM = stream_head() + delta("served") + delta("", "stop") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Kitchen:
    """`async with Kitchen() as kitchen:`.

    Attributes:
        upstream: where requests arrive; each waits there until `serve` lets it go.
    """

    def __init__(self) -> None:
        self._go = asyncio.Semaphore(0)
        self._served = 0
        self.upstream = Upstream(self._script)

    async def __aenter__(self) -> Self:
        await self.upstream.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.upstream.__aexit__()

    async def _script(self, line: Line) -> None:
        while True:
            request = await line.request()
            await self._go.acquire()
            await line.send(STREAM if b'"stream": true' in request else answer())

    def config(self, **model: Any) -> dict[str, Any]:
        """One endpoint with one place."""
        config = pool(self.upstream.base_url, **model)
        config["endpoints"][0]["limits"] = {"concurrency": 1}
        return config

    @property
    def names(self) -> list[str]:
        """What was asked, in the order in which it got the place."""
        return [json.loads(request.partition(b"\r\n\r\n")[2])["messages"][0]["content"] for request in self.upstream.requests]

    async def arrived(self, count: int) -> None:
        """Wait until so many requests have had the place."""
        await self.upstream.until(lambda: len(self.upstream.requests) >= count)

    def serve(self) -> None:
        """Answer the request that has the place, or the next one that gets it."""
        self._served += 1
        self._go.release()

    async def serve_in_turn(self, count: int) -> list[str]:
        """Answer so many requests, each when it has the place; return what they were."""
        first = self._served
        for number in range(count):
            await self.arrived(first + number + 1)
            self.serve()
        return self.names[first : first + count]


async def ordered(hosted: Hosted, text: str, *lines: str, model: str = "m", **fields: Any) -> Peer:
    """Send a request, and wait until it waits in the queue or is under way."""
    peer = await hosted.peer()
    before = hosted.dispatcher.under_way
    await peer.send(chat(model, text, *lines, **fields))
    await until(lambda: hosted.dispatcher.under_way != before)
    return peer


async def served(peers: list[Peer]) -> list[int]:
    """The statuses of all answers."""
    return [(await peer.reply()).status for peer in peers]
