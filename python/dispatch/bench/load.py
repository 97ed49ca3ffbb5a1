"""The run itself: releases requests on schedule (open loop) or as answers come (closed loop), over keep-alive connections."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from dispatch.bench.arrivals import Arrivals
from dispatch.bench.connection import Connection
from dispatch.bench.record import Record
from dispatch.bench.sample import Sample
from dispatch.bench.timer import Timer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.bench.options import Options

__all__ = ["Load"]

_LEAD_S: Final = 0.01
"""From the start of a run to its first scheduled request."""
_SWEEP_S: Final = 0.1
"""How often answers that take too long are looked for."""
_FAILED_CONNECT_PAUSE_S: Final = 0.1
"""In a closed loop: a server that is not there must not be asked without end."""
_CPU_WINDOW_S: Final = 1.0
"""CPU is measured while requests are released; a shorter time says nothing, then the whole run counts."""
_BURST: Final = 64
"""Releases in one turn of the loop, so that a generator that is behind still reads answers."""


class Load:
    """One run against one target.

    Attributes:
        record: what was measured.
        cpu_share: CPU seconds of this process per second in which requests were released, after `run`.
        wall_s: length of the measurement, until the last answer.
        release_s: length of the measurement, until the last request.
        in_flight: requests released and not over.
    """

    def __init__(self, options: Options, requests: Sequence[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._options = options
        self._requests = requests
        self._loop = loop
        self._idle: list[Connection] = []
        self._connections = 0
        self._most = options.concurrency or 0
        self._waiting: deque[Sample] = deque()
        self._asked: dict[Sample, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._released = 0
        self._measured = 0
        self._finished = asyncio.Event()
        self.in_flight = 0
        self.is_releasing = False
        self.cpu_share = 0.0
        self.wall_s = 0.0
        self.release_s = 0.0
        self._tls: ssl.SSLContext | None = None
        if options.target.tls:
            self._tls = ssl.create_default_context()
            if options.insecure:
                self._tls.check_hostname = False
                self._tls.verify_mode = ssl.CERT_NONE

    async def run(self) -> Record:
        """Run to the end of the last answer; give what was measured."""
        # A schedule needs a moment of lead; a closed loop begins at once, and its first request counts.
        start_s = time.monotonic() + (0.0 if self._options.rate is None else _LEAD_S)
        self._measure_s = start_s + self._options.warmup_s
        self._stop_s = self._measure_s + self._options.duration_s if self._options.duration_s else float("inf")
        self.record = Record(self._measure_s)
        self.is_releasing = True
        self._cpu_s = time.process_time()
        self._loop.call_later(self._options.warmup_s, self._begin_measurement)
        timer = Timer(self._loop, self._release_due)
        gc.collect()
        gc.disable()  # nothing here makes cycles in numbers, and a collection would show up as lag
        sweeper = self._loop.create_task(self._sweep())
        try:
            self._start(timer, start_s)
            await self._finished.wait()
        finally:
            gc.enable()
            sweeper.cancel()
            timer.close()
            self._close()
        self.wall_s = max(1e-9, time.monotonic() - self._measure_s)
        if self.release_s < _CPU_WINDOW_S:
            self.cpu_share = self._cpu_share(self.wall_s)
        return self.record

    def stop(self) -> None:
        """Release no more; the run ends with the answers that are still to come."""
        self._stop_releasing()
        self._check_finished()

    def _stop_releasing(self) -> None:
        if self.is_releasing:
            self.is_releasing = False
            self.release_s = max(1e-9, time.monotonic() - self._measure_s)
            self.cpu_share = self._cpu_share(self.release_s)

    def _begin_measurement(self) -> None:
        self._cpu_s = time.process_time()

    def _cpu_share(self, wall_s: float) -> float:
        return (time.process_time() - self._cpu_s) / max(_CPU_WINDOW_S, wall_s)

    def _start(self, timer: Timer, start_s: float) -> None:
        self._timer = timer
        if self._options.rate is None:
            for _ in range(self._options.concurrency or 1):
                if self.is_releasing:
                    self._release(time.monotonic())
            if self._options.duration_s:
                timer.at(self._stop_s)
            return
        self._arrivals = Arrivals(self._options.rate, self._options.arrivals, self._options.seed, start_s)
        timer.at(self._arrivals.next_s)

    # releasing

    def _release_due(self) -> None:
        """Release all requests whose time has come, and set the timer for the next."""
        if self._options.rate is None:
            self.stop()
            return
        arrivals, now_s = self._arrivals, time.monotonic()
        for _ in range(_BURST):
            if not self.is_releasing or arrivals.next_s > now_s:
                break
            if arrivals.next_s >= self._stop_s:
                self.stop()
                break
            self._release(arrivals.next_s)
            arrivals.advance()
        if self.is_releasing:
            self._timer.at(min(arrivals.next_s, self._stop_s))

    def _release(self, intended_s: float) -> None:
        is_measured = intended_s >= self._measure_s
        sample = Sample(intended_s, time.monotonic(), is_measured=is_measured)
        self._released += 1
        self.in_flight += 1
        self.record.release(sample)
        if is_measured:
            self._measured += 1
            if self._options.requests and self._measured >= self._options.requests:
                self._stop_releasing()
        if self._idle:
            self._ask(self._idle.pop(), sample)
        elif self._most and self._connections >= self._most:
            self._waiting.append(sample)
        else:
            self._open(sample)

    def _open(self, sample: Sample) -> None:
        self._connections += 1
        task = self._loop.create_task(self._connect(sample))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _ask(self, connection: Connection, sample: Sample) -> None:
        self._asked[sample] = connection
        connection.ask(sample, self._requests[self._released % len(self._requests)])

    async def _connect(self, sample: Sample) -> None:
        target = self._options.target
        name = target.host if target.tls else None
        try:
            async with asyncio.timeout(self._options.timeout_s):
                if target.unix:
                    _, connection = await self._loop.create_unix_connection(self._made, target.unix, ssl=self._tls, server_hostname=name)
                else:
                    _, connection = await self._loop.create_connection(self._made, target.host, target.port, ssl=self._tls)
        except (OSError, TimeoutError) as error:
            if self._options.rate is None:
                await asyncio.sleep(_FAILED_CONNECT_PAUSE_S)
            self._fail(sample, "connect_timeout" if isinstance(error, TimeoutError) else "connect")
            self._connection_gone()
            return
        self._ask(connection, sample)

    def _made(self) -> Connection:
        return Connection(self)

    # what connections tell

    def gap(self, sample: Sample, gap_s: float, events: int) -> None:
        """Count the pause before output, and none between the events that came with it."""
        if sample.is_measured:
            self.record.gap.record(gap_s)
            if events > 1:
                self.record.gap.record(0.0, events - 1)

    def over(self, connection: Connection, sample: Sample) -> None:
        """Use the connection for what waits, then account for the answer."""
        if connection.is_open:
            if self._waiting:
                self._ask(connection, self._waiting.popleft())
            else:
                self._idle.append(connection)
        self._end(sample)

    def lost(self, connection: Connection) -> None:
        """Forget a connection; if requests wait for one, make another."""
        if connection in self._idle:
            self._idle.remove(connection)
        self._connection_gone()

    def _connection_gone(self) -> None:
        self._connections -= 1
        if self._waiting:
            self._open(self._waiting.popleft())

    def _fail(self, sample: Sample, error: str) -> None:
        """End a request that was never sent."""
        sample.error = error
        sample.end_s = time.monotonic()
        self._end(sample)

    def _end(self, sample: Sample) -> None:
        self.in_flight -= 1
        self._asked.pop(sample, None)
        self.record.end(sample)
        if self._options.rate is None and self.is_releasing:
            now_s = time.monotonic()
            if now_s >= self._stop_s:
                self._stop_releasing()
            else:
                self._release(now_s)
        self._check_finished()

    # ending

    def _check_finished(self) -> None:
        if not self.is_releasing and self.in_flight == 0:
            self._finished.set()

    async def _sweep(self) -> None:
        """Give up on what takes too long; both queues are in order, so only the oldest need a look."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            oldest_s = time.monotonic() - self._options.timeout_s
            while self._waiting and self._waiting[0].released_s < oldest_s:
                self._fail(self._waiting.popleft(), "timeout")
            while self._asked:
                sample = next(iter(self._asked))
                if sample.sent_s >= oldest_s:
                    break
                self._asked[sample].abort("timeout")

    def _close(self) -> None:
        for connection in self._idle:
            connection.close()
        for task in self._tasks:
            task.cancel()
