"""One worker of the sidecar in the test's own loop: real sockets on both sides, and its insides to look at."""

from __future__ import annotations

import asyncio
import os
import socket
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Any, Self

from dispatch.config import build, resolve
from dispatch.errors import DispatchError, Failure
from dispatch.routing import Board, Sizes, Slots, Snapshot, bell
from dispatch.routing.bell import Bell
from dispatch.server.accept import Listener, Listeners
from dispatch.server.worker import Worker
from dispatch.transport.pool import Origin
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dispatch.exchange import Call

__all__ = ["Hosted", "pool", "until"]

DEADLINE_S = 30.0
ENVIRON = {"UP_KEY": "sk-upstream-secret-0123456789"}


async def until(condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
    """Let the loop turn until `condition()` is true."""
    end = monotonic() + timeout_s
    while not condition():
        assert monotonic() < end, "the condition did not become true in time"
        await asyncio.sleep(0.001)


def pool(*base_urls: str, server: dict[str, Any] | None = None, keys: list[Any] | None = None, **model: Any) -> dict[str, Any]:
    """A configuration: endpoints `a`, `b`, ... in one pool, served as model `m`, asked in that order."""
    names = "abcdefgh"[: len(base_urls)]
    endpoints = [
        {"name": name, "provider": "openai_compatible", "model": f"up-{name}", "base_url": url, "api_key": "env:UP_KEY"}
        for name, url in zip(names, base_urls, strict=True)
    ]
    plan = {"endpoints": list(names), "strategy": "round_robin", "retry": {"base_s": 0.001, "cap_s": 5}, **model}
    return {"server": server or {}, "keys": keys or [], "endpoints": endpoints, "models": {"m": plan}}


class Hosted:
    """`async with Hosted(config) as hosted:`; on leaving, nothing may be left of any request.

    Args:
        config: as a file says it.
        environ: more variables.
        beside: one of the same configuration, made for `workers`: this is its second worker, on the same board.
        workers: so many have room on the board.

    Attributes:
        reports: each request that ended: its call, outcome and error.
    """

    def __init__(
        self, config: dict[str, Any], environ: dict[str, str] | None = None, *, beside: Hosted | None = None, workers: int = 1
    ) -> None:
        self.environ = ENVIRON | (environ or {})
        self.reports: list[tuple[Call, Failure, DispatchError | None]] = [] if beside is None else beside.reports
        self.config = build(config, self.environ)
        sizes = Sizes.of(self.config, workers)
        self._slots: Slots = Slots.of(self.config, sizes) if beside is None else beside._slots
        board: Board = Board.heap(sizes) if beside is None else beside.worker.board
        index = 0 if beside is None else 1
        self._bells: list[tuple[int, int]] = (
            [bell.make() for _ in range(workers)] if workers > 1 else [] if beside is None else beside._bells
        )
        if workers > 1:
            board.hang_bells([writing for _, writing in self._bells])
        own = Bell(self._bells[index][0]) if self._bells else None
        self.worker: Worker = Worker(index, board, lambda *report: self.reports.append(report), own)
        self.front, self.dispatcher = self.worker.front, self.worker.dispatcher
        self._peers: list[Peer] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self.worker.apply(self.config, resolve(self.config, self.environ), self._slots)
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        self.port = sock.getsockname()[1]
        self._listener = Listeners(Listener(sock, self.worker.accepted, os.sysconf("SC_OPEN_MAX")), {})
        await self.worker.listen(self._listener)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                await self.check_rest()
        finally:
            for peer in self._peers:
                peer.sock.close()
            self.dispatcher.close()
            await self._listener.close()
            await until(lambda: not self.front.connections)

    def reload(self, config: dict[str, Any]) -> None:
        """Take another configuration, as SIGHUP does."""
        fresh = build(config, self.environ)
        self._slots = Slots.of(fresh, self._slots.sizes, self._slots)
        self.worker.apply(fresh, resolve(fresh, self.environ), self._slots)

    async def peer(self, receive_bytes: int = 0) -> Peer:
        """A new connection, closed at the end."""
        peer = Peer(self.port, receive_bytes)
        self._peers.append(peer)
        return await peer.__aenter__()

    def snapshot(self) -> Snapshot:
        generation = self.dispatcher.generation
        assert generation is not None
        return generation.routing.snapshot(monotonic_ns())

    def attempts(self, endpoint: str = "a") -> dict[Failure, int]:
        """How the attempts at an endpoint ended, from the board."""
        return {Failure(number): count for number, count in enumerate(self.snapshot().endpoints[endpoint].attempts) if count}

    def outcomes(self, model: str = "m") -> dict[Failure, int]:
        """How requests of a model ended, from the board; those that a limit refused are left out."""
        return {Failure(number): count for number, count in enumerate(self.snapshot().models[model].outcomes[:-1]) if count}

    async def rested(self) -> None:
        """Wait until connections that rest after their first answer are of use again."""
        assert self.dispatcher.generation is not None
        origins = [origin for origin in self.dispatcher.generation.origins.values() if isinstance(origin, Origin)]
        await until(lambda: not any(origin._resting for origin in origins))

    async def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """`/metrics`, as a scraper reads it."""
        async with Peer(self.port) as peer:
            reply = await peer.ask(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert reply.status == 200
        families = text_string_to_metric_families(reply.body.decode())
        return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}

    async def check_rest(self) -> None:
        """Nothing is under way, nothing is held, and every request and attempt was counted exactly once."""
        for peer in self._peers:
            peer.sock.close()
        await until(lambda: not self.dispatcher.under_way and not self.dispatcher.watch)
        await until(lambda: not self.front.connections)
        assert not self.front.reading
        assert self.front.room.taken == 0
        assert self._held() == {}
        admitted = [(call, failure) for call, failure, error in self.reports if call.attempts or error is None]
        attempts = sum(sum(row.attempts) for row in self.snapshot().endpoints.values())
        assert attempts == sum(call.attempts for call, _ in admitted)
        ended = sum(sum(row.outcomes) for row in self.snapshot().models.values())
        assert ended == len(self.reports)
        assert len({id(call) for call, _, _ in self.reports}) == len(self.reports)
        metrics = await self.metrics()
        assert sum(_all(metrics, "dispatch_in_flight")) == 0
        assert sum(_all(metrics, "dispatch_requests_total")) == ended
        assert sum(_all(metrics, "dispatch_attempts_total")) == attempts

    def _held(self) -> dict[str, list[int]]:
        """The columns of held things that are not zero."""
        now = self.snapshot()
        rows: dict[str, list[int]] = {
            **{name: [row.in_flight, row.prefill_tokens, row.decode_tokens, row.probes] for name, row in now.endpoints.items()},
            **{f"key {name}": [row.in_flight] for name, row in now.keys.items()},
            **{f"model {name}": [row.in_flight, row.queued] for name, row in now.models.items()},
        }
        return {name: row for name, row in rows.items() if any(row)}


def _all(metrics: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str) -> Iterable[float]:
    return (value for (found, _), value in metrics.items() if found == name)
