"""The plan of a model whose answers are kept: look, else ask and keep.

Kept are whole good answers only: a stream when its end has gone out, with the bytes that went out. Given again, an answer costs its key a
request and no tokens: its ticket is settled with none. Nothing is looked up for a request that is not repeatable, or that says
`Cache-Control: no-store`; one that says `no-cache` is asked anew, and its answer is kept.
"""

from __future__ import annotations

from time import monotonic_ns, time
from typing import TYPE_CHECKING

from dispatch.cache import Kept
from dispatch.errors import DeadlineExceeded, Failure
from dispatch.policy.sharing import NO_STORE, identity, is_repeatable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from dispatch.cache.memory import Memory
    from dispatch.cache.redis import Redis
    from dispatch.config import Cache
    from dispatch.errors import DispatchError
    from dispatch.exchange import Answer, Call
    from dispatch.plans.base import Failed, Start
    from dispatch.pools import Finish, Watch

__all__ = ["Caching"]

HIT = b"x-dispatch-cache: hit\r\nage: %d\r\n"
MISS = b"x-dispatch-cache: miss\r\n"
_NS = 1_000_000_000


class Caching:
    """One model's cache in one worker.

    Args:
        plan: asked for what is not kept.
        config: which requests, for whom, for how long.
        memory: where answers are.
        redis: where they are for other sidecars, too.
        count: called by the names of `routing.SHARED`.
    """

    __slots__ = ("_config", "count", "finish", "memory", "plan", "redis", "watch")

    def __init__(
        self,
        plan: Start,
        config: Cache,
        memory: Memory,
        redis: Redis | None,
        *,
        finish: Finish,
        watch: Watch,
        count: Mapping[str, Callable[[], None]],
    ) -> None:
        self.plan = plan
        self._config = config
        self.memory = memory
        self.redis = redis
        self.finish = finish
        self.watch = watch
        self.count = count

    def run(self, call: Call, failed: Failed) -> None:
        assert call.body is not None
        if call.freshness == NO_STORE:
            self.count["bypass"]()
            self.plan(call, failed)
            return
        digest, body = identity(call, call.body)
        if self._config.when != "always" and not is_repeatable(call.door, body):
            self.count["bypass"]()
            self.plan(call, failed)
            return
        key = digest if self._config.scope == "all" else digest + call.key.encode()
        kept = None if call.freshness else self.memory.get(key, monotonic_ns())
        if kept is not None:
            self.give(call, kept)
        elif self.redis is not None and not call.freshness and self.redis.is_up:
            _Look(self, self.redis, call, failed, key).start()
        else:
            self.ask(call, failed, key)

    def give(self, call: Call, kept: Kept) -> None:
        """Answer with what was kept."""
        self.count["hit"]()
        now_ns = monotonic_ns()
        call.notes += HIT % max(0, int(time() - kept.made_s))
        call.body = None
        call.is_kept = True
        call.endpoint = kept.endpoint
        call.answer = kept
        call.answered_ns = now_ns
        call.overhead_ns = now_ns - call.received_ns
        call.run = None
        if call.ticket is not None:
            call.ticket.count_exactly()
        if kept.is_stream:
            call.committed = True
            call.first_ns = now_ns
            call.sink.on_end(call, kept.body)
        else:
            call.lines = b"x-dispatch-endpoint: %b\r\nx-dispatch-attempts: 0\r\n" % kept.endpoint.encode()
            call.sink.on_answer(call, kept)
        self.finish(call, Failure.NONE)

    def ask(self, call: Call, failed: Failed, key: bytes) -> None:
        """Ask, and keep what comes."""
        self.count["miss"]()
        if MISS not in call.notes:
            call.notes += MISS
        _Asking(self, call, failed, key).start()

    def keep(self, key: bytes, kept: Kept) -> None:
        """Keep an answer that was just given."""
        self.memory.put(key, kept, monotonic_ns())
        if self.redis is not None and kept.size <= self.memory.longest:
            self.redis.put(key, kept)

    def keep_found(self, key: bytes, kept: Kept) -> None:
        """Keep an answer that another sidecar kept."""
        self.memory.put(key, kept, monotonic_ns(), max(0, int((time() - kept.made_s) * _NS)))


