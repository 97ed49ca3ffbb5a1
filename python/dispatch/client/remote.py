"""A client of a sidecar somewhere, over aiohttp: speed is not the point here, comfort is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from dispatch.errors import (
    BadRequest,
    DeadlineExceeded,
    DispatchError,
    Failure,
    InvalidKey,
    ModelNotAllowed,
    ModelNotFound,
    NoEndpoint,
    Overloaded,
    UpstreamError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from openai import AsyncOpenAI

__all__ = ["RemoteBackend"]

PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings", "responses": "/v1/responses"}
_BY_STATUS: dict[int, type[DispatchError]] = {
    401: InvalidKey,
    403: ModelNotAllowed,
    404: ModelNotFound,
    429: Overloaded,
    503: NoEndpoint,
    504: DeadlineExceeded,
}


class RemoteBackend:
    """See the module."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._base = base_url.rstrip("/").removesuffix("/v1")
        self._key = api_key
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        # No cap on connections: the caller's concurrency is the caller's business.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers=headers, timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def whole(self, door: str, body: bytes, deadline_s: float | None) -> tuple[bytes, str, int]:
        try:
            async with self._post(door, body, deadline_s) as reply:
                raw = await reply.read()
                if reply.status >= 400:
                    raise _error(reply, raw)
                return raw, reply.headers.get("x-dispatch-endpoint", ""), int(reply.headers.get("x-dispatch-attempts", "1"))
        except aiohttp.ClientError as error:
            raise _lost(self._base, error) from error

    async def _pieces(self, door: str, body: bytes, deadline_s: float | None) -> AsyncIterator[bytes]:
        try:
            async with self._post(door, body, deadline_s) as reply:
                if reply.status >= 400:
                    raise _error(reply, await reply.read())
                async for piece in reply.content.iter_any():
                    yield piece
        except aiohttp.ClientError as error:
            raise _lost(self._base, error) from error

    def stream(self, door: str, body: bytes, deadline_s: float | None) -> AsyncIterator[bytes]:
        return self._pieces(door, body, deadline_s)

    def _post(self, door: str, body: bytes, deadline_s: float | None) -> Any:
        headers = {"content-type": "application/json"}
        if deadline_s is not None:
            headers["x-dispatch-deadline-ms"] = str(max(1, int(deadline_s * 1000)))
        return self._open_session.post(self._base + PATHS[door], data=body, headers=headers)

    @property
    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is not open: use 'async with'")
        return self._session

    async def models(self) -> list[str]:
        try:
            async with self._open_session.get(self._base + "/v1/models") as reply:
                raw = await reply.read()
                if reply.status >= 400:
                    raise _error(reply, raw)
                return [row["id"] for row in msgspec.json.decode(raw)["data"]]
        except aiohttp.ClientError as error:
            raise _lost(self._base, error) from error

    def openai(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI  # noqa: PLC0415  # an extra

        return AsyncOpenAI(base_url=self._base + "/v1", api_key=self._key or "none")


def _lost(base: str, error: Exception) -> UpstreamError:
    return UpstreamError(f"the sidecar at {base} gave no whole answer: {error}", failure=Failure.BROKEN, endpoint=base)


def _error(reply: aiohttp.ClientResponse, raw: bytes) -> DispatchError:
    """The error that a sidecar's answer tells, as the class that says what can be done."""
    try:
        told = msgspec.json.decode(raw)["error"]
        message, code, param = str(told.get("message")), str(told.get("code") or ""), told.get("param")
    except (msgspec.DecodeError, LookupError, AttributeError, TypeError):
        message, code, param = raw[:300].decode("utf-8", "replace"), "", None
    after = reply.headers.get("retry-after-ms")
    after_s = int(after) / 1000 if after and after.isdigit() else None
    kind = _BY_STATUS.get(reply.status)
    error: DispatchError
    if kind is not None:
        error = kind(message, code=code, param=param, retry_after_s=after_s)
    elif reply.status >= 500:
        endpoint = reply.headers.get("x-dispatch-endpoint", "")
        error = UpstreamError(
            message, failure=Failure.SERVER, endpoint=endpoint, upstream_status=reply.status, retry_after_s=after_s, code=code
        )
    else:
        error = BadRequest(message, code=code, status=reply.status, param=param)
    error.should_retry = reply.headers.get("x-should-retry") == "true"
    return error
