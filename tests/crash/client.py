"""One request of one client, and the verdict on what it got."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import httptools
from msgspec import Struct

if TYPE_CHECKING:
    from tests.crash.strain import Strain

__all__ = ["Outcome", "ask", "leave", "prompt_digest"]

GRACE_S: Final = 0.25
"""By how much an error may be later than the deadline."""
_CLOCK_S: Final = 0.25
"""How far the sidecar's coarse clock may lie before the deadline when it is looked at for the last time in time."""
_GIVE_UP_S: Final = 10.0
"""After the deadline; whatever did not end by then has hung."""


class Outcome(Struct, kw_only=True):
    """What one client saw.

    Attributes:
        verdict: `whole`; `error`: a clear one; `wrong`: a whole answer that is another one; `clean`: broken, and ended as if it were whole;
            `cut`: the connection ended without a word; `hung`: no end at all; `refused`: no connection.
    """

    digest: str
    request_id: str = ""
    verdict: str = "hung"
    status: int = 0
    code: str = ""
    attempts: int = 0
    endpoint: str = ""
    took_s: float = 0.0
    is_late: bool = False
    """It ended after the deadline and its grace, and the machine is not to blame."""
    is_delayed: bool = False
    """The same, but for at least as long the sidecar was ready to run and had no processor, or this program was late itself."""
    seen: str = ""
    """The end of what came, where the verdict breaks a law."""


def prompt_digest(text: str) -> str:
    """The name under which a mock's journal knows the prompt."""
    return sha256(text.encode()).hexdigest()[:16]


class _Client(asyncio.Protocol):
    """Sends one request, keeps what comes."""

    def __init__(self, request: bytes, over: asyncio.Future[None]) -> None:
        self._request = request
        self._over = over
        self._parser = httptools.HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_complete = False
        self.status = 0
        self.error = ""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.error = str(error)
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.error = self.error or ("" if error is None else str(error))
        self._end()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.is_complete = True
        self._end()

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)


async def ask(  # each is one fact of the request, named at the call
    port: int,
    model: str,
    text: str,
    *,
    stream: bool,
    deadline_s: float,
    strain: Strain,
    drops: bool = False,
    request_id: str = "",
) -> Outcome:
    """Ask once over a connection of its own.

    Args:
        port: of the sidecar.
        model: whom to ask.
        text: the prompt, which a good endpoint says again.
        stream: ask for events.
        deadline_s: told to the sidecar.
        strain: knows what the machine withheld.
        drops: the text may lack one piece.
        request_id: told to the sidecar; empty: it makes one.
    """
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    outcome = Outcome(digest=prompt_digest(text), request_id=request_id)
    client = _Client(_request(model, text, stream, deadline_s, request_id), over)
    began = monotonic()
    try:
        await _talk(client, over, port, deadline_s + _GIVE_UP_S)
    except OSError as error:
        outcome.verdict, outcome.seen = "refused", str(error)
        return outcome
    outcome.took_s = monotonic() - began
    client.transport.abort()
    if not over.done():
        return outcome
    _time(outcome, began, deadline_s, strain)
    _judge(client, outcome, text, drops)
    return outcome


async def _talk(client: _Client, over: asyncio.Future[None], port: int, within_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
            await over


def _time(outcome: Outcome, began: float, deadline_s: float, strain: Strain) -> None:
    """Whether it came too late, and whether that was the machine's doing."""
    over_s = outcome.took_s - deadline_s - GRACE_S
    if over_s > 0:
        outcome.is_delayed = over_s <= strain.withheld_s(began + deadline_s - _CLOCK_S, began + outcome.took_s)
        outcome.is_late = not outcome.is_delayed


async def leave(port: int, model: str, text: str, *, stream: bool, after_s: float) -> None:
    """Ask, and go before the answer is whole."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    client = _Client(_request(model, text, stream, _GIVE_UP_S, ""), over)
    try:
        await loop.create_connection(lambda: client, "127.0.0.1", port)
    except OSError:
        return
    await asyncio.wait([over], timeout=after_s)
    client.transport.abort()


def _request(model: str, text: str, stream: bool, deadline_s: float, request_id: str) -> bytes:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}).encode()
    extra = f"x-request-id: {request_id}\r\n" if request_id else ""
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{extra}"
        f"x-dispatch-deadline-ms: {round(deadline_s * 1000)}\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


def _judge(client: _Client, outcome: Outcome, text: str, drops: bool) -> None:
    headers = client.headers
    outcome.status = client.status
    outcome.request_id = headers.get("x-request-id", outcome.request_id)
    outcome.attempts = int(headers.get("x-dispatch-attempts", 0))
    outcome.endpoint = headers.get("x-dispatch-endpoint", "")
    if headers.get("content-type", "").startswith("text/event-stream"):
        outcome.verdict, outcome.code = _of_stream(client, text, drops)
    else:
        outcome.verdict, outcome.code = _of_whole(client, text)
    if outcome.verdict not in ("whole", "error"):
        outcome.seen = f"{client.status} {client.error} {bytes(client.body[-300:])!r}"


def _of_whole(client: _Client, text: str) -> tuple[str, str]:
    if not client.is_complete:
        return "cut", ""
    try:
        tree = json.loads(bytes(client.body))
        if client.status != 200:
            return "error", str(tree["error"].get("code") or tree["error"].get("type") or client.status)
        choice = tree["choices"][0]
        is_same = choice["message"]["content"] == text and choice["finish_reason"] == "stop"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "wrong", ""
    return ("whole" if is_same else "wrong"), ""


def _of_stream(client: _Client, text: str, drops: bool) -> tuple[str, str]:
    parts, is_finished, is_done, failed = [], False, False, ""
    for line in bytes(client.body).split(b"\n"):
        if not line.startswith(b"data: "):
            continue
        if line == b"data: [DONE]":
            is_done = True
            continue
        try:
            event = json.loads(line[6:])
        except ValueError:
            return "wrong", ""
        if event.get("error"):
            failed = str(event["error"].get("code") or event["error"].get("type"))
        for choice in event.get("choices") or ():
            parts.append(choice["delta"].get("content") or "")
            is_finished = is_finished or bool(choice.get("finish_reason"))
    return _verdict_of(client, "".join(parts), text, drops, is_whole=is_finished or is_done, failed=failed)


def _verdict_of(client: _Client, said: str, text: str, drops: bool, *, is_whole: bool, failed: str) -> tuple[str, str]:
    if failed:
        # What follows an error must not look like an end.
        return ("clean" if client.is_complete else "error"), failed
    if not is_whole:
        return ("clean" if client.is_complete else "cut"), ""
    if not client.is_complete:
        return "cut", ""
    return ("whole" if said == text or (drops and _lacks_one(said, text)) else "wrong"), ""


def _lacks_one(said: str, text: str) -> bool:
    words = text.split(" ")
    return said in {" ".join(words[:at] + words[at + 1 :]) for at in range(len(words))}
