"""Accounts at a provider, each of which knows the ids that it gave itself and no others."""

from __future__ import annotations

import json
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.web import Request, StreamResponse

__all__ = ["AT_LENGTH", "Keeper"]

AT_LENGTH = "at length"
"""The input that is answered with as much as a picture has."""
LONG = 2_000_000

USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 5,
}


class Keeper:
    """`async with Keeper("a") as keeper:`. Its ids hold its name.

    Attributes:
        asked: how often each method and path was asked for, ids left out.
        missed: ids of others that it was asked for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: Counter[str] = Counter()
        self.missed: list[str] = []
        self._known: dict[str, dict[str, Any]] = {}
        self._numbers = count(1)
        self.base_url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/responses", self._respond)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/{kind:files|batches|conversations|vector_stores}", self._make)
        app.router.add_route("*", "/v1/{kind}/{id}{rest:.*}", self._one)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def know(self, name: str) -> None:
        """Have given this id earlier."""
        self._known[name] = {"id": name}

    def _made(self, prefix: str, **fields: Any) -> dict[str, Any]:
        name = f"{prefix}{self.name}{next(self._numbers)}"
        self._known[name] = {"id": name, "created_at": 1, **fields}
        return self._known[name]

    def _knows(self, name: str) -> None:
        if name not in self._known:
            self.missed.append(name)
            error = {"message": "No such id", "type": "invalid_request_error", "param": None, "code": None}
            raise web.HTTPNotFound(text=json.dumps({"error": error}), content_type="application/json")

    async def _respond(self, request: Request) -> StreamResponse:
        self.asked["POST /responses"] += 1
        asked = await request.json()
        for name in _named(asked):
            self._knows(name)
        message = self._made("msg_", type="message", role="assistant", status="completed")
        said = self.name * (LONG if asked.get("input") == AT_LENGTH else 1)
        message["content"] = [{"type": "output_text", "text": said, "annotations": []}]
        fields = {"object": "response", "model": "x", "output": [message], "status": "completed", "usage": USAGE, "metadata": {}}
        whole = self._made("resp_", **fields, parallel_tool_calls=True, tool_choice="auto", tools=[])
        if not asked.get("stream"):
            return web.json_response(whole)
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        begun = whole | {"output": [], "status": "in_progress", "usage": None}
        delta = {"type": "response.output_text.delta", "item_id": message["id"], "output_index": 0, "content_index": 0, "delta": self.name}
        done = {"type": "response.output_item.done", "output_index": 0, "item": message}
        events = [{"type": "response.created", "response": begun}, delta | {"logprobs": []}, done]
        for number, event in enumerate([*events, {"type": "response.completed", "response": whole}]):
            data = json.dumps(event | {"sequence_number": number})
            await answer.write(f"event: {event['type']}\ndata: {data}\n\n".encode())
        await answer.write_eof()
        return answer

    async def _chat(self, request: Request) -> StreamResponse:
        self.asked["POST /chat/completions"] += 1
        for name in _named(await request.json()):
            self._knows(name)
        choice = {"index": 0, "message": {"role": "assistant", "content": self.name}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        return web.json_response({"id": "c", "object": "chat.completion", "created": 1, "model": "x", "choices": [choice], "usage": usage})

    async def _make(self, request: Request) -> StreamResponse:
        kind = request.match_info["kind"]
        self.asked[f"POST /{kind}"] += 1
        if kind == "files":
            await request.post()
            return web.json_response(self._made("file-", object="file", bytes=1, filename="a", purpose="batch", status="processed"))
        asked = await request.json()
        for name in _named(asked):
            self._knows(name)
        if kind == "batches":
            out = self._made("file-", object="file", bytes=1, filename="o", purpose="batch_output", status="processed")
            fields = {"endpoint": "/v1/responses", "completion_window": "24h", "status": "completed", "output_file_id": out["id"]}
            return web.json_response(self._made("batch_", object="batch", input_file_id=asked["input_file_id"], **fields))
        return web.json_response(self._made("conv_", object="conversation", metadata={}))

    async def _one(self, request: Request) -> StreamResponse:
        name = request.match_info["id"]
        self.asked[f"{request.method} /{request.match_info['kind']}"] += 1
        self._knows(name)
        if request.method == "DELETE":
            return web.json_response({"id": name, "object": "file", "deleted": True})
        return web.json_response(self._known[name])


def _named(asked: Any) -> list[str]:
    """The ids in a body."""
    if isinstance(asked, list):
        return [name for one in asked for name in _named(one)]
    if not isinstance(asked, dict):
        return []
    own = [asked[field] for field in ("previous_response_id", "conversation", "file_id", "input_file_id") if field in asked]
    own += [asked["id"]] if asked.get("type") == "item_reference" else []
    return own + [name for one in asked.values() for name in _named(one)]
