"""The connections to one origin: what is left of them at the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from dispatch.transport.pool import MAX_HANDSHAKES, Origin

pytestmark = pytest.mark.anyio


class Endless:
    """Counts the connections that it never finishes."""

    def __init__(self) -> None:
        self.made = 0

    async def __call__(self, origin: Origin) -> None:
        self.made += 1
        await asyncio.Event().wait()


async def test_closing_leaves_nothing_that_is_being_made() -> None:
    connect = Endless()
    origin = Origin("test", connect, 5.0, 1024)
    receiver: Any = object()
    for waiting in [origin.send(b"", receiver) for _ in range(2 * MAX_HANDSHAKES)]:
        assert waiting is not None
        waiting.cancel()
    await asyncio.sleep(0)

    origin.close()
    await origin.wait_closed()

    assert repr(origin) == "<Origin test: 0 active, 0 idle, 0 waiting, 0 connecting>"
    assert connect.made == MAX_HANDSHAKES
