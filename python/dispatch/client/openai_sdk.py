"""OpenAI's own client with this process as its server: a transport of its HTTP library that never opens a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2 as httpx
import msgspec
from openai import AsyncOpenAI

from dispatch.errors import BadRequest, DispatchError
from dispatch.replies import error_parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from dispatch.client.local import LocalEngine, Stream

__all__ = ["inside"]

BASE = "http://dispatch.invalid/v1"
"""Never looked up: the transport below answers. (`.invalid` is reserved, RFC 2606.)"""

DOORS = {"/v1/chat/completions": "chat", "/v1/completions": "completions", "/v1/embeddings": "embeddings", "/v1/responses": "responses"}
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}


def inside(engine: LocalEngine, models: Callable[[], Awaitable[list[str]]]) -> AsyncOpenAI:
    """An `AsyncOpenAI` whose requests run in process. It retries nothing itself: the engine does."""
    transport = _Transport(engine, models)
    return AsyncOpenAI(base_url=BASE, api_key="in-process", max_retries=0, http_client=httpx.AsyncClient(transport=transport))


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, engine: LocalEngine, models: Callable[[], Awaitable[list[str]]]) -> None:
        self._engine = engine
        self._models = models

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        body = await request.aread()
        try:
            if path == "/v1/models" and request.method == "GET":
                rows = [{"id": name, "object": "model", "created": 0, "owned_by": "dispatch"} for name in await self._models()]
                return httpx.Response(200, headers=JSON, content=msgspec.json.encode({"object": "list", "data": rows}))
            door = DOORS.get(path)
            if door is None or request.method != "POST":
                raise BadRequest(f"there is nothing at {path}", code="not_found", status=404)
            if _wants_stream(body):
                return await self._stream(door, body)
            answer, call = await self._engine.request(door, body)
            return httpx.Response(answer.status, headers={**JSON, "x-dispatch-endpoint": call.endpoint}, content=answer.body)
        except DispatchError as error:
            status, told, headers = error_parts(error, "openai")
            return httpx.Response(status, headers={**JSON, **headers}, content=told)

    async def _stream(self, door: str, body: bytes) -> httpx.Response:
        stream = self._engine.stream(door, body)
        await stream.begun()
        if stream.answer is not None:
            return httpx.Response(stream.answer.status, headers=JSON, content=stream.answer.body)
        return httpx.Response(200, headers={**EVENTS, "x-dispatch-endpoint": stream.endpoint}, stream=_Bytes(stream))


class _Bytes(httpx.AsyncByteStream):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except DispatchError as error:
            raise httpx.RemoteProtocolError(error.message) from error

    async def aclose(self) -> None:
        await self._stream.aclose()


def _wants_stream(body: bytes) -> bool:
    try:
        return bool(msgspec.json.decode(body).get("stream"))
    except (msgspec.DecodeError, AttributeError):
        return False
