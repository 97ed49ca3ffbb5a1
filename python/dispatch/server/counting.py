"""Tokens counted before a request is sent: by the provider where it does that, else here.

OpenAI's tokenizer counts where the extra `tiktoken` is installed and knows the model; else it is our own estimate, which goes by what was
learned from the usage that answers of the model reported. What is not exact says so, in `x-dispatch-estimated`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.catalogue.counting import count_request, is_installed
from dispatch.config import pools
from dispatch.dialects.table import DIALECTS
from dispatch.errors import BadRequest
from dispatch.exchange import Call
from dispatch.server.answers import page
from dispatch.server.ids import look
from dispatch.server.openai_api import Door, check_type, identify

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatch.generation import Generation, Model
    from dispatch.server.front import Front
    from dispatch.server.http1 import ClientConnection
    from dispatch.wire.http1 import Inbound, Scan

__all__ = ["Counting", "ResponsesCount"]

WAIT_S = 5.0
"""How long an exact count is waited for: at its first use a vocabulary is fetched, which goes on after that."""
PAUSE_S = 60.0
"""After a count that failed or took too long, for how long all are estimated."""
_ESTIMATED = b"x-dispatch-estimated: true\r\n"


class Counting(Door):
    """A door that counts."""

    __slots__ = ()

    member = ""
    """Name of the count in the answer."""
    dialect = ""
    """Of the request."""
    around: dict[str, Any] = {}  # noqa: RUF012  # read, never changed
    """What else is in the answer."""

    def __call__(self, front: Front, client: ClientConnection, inbound: Inbound, scan: Scan | None = None) -> None:
        """Pass the question on, or answer it."""
        check_type(inbound)
        key = identify(front, inbound)
        scan = inbound.scan() if scan is None else scan
        generation = front.dispatcher.generation
        assert generation is not None
        model, upstream_name = generation.find(scan.model, key)
        if self.name in model.doors:
            super().__call__(front, client, inbound, scan)
            return
        tokens, _ = generation.expect(model, scan.text_bytes, 0, 1)
        if not is_installed():
            self._tell(client, tokens, is_exact=False)
            return
        # The connection is busy as long as it waits.
        client.call = call = Call(client, scan.model, self.name, scan, client.received_ns, client.received_ns)

        def told(found: tuple[int, bool] | None) -> None:
            if client.call is call:
                client.call = None
                self._tell(client, *(found or (tokens, False)))

        _COUNTER.start(self.dialect, scan.body(b"", False), _names(generation, model, upstream_name), told)

    def _tell(self, client: ClientConnection, tokens: int, is_exact: bool) -> None:
        body = msgspec.json.encode({**self.around, self.member: tokens})
        client.answer(page(200, body, extra=b"" if is_exact else _ESTIMATED, keep=client.keeps))


class ResponsesCount(Counting):
    """How many tokens a response would be asked with."""

    __slots__ = ()
    member = "input_tokens"
    dialect = "responses"
    around = {"object": "response.input_tokens"}  # noqa: RUF012  # read, never changed
    amend = staticmethod(look)


def _names(generation: Generation, model: Model, upstream_name: str) -> set[str]:
    """The names that a model's endpoints have for it."""
    config = generation.config
    reached = {name for pool in pools(config.models[model.name].plan) for name in pool.endpoints}
    return {upstream_name if one.passes_name else one.model for one in config.endpoints if one.name in reached}


class _Counter:
    """Counts beside the loop, in a thread of its own: one that waits for a vocabulary holds nobody else."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._not_before_s = 0.0

    def start(self, dialect: str, body: bytes, names: set[str], told: Callable[[tuple[int, bool] | None], None]) -> None:
        """Have a request counted, and `told` called with what `count_request` says, in any case."""
        task = asyncio.get_running_loop().create_task(self._count(dialect, body, names, told))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _count(self, dialect: str, body: bytes, names: set[str], told: Callable[[tuple[int, bool] | None], None]) -> None:
        found = None
        if monotonic() >= self._not_before_s:
            self._threads = self._threads or ThreadPoolExecutor(1, "tokens")
            try:
                async with asyncio.timeout(WAIT_S):
                    found = await asyncio.get_running_loop().run_in_executor(self._threads, _counted, dialect, body, names)
            except BadRequest:
                # Whoever it is for will say so.
                pass
            except Exception:  # noqa: BLE001  # whatever keeps it from being exact, there is an estimate
                self._not_before_s = monotonic() + PAUSE_S
        told(found)


_COUNTER = _Counter()


def _counted(dialect: str, body: bytes, names: set[str]) -> tuple[int, bool] | None:
    tree = msgspec.json.decode(body)
    inside = tree.get("generateContentRequest")
    if isinstance(inside, dict):
        # Google's longer way to ask.
        body = msgspec.json.encode(inside)
    return count_request(DIALECTS[dialect].read_request(body), names)
