"""OpenAI's own client with this process as its server: a transport of its HTTP library that never opens a socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx2 as httpx
import msgspec
from openai import AsyncOpenAI

from dispatch.errors import BadRequest, DispatchError
from dispatch.replies import error_object, error_parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dispatch.client.local import LocalEngine, Stream
    from dispatch.exchange import Answer, Call
    from dispatch.wire.http1 import Scan

__all__ = ["inside"]

BASE = "http://dispatch.invalid/v1"
"""Never looked up: the transport below answers. (`.invalid` is reserved, RFC 2606.)"""

DOORS = {"/v1/chat/completions": "chat", "/v1/completions": "completions", "/v1/embeddings": "embeddings", "/v1/responses": "responses"}
JSON = {"content-type": "application/json"}


def inside(engine: LocalEngine) -> AsyncOpenAI:
    """An `AsyncOpenAI` whose requests run in process. It retries nothing itself: the engine does."""
    return AsyncOpenAI(base_url=BASE, api_key="in-process", max_retries=0, http_client=httpx.AsyncClient(transport=_Transport(engine)))


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        silence_s = request.extensions.get("timeout", {}).get("read")
        try:
            async with asyncio.timeout(silence_s):
                return await self._answer(request, body, silence_s)
        except DispatchError as error:
            status, told, headers = error_parts(error, "openai")
            return httpx.Response(status, headers={**JSON, **headers}, content=told)
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"no answer within {silence_s} s", request=request) from error

    async def _answer(self, request: httpx.Request, body: bytes, silence_s: float | None) -> httpx.Response:
        path = request.url.path
        if path == "/v1/models" and request.method == "GET":
            return _models(self._engine.models())
        door = DOORS.get(path)
        if door is None or request.method != "POST":
            raise BadRequest(f"there is nothing at {request.method} {path}", code="not_found", status=404)
        scan = self._engine.scan(body)
        deadline_s = _deadline_s(request)
        if scan.stream:
            return await self._stream(door, scan, deadline_s, silence_s)
        answer, call = await self._engine.request(door, scan, deadline_s)
        return httpx.Response(answer.status, headers=_headers(call, answer), content=answer.body)

    async def _stream(self, door: str, scan: Scan, deadline_s: float | None, silence_s: float | None) -> httpx.Response:
        stream = self._engine.stream(door, scan, deadline_s)
        await stream.begun()
        headers = _headers(stream.call, stream.answer or stream.call.answer)
        return httpx.Response(200, headers=headers, stream=_Bytes(stream, silence_s))


class _Bytes(httpx.AsyncByteStream):
    def __init__(self, stream: Stream, silence_s: float | None) -> None:
        self._stream = stream
        self._silence_s = silence_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                async with asyncio.timeout(self._silence_s):
                    part = await anext(self._stream, None)
                if part is None:
                    return
                yield part
        except DispatchError as error:
            # The SDK raises what an error event tells; who reads the bytes themselves sees that there was no clean end.
            yield b"data: %b\n\n" % msgspec.json.encode(error_object(error, "openai"))
            raise httpx.RemoteProtocolError(error.message) from error
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"the stream was silent for {self._silence_s} s") from error

    async def aclose(self) -> None:
        await self._stream.aclose()


def _models(names: list[str]) -> httpx.Response:
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "dispatch"} for name in names]
    return httpx.Response(200, headers=JSON, content=msgspec.json.encode({"object": "list", "data": rows}))


def _headers(call: Call, answer: Answer | None) -> list[tuple[bytes, bytes]]:
    """The header lines that a sidecar would pass on."""
    lines = [] if answer is None else answer.head.split(b"\r\n")
    fields = [(name, value.strip()) for name, colon, value in (line.partition(b":") for line in lines) if colon]
    return [*fields, (b"x-dispatch-endpoint", call.endpoint.encode()), (b"x-dispatch-attempts", b"%d" % call.attempts)]


def _deadline_s(request: httpx.Request) -> float | None:
    told = request.headers.get("x-dispatch-deadline-ms", "")
    return int(told) / 1000 if told.isdigit() else None
