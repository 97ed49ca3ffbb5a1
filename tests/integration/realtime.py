"""A provider of realtime sessions for tests: a real WebSocket server of aiohttp's that does what its clients ask."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Self

import aiohttp
from aiohttp import web

__all__ = ["DONE", "FLOOD", "Provider", "endpoint"]

FLOOD = "flood"

DONE = {
    "type": "response.done",
    "response": {
        "status": "completed",
        "usage": {
            "total_tokens": 1_500,
            "input_tokens": 1_000,
            "output_tokens": 500,
            "input_token_details": {
                "text_tokens": 400,
                "audio_tokens": 600,
                "cached_tokens": 300,
                "cached_tokens_details": {"text_tokens": 200, "audio_tokens": 100},
            },
            "output_token_details": {"text_tokens": 100, "audio_tokens": 400},
        },
    },
}


class Provider:
    """Echoes; begins a response at `response.create`, and ends it when `gate` is set; never stops talking after `FLOOD`.

    Attributes:
        requests: the handshakes.
        heard: texts, in order.
        closed: close codes of sessions that are over.
        drops: end the next response by dropping the connection.
    """

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.heard: list[str] = []
        self.closed: list[int | None] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.status = 101
        self.drops = False
        self.base_url = ""
        self._socket: web.WebSocketResponse
        self._told: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v1/realtime", self.serve)
        app.router.add_get("/openai/v1/realtime", self.serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One session."""
        self.requests.append(request)
        if self.status != 101:
            return web.json_response({"error": {"message": "no", "type": "invalid_request_error"}}, status=self.status)
        self._socket = socket = web.WebSocketResponse(protocols=("realtime",), max_msg_size=0)
        await socket.prepare(request)
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.heard.append(message.data)
                    await self._answer(socket, request, message.data)
        finally:
            self.closed.append(socket.close_code)
        return socket

    def tell(self, text: str) -> None:
        """Say something in the last session, whatever else it does."""
        self._told = asyncio.get_running_loop().create_task(self._socket.send_str(text))

    async def _answer(self, socket: web.WebSocketResponse, request: web.Request, text: str) -> None:
        if text == FLOOD:
            with suppress(ConnectionError):
                while not socket.closed:
                    await socket.send_str("x" * 500_000)
            return
        if "response.create" not in text:
            await socket.send_str(text)
            return
        await socket.send_str('{"type": "response.created", "response": {"usage": null}}')
        await self.gate.wait()
        if self.drops:
            assert request.transport is not None
            request.transport.abort()
        else:
            await socket.send_str(json.dumps(DONE))


def endpoint(base_url: str, fields: dict[str, Any]) -> dict[str, Any]:
    """An endpoint `e` there."""
    price = {"input": 4, "output": 16, "cached_input": 0.4, "audio_input": 32, "audio_output": 64}
    usual = {"name": "e", "provider": "openai", "base_url": base_url, "model": "gpt-rt", "api_key": "env:UP_KEY", "price": price}
    return usual | fields
