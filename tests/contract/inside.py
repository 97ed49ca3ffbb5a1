"""A sidecar's worker in the test's own event loop, behind a real socket.

Beside the speed, there is a reason: what an upstream in the same loop writes, lets the loop go round once, and writes again,
arrives at the sidecar in exactly these pieces. Between processes the kernel would join them.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from dispatch.config import load, resolve
from dispatch.routing import Board, Sizes, Slots
from dispatch.server.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

__all__ = ["sidecar"]


@cache
def settled() -> None:
    """Put aside what lives anyway, once.

    A worker collects its garbage when it takes a configuration; among the modules of four SDKs that takes a fifth of a second.
    """
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def sidecar(folder: Path, config: dict[str, Any], environ: Mapping[str, str] = os.environ) -> AsyncIterator[int]:
    """Serve `config` and give the port."""
    settled()
    path = folder / "dispatch.json"
    path.write_text(json.dumps(config))
    read = load(path, environ)
    sizes = Sizes.of(read)
    worker = Worker(0, Board.heap(sizes))
    worker.apply(read, resolve(read, environ), Slots.of(read, sizes))
    # Not `worker.listen`: it also sets the garbage collector of a process that does nothing else.
    worker.dispatcher.start()
    worker.front.start()
    server = await asyncio.get_running_loop().create_server(worker.accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for client in [*worker.front.connections]:
            client.transport.abort()
        worker.dispatcher.close()
