"""A program behind HTTP, as a handler of `provider: function`: the chat is posted as JSON, and what comes back is the answer.

`text/plain` is text; JSON is what a handler in this process would return; `application/x-ndjson` and `text/event-stream` are pieces of a
stream, each JSON of the same kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.providers.classify import describe
from dispatch.providers.function import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import aiohttp

    from dispatch.providers.function import Ask

__all__ = ["Posted"]

_STREAMS = frozenset(("application/x-ndjson", "text/event-stream"))
_LINE_MAX = 1 << 20
_ERROR_MAX = 1 << 16


class Posted:
    """One address.

    Args:
        url: where the chat is posted to.
        max_bytes: longest answer.
    """

    def __init__(self, url: str, max_bytes: int) -> None:
        self._url = url
        self._max_bytes = max_bytes
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, ask: Ask) -> AsyncGenerator[Any]:
        """Ask, and give what comes back in pieces."""
        import aiohttp  # noqa: PLC0415  # loaded only where it is used

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), read_bufsize=_LINE_MAX)
        headers = {"content-type": "application/json"}
        if ask.credential:
            headers["authorization"] = f"Bearer {ask.credential}"
        async with self._session.post(self._url, data=msgspec.json.encode(ask.body), headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                said = describe(await answer.content.read(_ERROR_MAX)).message
                raise Fault(answer.status if answer.status >= 400 else 502, f"status {answer.status}: {said}")
            if answer.content_type in _STREAMS:
                async for line in answer.content:
                    data = line.strip().removeprefix(b"data:").strip()
                    if data and data[:1] not in b":e" and data != b"[DONE]":
                        yield msgspec.json.decode(data)
                return
            body = b""
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > self._max_bytes:
                    raise Fault(502, f"its answer is longer than {self._max_bytes} bytes", "answer_too_large")
            yield msgspec.json.decode(body) if answer.content_type == "application/json" else body.decode("utf-8", "replace")

    async def close(self) -> None:
        """Close what is open."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
