"""`shadow`: another plan is asked the same, without anybody waiting for it; how its answer compares stands in the record.

The mirrored request is a call of its own: it charges no key and takes no place of the client's, it ends when its deadline ends, and a
client that leaves does not end it.

Of two streams the bytes are kept as they pass, and read in a thread when both are over: the client's has gone out by then.
"""

from __future__ import annotations

import asyncio
from random import getrandbits
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from dispatch.decisions import Step
from dispatch.exchange import Call
from dispatch.plans.said import Kept, said_in_stream, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatch.config import Shadow as Config
    from dispatch.errors import DispatchError
    from dispatch.exchange import Answer, Sink
    from dispatch.plans.base import Failed, Site, Start

__all__ = ["Shadow", "build"]

_WHOLE = 1 << 64


class Shadow:
    """See the module."""

    __slots__ = ("_parts", "_share", "_site", "made_ns")

    def __init__(self, config: Config, parts: Sequence[Start], site: Site) -> None:
        self._parts = parts
        self._site = site
        self._share = int(config.share * _WHOLE)
        self.made_ns = monotonic_ns()

    def run(self, call: Call, failed: Failed) -> None:
        """Start both; the client hears of the first alone."""
        seed = getrandbits(64)
        if seed < self._share and call.body is not None:
            step = Step(self._site.path, "shadow", chosen="plan", why="mirrored", seed=seed)
            self._site.decisions.of(call).steps.append(step)
            pair = _Pair(step, call.door)
            mirrored = _mirrored(call, _Mirror(pair, Kept()))
            call.sink = _Told(call.sink, pair, Kept())
            self._parts[0](call, failed)
            self._parts[1](mirrored, pair.mirror_failed)
        else:
            self._parts[0](call, failed)

    def replay(self, step: Step) -> bool:
        """Whether a recorded draw is mirrored again: only those that are have a step."""
        return step.seed < self._share


def _mirrored(call: Call, sink: Sink) -> Call:
    """The same question, below a root that is not the client's call."""
    ghost = Call(sink, call.model, call.door, call.body, monotonic_ns(), call.deadline_ns)  # type: ignore[arg-type]  # it has a body
    branch = call.branch(sink)
    branch.parent = ghost
    branch.key = ""
    branch.chunked = False  # Nobody is framed for.
    ghost.request_id = call.request_id
    return branch


class _Pair:
    """What both answers come to."""

    __slots__ = ("_answers", "_door", "_step", "_streams")

    def __init__(self, step: Step, door: str) -> None:
        self._step = step
        self._door = door
        self._answers: dict[str, str | None] = {}
        self._streams: dict[str, tuple[Kept, bool]] = {}

    def tell(self, who: str, call: Call, text: str | None, outcome: str) -> None:
        """One of them is over: a whole answer, or none."""
        self._note(who, call, outcome, {"bytes": len(text or "")})
        self._answers[who] = text
        self._compare()

    def tell_stream(self, who: str, call: Call, kept: Kept) -> None:
        """One of them is over: a stream."""
        first_ms = (call.first_ns - call.received_ns) // 1000 / 1000 if call.first_ns else None
        self._note(who, call, "ok" if kept.is_whole else "too_long", {"stream": True, "first_ms": first_ms})
        self._answers[who] = None
        if kept.is_whole:
            self._streams[who] = kept, call.chunked
        self._compare()

    def _note(self, who: str, call: Call, outcome: str, more: dict[str, Any]) -> None:
        took_ms = (monotonic_ns() - call.received_ns) // 1000 / 1000
        told = {"endpoint": call.endpoint, "outcome": outcome, "duration_ms": took_ms, **more}
        self._step.details = {**self._step.details, who: told}

    def _compare(self) -> None:
        if len(self._answers) < 2:
            return
        if not self._streams:
            self._say()
            return
        # Some milliseconds for a long one, which other requests are not to wait for.
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, self._read).add_done_callback(self._on_read)

    def _read(self) -> dict[str, str | None]:
        return {who: said_in_stream(kept.release(), self._door, is_chunked=chunked) for who, (kept, chunked) in self._streams.items()}

    def _on_read(self, read: asyncio.Future[dict[str, str | None]]) -> None:
        if read.cancelled():
            return
        details = self._step.details
        for who, text in read.result().items():
            self._answers[who] = text
            details = {**details, who: {**details[who], "bytes": len(text or "")}}
        self._step.details = details
        self._streams.clear()
        self._say()

    def _say(self) -> None:
        one, other = self._answers.values()
        self._step.details = {**self._step.details, "same": one is not None and one == other}

    def mirror_failed(self, call: Call, error: DispatchError) -> None:
        """There is no answer to compare."""
        self.tell("mirror", call, None, error.code)


class _Told:
    """The client's sink, and what it was given is remembered."""

    __slots__ = ("_kept", "_pair", "_sink")

    def __init__(self, sink: Sink, pair: _Pair, kept: Kept) -> None:
        self._sink = sink
        self._pair = pair
        self._kept = kept

    def on_answer(self, call: Call, answer: Answer) -> None:
        self._pair.tell("plan", call, text_of(answer.body), "ok")
        call.sink = self._sink
        self._sink.on_answer(call, answer)

    def on_chunk(self, call: Call, data: bytes) -> None:
        self._sink.on_chunk(call, data)
        self._kept.keep(data)

    def on_end(self, call: Call, tail: bytes) -> None:
        self._kept.keep(tail)
        self._pair.tell_stream("plan", call, self._kept)
        call.sink = self._sink
        self._sink.on_end(call, tail)

    def on_silence(self, call: Call) -> None:
        self._sink.on_silence(call)

    def on_error(self, call: Call, error: DispatchError) -> None:
        self._pair.tell("plan", call, None, error.code)
        call.sink = self._sink
        self._sink.on_error(call, error)


class _Mirror:
    """The sink of the mirrored request."""

    __slots__ = ("_kept", "_pair")

    def __init__(self, pair: _Pair, kept: Kept) -> None:
        self._pair = pair
        self._kept = kept

    def on_answer(self, call: Call, answer: Answer) -> None:
        self._pair.tell("mirror", call, text_of(answer.body), "ok")

    def on_chunk(self, call: Call, data: bytes) -> None:
        self._kept.keep(data)

    def on_end(self, call: Call, tail: bytes) -> None:
        self._kept.keep(tail)
        self._pair.tell_stream("mirror", call, self._kept)

    def on_silence(self, call: Call) -> None:
        """Nobody waits."""

    def on_error(self, call: Call, error: DispatchError) -> None:
        self._pair.tell("mirror", call, None, error.code)


def build(plan: Config, parts: Sequence[Start], site: Site) -> Shadow:
    """Join a plan with its mirror."""
    shadow = site.replayed[f"{site.model} {site.path}"] = Shadow(plan, parts, site)
    return shadow
