"""`shadow`: another plan is asked the same, without anybody waiting for it; how its answer compares stands in the record.

The mirrored request is a call of its own: it charges no key and takes no place of the client's, it ends when its deadline ends, and a
client that leaves does not end it.
"""

from __future__ import annotations

from random import getrandbits
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.decisions import Step
from dispatch.exchange import Call

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
            pair = _Pair(step)
            mirrored = _mirrored(call, _Mirror(pair))
            call.sink = _Told(call.sink, pair)
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
    ghost.request_id = call.request_id
    return branch


class _Pair:
    """What both answers come to."""

    __slots__ = ("_answers", "_step")

    def __init__(self, step: Step) -> None:
        self._step = step
        self._answers: dict[str, str | None] = {}

    def tell(self, who: str, call: Call, text: str | None, outcome: str) -> None:
        """One of them is over."""
        took_ms = (monotonic_ns() - call.received_ns) // 1000 / 1000
        self._step.details = {
            **self._step.details,
            who: {"endpoint": call.endpoint, "outcome": outcome, "duration_ms": took_ms, "bytes": len(text or "")},
        }
        self._answers[who] = text
        if len(self._answers) == 2:
            one, other = self._answers.values()
            self._step.details["same"] = one is not None and one == other

    def mirror_failed(self, call: Call, error: DispatchError) -> None:
        """There is no answer to compare."""
        self.tell("mirror", call, None, error.code)


class _Told:
    """The client's sink, and what it was given is remembered."""

    __slots__ = ("_pair", "_sink")

    def __init__(self, sink: Sink, pair: _Pair) -> None:
        self._sink = sink
        self._pair = pair

    def on_answer(self, call: Call, answer: Answer) -> None:
        self._pair.tell("plan", call, text_of(answer.body), "ok")
        call.sink = self._sink
        self._sink.on_answer(call, answer)

    def on_chunk(self, call: Call, data: bytes) -> None:
        self._sink.on_chunk(call, data)

    def on_end(self, call: Call, tail: bytes) -> None:
        self._pair.tell("plan", call, None, "ok")
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

    __slots__ = ("_pair",)

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair

    def on_answer(self, call: Call, answer: Answer) -> None:
        self._pair.tell("mirror", call, text_of(answer.body), "ok")

    def on_chunk(self, call: Call, data: bytes) -> None:
        """Nobody reads it."""

    def on_end(self, call: Call, tail: bytes) -> None:
        self._pair.tell("mirror", call, None, "ok")

    def on_silence(self, call: Call) -> None:
        """Nobody waits."""

    def on_error(self, call: Call, error: DispatchError) -> None:
        self._pair.tell("mirror", call, None, error.code)


def text_of(body: bytes) -> str | None:
    """What an answer of any dialect says; None if it says nothing that is known."""
    try:
        tree: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    found = [*_texts(tree)]
    return "".join(found) if found else None


def _texts(node: Any) -> list[str]:  # noqa: ANN401  # JSON
    if isinstance(node, list):
        return [text for item in node for text in _texts(item)]
    if not isinstance(node, dict):
        return []
    own = [value for key, value in node.items() if key in {"content", "text"} and isinstance(value, str)]
    return own + [text for key, value in node.items() if isinstance(value, (dict, list)) and key != "usage" for text in _texts(value)]


def build(plan: Config, parts: Sequence[Start], site: Site) -> Shadow:
    """Join a plan with its mirror."""
    shadow = site.replayed[f"{site.model} {site.path}"] = Shadow(plan, parts, site)
    return shadow
