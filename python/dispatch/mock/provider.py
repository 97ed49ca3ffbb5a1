"""The simulated provider: takes a whole request, decides its fate, notes it in the journal, starts the answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from dispatch.mock import chat, responses
from dispatch.mock.ask import BadAsk, parse
from dispatch.mock.behaviours import Behaviours
from dispatch.mock.content import compose
from dispatch.mock.control import control
from dispatch.mock.doors import door_of, key_of
from dispatch.mock.embeddings import embeddings_whole
from dispatch.mock.faults import ANSWERS, WHOLE_FAULTS, Fault
from dispatch.mock.journal import Entry, Journal
from dispatch.mock.refusals import shape_of
from dispatch.mock.replies import JSON, Reply, error, refusal, send_json, shaped
from dispatch.mock.stream import StreamExchange
from dispatch.mock.turn import Turn
from dispatch.mock.wheel import Wheel
from dispatch.mock.whole import WholeExchange

if TYPE_CHECKING:
    import asyncio

    from dispatch.mock.gate import Gate
    from dispatch.mock.http1 import Connection, Request
    from dispatch.mock.scenario import Scenario

__all__ = ["Provider"]

_SSE: Final = "text/event-stream; charset=utf-8"
_SCRIPTS: Final = {"chat": chat.chat_script, "completions": chat.completions_script, "responses": responses.responses_script}
_WHOLES: Final = {"chat": chat.chat_whole, "completions": chat.completions_whole, "responses": responses.responses_whole}
_PREFIXES: Final = {"chat": "chatcmpl-", "completions": "cmpl-", "responses": "", "embeddings": ""}
_RETRY_AFTER_S: Final = 1.0
"""Told with a rate limit where the scenario says nothing."""
_CREATED: Final = 1_700_000_000
"""Creation time of every listed model."""


class Provider:
    """All that the connections of one mock share.

    Attributes:
        journal: what was received.
        connections: those that are open.
        scenario: what is played.
        gates: the listening sockets, which follow the scenario's times.
    """

    def __init__(
        self, scenario: Scenario, loop: asyncio.AbstractEventLoop, *, journal: Journal | None = None, keep_requests: bool = False
    ) -> None:
        self.journal = journal if journal is not None else Journal()
        self.connections: set[Connection] = set()
        self._wheel = Wheel(loop)
        self._keep_requests = keep_requests
        self._number = 0
        self.gates: list[Gate] = []
        self.configure(scenario)

    def configure(self, scenario: Scenario) -> None:
        """Play this scenario from now on; limits, scripts and its clock start afresh."""
        self.scenario = scenario
        self._start_s = self._wheel.now_s()
        self._behaviours = Behaviours(scenario, self._start_s)
        for gate in self.gates:
            gate.follow()

    def since_s(self) -> float:
        """Give the scenario's own clock: seconds since it began."""
        return self._wheel.now_s() - self._start_s

    def stop(self) -> None:
        """Close all connections and the journal."""
        self._wheel.stop()
        for connection in list(self.connections):
            connection.close()
        self.journal.flush()

    def begin(self, connection: Connection, request: Request) -> None:
        """Answer a whole request."""
        if connection.closed:
            return
        path, _, query = request.target.decode("latin-1").partition("?")
        door, name = door_of(path)
        if not door:
            connection.write(control(self, request, path, query))
            connection.answered()
            return
        entry = self._note(request, path)
        reply = Reply(request, entry)
        if self.scenario.accept_keys and entry.key not in self.scenario.accept_keys:
            self._refuse(connection, entry, error(reply, 401, "Incorrect API key provided.", code="invalid_api_key"))
        elif door == "models":
            self._list_models(connection, entry, reply, name)
        elif request.method != "POST":
            self._refuse(connection, entry, error(reply, 405, "Only POST is allowed here.", code="method_not_allowed"))
        else:
            self._ask(connection, request, entry, reply, door, name)

    def _note(self, request: Request, path: str) -> Entry:
        entry = Entry(number=0, at_s=time.time(), method=request.method, path=path, key=key_of(request))
        entry.request_id = request.header(b"x-request-id") or f"req_{self._number:032x}"
        self._number += 1
        if self._keep_requests:
            entry.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
            entry.body = request.body
        self.journal.add(entry)
        return entry

    def _refuse(self, connection: Connection, entry: Entry, answer: bytes, outcome: str = "refused") -> None:
        entry.status = int(answer[9:12])
        entry.sent_bytes = len(answer)
        connection.write(answer)
        self.journal.close_entry(entry, outcome)
        connection.answered()

    def _list_models(self, connection: Connection, entry: Entry, reply: Reply, name: str) -> None:
        models = [{"id": model, "object": "model", "created": _CREATED, "owned_by": "mock"} for model in self.scenario.models or ("mock",)]
        if not name:
            answer = send_json(reply, {"object": "list", "data": models})
        else:
            answer = next(
                (send_json(reply, model) for model in models if model["id"] == name),
                b"",
            ) or error(reply, 404, f"The model `{name}` does not exist.", code="model_not_found")
        self._refuse(connection, entry, answer, "ok" if answer[9:12] == b"200" else "refused")

    def _ask(self, connection: Connection, request: Request, entry: Entry, reply: Reply, door: str, deployment: str) -> None:
        try:
            ask = parse(door, request.body, deployment)
        except BadAsk as bad:
            self._refuse(connection, entry, error(reply, 400, bad.message, param=bad.param))
            return
        entry.model, entry.stream, entry.tokens_in, entry.digest = ask.model, ask.stream, ask.tokens_in, ask.digest
        if not self.scenario.knows(ask.model):
            text = f"The model `{ask.model}` does not exist or you do not have access to it."
            self._refuse(connection, entry, error(reply, 404, text, code="model_not_found"))
            return
        now_s = self._wheel.now_s()
        behaviour = self._behaviours.of(ask.model, entry.key, entry.path, now_s)
        self._admit(Turn(connection, request, entry, reply, ask, behaviour, self.scenario.seed), now_s)

    def _admit(self, turn: Turn, now_s: float) -> None:
        behaviour, model, key = turn.behaviour, turn.ask.model, turn.entry.key
        limiter = self._behaviours.limiter(behaviour, model, key, now_s)
        if limiter is not None:
            tokens = turn.ask.tokens_in + (turn.ask.max_tokens or round(behaviour.output_tokens.mean))
            refused = limiter.admit(tokens, now_s)
            turn.reply.extra = limiter.head(now_s)
            if refused is not None:
                tell = behaviour.limits is not None and behaviour.limits.retry_after
                self._refuse(turn.connection, turn.entry, refusal(turn.reply, refused, tell=tell), "limited")
                return
            turn.limiter = limiter
        fate = self._behaviours.fate(behaviour, model, key, turn.rng)
        if isinstance(fate, int):
            self._fail(turn, fate)
        elif fate in ANSWERS:
            self._fail_as(turn, fate)
        elif turn.ask.stream and turn.ask.door in _SCRIPTS and fate not in WHOLE_FAULTS:
            self._stream(turn, fate, now_s)
        else:
            self._whole(turn, fate, now_s)

    def _fail(self, turn: Turn, status: int) -> None:
        if turn.limiter is not None:
            turn.limiter.in_flight -= 1
        behaviour = turn.behaviour
        after_s = behaviour.retry_after_s if status == 429 or status >= 500 else None
        answer = error(turn.reply, status, f"Simulated error {status}.", code=behaviour.error_code, retry_after_s=after_s)
        self._refuse(turn.connection, turn.entry, answer, f"http_{status}")

    def _fail_as(self, turn: Turn, fault: Fault) -> None:
        if turn.limiter is not None:
            turn.limiter.in_flight -= 1
        shape = shape_of(fault)
        after_s = turn.behaviour.retry_after_s
        if after_s is None and shape.waits:
            after_s = _RETRY_AFTER_S
        answer = shaped(turn.reply, shape.status, shape.body, shape.content_type, retry_after_s=after_s)
        self._refuse(turn.connection, turn.entry, answer, fault.value)

    def _whole(self, turn: Turn, fault: Fault | None, now_s: float) -> None:
        ask, behaviour = turn.ask, turn.behaviour
        exchange = WholeExchange(turn, self.journal, self._wheel, fault)
        delay_s = turn.first_token_s(fault)
        if ask.door == "embeddings":
            body, tokens = embeddings_whole(ask, behaviour.dimensions), 0
        else:
            content = compose(ask, behaviour, turn.entry.number, turn.rng, fault)
            body = _WHOLES[ask.door](ask, content, self._identity(turn), behaviour.cached_share)
            tokens = content.tokens * ask.n
            delay_s += turn.pauses_s(len(content.pieces), content.tokens, fault)
        exchange.play(body, JSON, tokens)
        if delay_s > 0:
            self._wheel.at(now_s + delay_s, exchange)
        else:
            exchange.due(now_s)

    def _stream(self, turn: Turn, fault: Fault | None, now_s: float) -> None:
        ask, behaviour = turn.ask, turn.behaviour
        content = compose(ask, behaviour, turn.entry.number, turn.rng, fault)
        script = _SCRIPTS[ask.door](ask, content, self._identity(turn), behaviour.cached_share)
        first_s = turn.first_token_s(fault)
        if fault is Fault.TRICKLE:
            gap_s = sum(map(len, content.pieces)) / max(1, len(content.pieces)) / behaviour.chars_per_s
        else:
            gap_s = turn.gap_s(content.tokens / max(1, len(content.pieces)), fault) / ask.n
        exchange = StreamExchange(turn, self.journal, self._wheel, fault)
        exchange.play(script, "text/plain" if fault is Fault.WRONG_CONTENT_TYPE else _SSE, first_s=now_s + first_s, gap_s=gap_s)
        if first_s > 0:
            if behaviour.early_head:
                exchange.open_early()
            self._wheel.at(now_s + first_s, exchange)
        else:
            exchange.due(now_s)

    def _identity(self, turn: Turn) -> str:
        return f"{_PREFIXES[turn.ask.door]}{self.scenario.seed & 0xFFFF:04x}{turn.entry.number:028x}"