class _Asking:
    """A request that is asked: the sink of its branch, and what it runs. It passes everything on, and remembers it."""

    __slots__ = ("_before", "_branch", "_bytes", "_call", "_failed", "_key", "_owner", "_parts")

    def __init__(self, owner: Caching, call: Call, failed: Failed, key: bytes) -> None:
        self._owner = owner
        self._call = call
        self._failed = failed
        self._key = key
        self._before = call.attempts
        self._branch: Call
        # None once it is too long to be kept.
        self._parts: list[bytes] | None = []
        self._bytes = 0

    def start(self) -> None:
        call = self._call
        branch = self._branch = call.branch(self)
        call.run = self
        self._owner.plan(branch, self._on_failed)
        if call.run is self and not self._before:
            call.overhead_ns = branch.received_ns - call.received_ns + branch.overhead_ns

    def _tell(self) -> None:
        """What the branch has come to so far."""
        call, branch = self._call, self._branch
        call.attempts = self._before + branch.attempts
        call.endpoint = branch.endpoint or call.endpoint
        call.answer = branch.answer
        call.dropped = branch.dropped

    def on_chunk(self, call: Call, data: bytes) -> None:
        own = self._call
        if not own.committed:
            own.committed = True
            own.body = None
            self._tell()
        self._note(data)
        own.sink.on_chunk(own, data)

    def _note(self, data: bytes) -> None:
        if self._parts is not None:
            self._parts.append(data)
            self._bytes += len(data)
            if self._bytes > self._owner.memory.longest:
                self._parts = None

    def on_end(self, call: Call, tail: bytes) -> None:
        own = self._call
        self._note(tail)
        self._finish()
        own.first_ns = call.first_ns
        answer = call.answer
        if self._parts is not None and answer is not None:
            body = b"".join(self._parts)
            self._owner.keep(self._key, Kept(answer.status, answer.head, body, True, own.endpoint, time()))
        own.sink.on_end(own, tail)
        self._owner.finish(own, Failure.NONE)

    def on_answer(self, call: Call, answer: Answer) -> None:
        own = self._call
        self._finish()
        own.lines = call.lines
        kept = Kept(answer.status, answer.head, answer.body, False, own.endpoint, time())
        self._owner.keep(self._key, kept)
        own.sink.on_answer(own, answer)
        self._owner.finish(own, Failure.NONE)

    def _finish(self) -> None:
        own, branch = self._call, self._branch
        self._tell()
        own.usage = branch.usage
        own.is_estimated = branch.is_estimated
        own.answered_ns = branch.answered_ns
        own.run = None

    def on_silence(self, call: Call) -> None:
        self._call.sink.on_silence(self._call)

    def on_error(self, call: Call, error: DispatchError) -> None:
        self._on_failed(call, error)

    def _on_failed(self, call: Call, error: DispatchError) -> None:
        self._tell()
        self._call.run = None
        self._failed(self._call, error)

    def cancel(self) -> None:
        if self._branch.run is not None:
            self._branch.run.cancel()
        self._tell()
        self._call.run = None

    def pause(self) -> None:
        if self._branch.run is not None:
            self._branch.run.pause()

    def resume(self) -> None:
        if self._branch.run is not None:
            self._branch.run.resume()


class _Look:
    """A request that waits for Redis, some milliseconds at most."""

    __slots__ = ("_call", "_failed", "_key", "_owner", "_redis", "_task")

    def __init__(self, owner: Caching, redis: Redis, call: Call, failed: Failed, key: bytes) -> None:
        self._owner = owner
        self._redis = redis
        self._call = call
        self._failed = failed
        self._key = key
        self._task: asyncio.Task[Kept | None]

    def start(self) -> None:
        self._call.run = self
        self._owner.watch.add(self)
        self._task = self._redis.get(self._key)
        self._task.add_done_callback(self._found)

    def _found(self, task: asyncio.Task[Kept | None]) -> None:
        call = self._call
        if call.run is not self:
            return
        self._end()
        kept = task.result()
        if kept is None:
            self._owner.ask(call, self._failed, self._key)
        else:
            self._owner.keep_found(self._key, kept)
            self._owner.give(call, kept)

    def _end(self) -> None:
        self._owner.watch.discard(self)
        self._call.run = None

    def cancel(self) -> None:
        self._end()
        self._task.cancel()

    def pause(self) -> None:
        """There is nothing to pause."""

    def resume(self) -> None:
        """See `pause`."""

    def check(self, now_ns: int) -> None:
        """Look at the clock."""
        if now_ns >= self._call.deadline_ns:
            self.cancel()
            self._failed(self._call, DeadlineExceeded("no answer within the deadline: it was too short to look for one"))

    def keep_awake(self, now_ns: int, silent_since_ns: int) -> None:
        """It is over before anybody falls asleep."""

    def as_call(self) -> Call:
        return self._call
